"""serd with a fault built in: ``python faulty.py FAULT [serd's arguments]``.

This is the only way to a fault: the program itself has no hook for any. A fault strikes once the
file ``strike`` lies in the working directory, and takes that file away. Times that serd waits
before it calls a part hung, or a stream dead, are seconds here.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

STRIKE = Path("strike")


def struck() -> bool:
    try:
        STRIKE.unlink()
    except FileNotFoundError:
        return False
    return True


def before(owner: Any, name: str, fault: Callable[[], None]) -> None:
    """Let a method of serd suffer a fault before it does its work."""
    method = getattr(owner, name)

    def faulty(*args: Any, **kwargs: Any) -> Any:
        if struck():
            fault()
        return method(*args, **kwargs)

    setattr(owner, name, faulty)


def hang() -> None:
    time.sleep(3600)


def die() -> None:
    raise RuntimeError("a fault of the test")


def vanish() -> None:
    raise SystemExit  # nothing catches that: the thread just ends


def main() -> int:
    fault, *arguments = sys.argv[1:]
    sys.argv = ["serd", *arguments]
    from serd.audio.stdin import StdinSource
    from serd.cli.main import main as serd
    from serd.daemon import daemon, node, source_health, supervisor
    from serd.daemon.pipeline import Pipeline
    from serd.daemon.supervisor import Supervisor
    from serd.mqtt.publisher import MqttPublisher

    setattr(supervisor, "STALL_S", 1.5)  # noqa: B010 - they are Final
    setattr(node, "PIPELINE_TIMEOUT_S", 4.0)  # noqa: B010
    setattr(node, "PUBLISHER_TIMEOUT_S", 4.0)  # noqa: B010
    setattr(source_health, "FLAT_S", 2.0)  # noqa: B010
    setattr(daemon, "GIVE_UP_S", 2.0)  # noqa: B010
    setattr(daemon, "MAINTAIN_S", 1.0)  # noqa: B010
    match fault:
        case "pipeline-hangs":
            before(Pipeline, "_hear", hang)
        case "pipeline-dies":
            before(Pipeline, "_hear", die)
        case "publisher-hangs":
            before(MqttPublisher, "_round", hang)
        case "publisher-dies":
            before(MqttPublisher, "_round", vanish)
        case "main-hangs":
            before(Supervisor, "look", hang)
        case "source-stalls":
            # A pipe that has promised to deliver always, as a microphone does, and does not.
            setattr(StdinSource, "steady", True)  # noqa: B010
            setattr(node, "PIPELINE_TIMEOUT_S", 600.0)  # noqa: B010 - nobody leaves meanwhile
        case "none":
            pass
        case _:
            raise SystemExit(f"no such fault: {fault}")
    return serd()


if __name__ == "__main__":
    sys.exit(main())

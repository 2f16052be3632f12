"""serd with an injected fault: ``python faulty.py FAULT [serd's arguments]``.

Faults are injected only here: serd itself has no hooks for them. A fault is triggered by the file
``strike`` in the working directory, which is then deleted. The timeouts after which serd considers
a part hung, or a stream dead, are reduced to seconds.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

STRIKE = Path("strike")


def triggered() -> bool:
    try:
        STRIKE.unlink()
    except FileNotFoundError:
        return False
    return True


def inject(owner: Any, name: str, fault: Callable[[], None]) -> None:
    """Make a method of serd fail before it does its work, once the fault is triggered."""
    method = getattr(owner, name)

    def faulty(*args: Any, **kwargs: Any) -> Any:
        if triggered():
            fault()
        return method(*args, **kwargs)

    setattr(owner, name, faulty)


def hang() -> None:
    time.sleep(3600)


def die() -> None:
    raise RuntimeError("injected by the test")


def end_thread() -> None:
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
            inject(Pipeline, "_hear", hang)
        case "pipeline-dies":
            inject(Pipeline, "_hear", die)
        case "publisher-hangs":
            inject(MqttPublisher, "_round", hang)
        case "publisher-dies":
            inject(MqttPublisher, "_round", end_thread)
        case "main-hangs":
            inject(Supervisor, "look", hang)
        case "source-stalls":
            # A pipe that is expected to deliver all the time, as a microphone does, but does not.
            setattr(StdinSource, "steady", True)  # noqa: B010
            setattr(node, "PIPELINE_TIMEOUT_S", 600.0)  # noqa: B010 - serd must not exit meanwhile
        case "none":
            pass
        case _:
            raise SystemExit(f"no such fault: {fault}")
    return serd()


if __name__ == "__main__":
    sys.exit(main())

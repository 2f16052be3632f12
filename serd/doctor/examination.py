"""All checks in the order in which one thing needs another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from serd.doctor.broker import check_broker
from serd.doctor.configuration import check_configuration, check_hooks, check_quiet_hours
from serd.doctor.finding import Finding, ok, warn
from serd.doctor.machine import check_clock, check_unit, daemons
from serd.doctor.metrics import check_metrics
from serd.doctor.recognition import check_recognition, load_detector, load_model
from serd.doctor.sound import check_device, check_permission, check_sound
from serd.doctor.storage import check_journal, journal_in_use

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serd.config.loading import Loaded


def examine(
    loaded: Loaded, *, listen_s: float, listening: Callable[[], None] = lambda: None
) -> Iterator[Finding]:
    """Look at everything, one finding after the other, as each is found.

    Args:
        loaded: The configuration.
        listen_s: Seconds to listen to the source; 0 does not open it.
        listening: Called just before listening begins.
    """
    config = loaded.config
    yield from check_configuration(loaded)
    yield from check_hooks(config)
    yield from check_quiet_hours(config)
    yield from check_clock()
    running = daemons()
    if running:
        yield ok("daemon", f"runs (process {', '.join(map(str, running))})")
    yield from check_unit()

    finding, classifier = load_model(config)
    yield finding
    finding, vad = load_detector(config)
    if vad is None:
        yield finding
    elif classifier is not None:
        yield from check_recognition(config, classifier, vad)

    yield from check_permission(config)
    failed = False
    for finding in check_device(config):
        failed |= finding.status == "fail"
        yield finding
    if not failed:
        listening()
        for finding in check_sound(config, vad, listen_s):
            if running and finding.status == "fail":
                # Not every sound system lets two programs hear one microphone.
                yield warn(
                    finding.check,
                    f"{finding.message} (the running daemon may be using it)",
                    "stop the daemon to check its microphone; or look at its telemetry",
                )
            else:
                yield finding

    yield from check_journal(config)
    here = bool(running) or journal_in_use(Path(config.journal.path))
    yield from check_metrics(config, running_here=here)
    yield from check_broker(config, running_here=here)

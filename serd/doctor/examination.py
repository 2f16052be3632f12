"""All checks in the order in which one thing needs another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from serd.audio.factory import make_source
from serd.daemon.mute import why_closed
from serd.doctor.broker import WAY, check_broker, closed_by_broker
from serd.doctor.configuration import (
    check_configuration,
    check_hooks,
    check_metrics,
    check_quiet_hours,
)
from serd.doctor.machine import check_clock, check_journal, check_unit, daemons, journal_in_use
from serd.doctor.recognition import check_recognition, check_sensitivity, load_detector, load_model
from serd.doctor.result import Finding, ok, skip, warn
from serd.doctor.sound import check_device, check_permission, check_same_device, check_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from serd.config import Config, SpeechConfig
    from serd.config.loading import Loaded
    from serd.speech import Vad


LISTEN_S: Final = 4.0
"""How long to listen where nobody says how long."""


def examine(
    loaded: Loaded, *, listen_s: float | None, listening: Callable[[float], None] = lambda _: None
) -> Iterator[Finding]:
    """Look at everything, one finding after the other, as each is found.

    Args:
        loaded: The configuration.
        listen_s: Seconds to listen to the source; 0 does not open it. None: some seconds, unless
            the room is muted or in quiet hours.
        listening: Called with the seconds just before listening begins.
    """
    config = loaded.config
    each = config.each()
    yield from check_configuration(loaded)
    yield from check_hooks(config)
    for single in each:
        yield from _of(single, config, check_quiet_hours(single))
    yield from check_clock()
    running = daemons()
    if running:
        yield ok("daemon", f"runs (process {', '.join(map(str, running))})")
    yield from check_unit()

    finding, classifier = load_model(config)
    yield finding
    if classifier is not None:
        yield check_sensitivity(config, classifier)
    yield from check_same_device(config)
    judged: list[SpeechConfig] = []
    for single in each:
        finding, vad = load_detector(single)
        if vad is None:
            yield from _of(single, config, [finding])
        elif classifier is not None and single.speech not in judged:
            judged.append(single.speech)
            yield from _of(single, config, check_recognition(single, classifier, vad))
        heard = _microphone(
            single, vad, listen_s, listening, running=bool(running), alone=not config.sources
        )
        yield from _of(single, config, heard)

    yield from check_journal(config)
    here = bool(running) or journal_in_use(Path(config.journal.path))
    yield from check_metrics(config, running_here=here)
    for place, single in enumerate(each):
        found = check_broker(single, running_here=here)
        if place:  # the way there is the same; what the broker lets this node do may be another
            found = (finding for finding in found if finding.check not in WAY)
        yield from _of(single, config, found)


def _microphone(
    config: Config,
    vad: Vad | None,
    listen_s: float | None,
    listening: Callable[[float], None],
    *,
    running: bool,
    alone: bool,
) -> Iterator[Finding]:
    """Everything about the source of one node."""
    yield from check_permission(config)
    failed = False
    for finding in check_device(config):
        failed |= finding.status == "fail"
        yield finding
    if failed:
        return
    if listen_s is None:
        live = make_source(config.audio).live
        reason = why_closed(config, alone=alone, live=live) or closed_by_broker(config)
        if reason is not None and config.audio.kind != "stdin":
            yield skip(
                "level",
                f"{config.node} {reason}, so the microphone was not opened; level and voice were "
                f"not tested (`serd check --listen {LISTEN_S:g}` opens it all the same)",
            )
            return
        listen_s = LISTEN_S
    listening(listen_s)
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


def _of(single: Config, whole: Config, findings: Iterable[Finding]) -> Iterator[Finding]:
    """Findings about one node, said to be so where there are several."""
    for finding in findings:
        yield (
            replace(finding, message=f"{single.node}: {finding.message}")
            if whole.sources
            else finding
        )

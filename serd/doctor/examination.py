"""All checks, in an order in which each comes after what it depends on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from serd.audio.factory import make_source
from serd.daemon.mute import why_closed
from serd.doctor.broker import COMMON_CHECKS, check_broker, closed_by_broker
from serd.doctor.configuration import (
    check_configuration,
    check_hooks,
    check_metrics,
    check_quiet_hours,
)
from serd.doctor.machine import check_clock, check_journal, check_unit, daemons, journal_in_use
from serd.doctor.recognition import check_recognition, check_sensitivity, load_detector, load_model
from serd.doctor.result import CheckResult, ok, skip, warn
from serd.doctor.sound import check_device, check_permission, check_same_device, check_sound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from serd.config import Config, SpeechConfig
    from serd.config.loading import Loaded
    from serd.speech import Vad


LISTEN_S: Final = 4.0
"""Seconds to listen by default."""


def examine(
    loaded: Loaded, *, listen_s: float | None, listening: Callable[[float], None] = lambda _: None
) -> Iterator[CheckResult]:
    """Run all checks, yielding each result as soon as it is known.

    Args:
        loaded: The configuration.
        listen_s: Seconds to listen to the source; 0 does not open it. None: some seconds, unless
            the room is muted or in quiet hours.
        listening: Called with the number of seconds just before listening starts.
    """
    config = loaded.config
    each = config.each()
    yield from check_configuration(loaded)
    yield from check_hooks(config)
    for single in each:
        yield from _label(single, config, check_quiet_hours(single))
    yield from check_clock()
    running = daemons()
    if running:
        yield ok("daemon", f"runs (process {', '.join(map(str, running))})")
    yield from check_unit()

    result, classifier = load_model(config)
    yield result
    if classifier is not None:
        yield check_sensitivity(config, classifier)
    yield from check_same_device(config)
    judged: list[SpeechConfig] = []
    for single in each:
        result, vad = load_detector(single)
        if vad is None:
            yield from _label(single, config, [result])
        elif classifier is not None and single.speech not in judged:
            judged.append(single.speech)
            yield from _label(single, config, check_recognition(single, classifier, vad))
        heard = _microphone(
            single, vad, listen_s, listening, running=bool(running), alone=not config.sources
        )
        yield from _label(single, config, heard)

    yield from check_journal(config)
    here = bool(running) or journal_in_use(Path(config.journal.path))
    yield from check_metrics(config, running_here=here)
    for place, single in enumerate(each):
        found = check_broker(single, running_here=here)
        if place:  # the way to the broker is the same; access rules may differ by node
            found = (result for result in found if result.check not in COMMON_CHECKS)
        yield from _label(single, config, found)


def _microphone(
    config: Config,
    vad: Vad | None,
    listen_s: float | None,
    listening: Callable[[float], None],
    *,
    running: bool,
    alone: bool,
) -> Iterator[CheckResult]:
    """All checks of one node's audio source."""
    yield from check_permission(config)
    failed = False
    for result in check_device(config):
        failed |= result.status == "fail"
        yield result
    if failed:
        return
    if listen_s is None:
        live = make_source(config.audio).live
        reason = why_closed(config, alone=alone, live=live) or closed_by_broker(config)
        if reason is not None and config.audio.kind != "stdin":
            yield skip(
                "level",
                f"{config.node} {reason}, so the microphone was not opened; level and voice were "
                f"not tested (`serd check --listen {LISTEN_S:g}` opens it anyway)",
            )
            return
        listen_s = LISTEN_S
    listening(listen_s)
    for result in check_sound(config, vad, listen_s):
        if running and result.status == "fail":
            # Not every sound system lets two programs use one microphone.
            yield warn(
                result.check,
                f"{result.message} (the running daemon may be using it)",
                "stop the daemon to check its microphone, or look at its telemetry",
            )
        else:
            yield result


def _label(single: Config, whole: Config, results: Iterable[CheckResult]) -> Iterator[CheckResult]:
    """Results for one node, named if there are several."""
    for result in results:
        yield (
            replace(result, message=f"{single.node}: {result.message}") if whole.sources else result
        )

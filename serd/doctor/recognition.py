"""Checks of recognition: model, detector, and both together on sample speech."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from serd.audio import SAMPLE
from serd.audio.file import read_mono16k
from serd.audio.format import SAMPLE_RATE
from serd.doctor.result import CheckResult, fail, failed, ok, warn
from serd.errors import SerdError
from serd.model.classifier import Classifier, Recogniser
from serd.model.metadata import SENSITIVITIES
from serd.speech import Segmenter, make_vad
from serd.speech.vad import make_confirmer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.config import Config
    from serd.speech import Vad

UTTERANCES: Final = 8
"""Fewer utterances found in the sample than this are a failure."""

SLOW: Final = 0.5
"""Share of real time that recognition may take."""


def load_model(config: Config) -> tuple[CheckResult, Classifier | None]:
    """Load the model as the daemon would."""
    try:
        classifier = Classifier.configured(config)
    except SerdError as error:
        remedy = (
            "set model.path to default or to a model file (`serd model info FILE` shows details)"
        )
        return failed("model", error, remedy), None
    info = classifier.info
    found = f"{info.name} {info.version}, {len(classifier.model.labels)} classes"
    return ok("model", found), classifier


def check_sensitivity(config: Config, classifier: Classifier) -> CheckResult:
    """Report the sensitivity, with what was measured at it."""
    decision = classifier.decision
    if decision.home is None:
        return ok(
            "sensitivity", f"not adjustable: {classifier.info.name} has no settings for homes"
        )
    if not decision.adjustable:
        return ok("sensitivity", f"replaced by model.min_confidence, {decision.threshold:g}")
    sensitivity = config.decision.sensitivity
    points = decision.home.sensitivity
    point = points[sensitivity]
    others = "; ".join(
        f"{name}: {points[name].measured_in_short}" for name in SENSITIVITIES if name != sensitivity
    )
    return ok(
        "sensitivity",
        f"{sensitivity}: {point.measured} ({others})",
    )


def load_detector(config: Config) -> tuple[CheckResult, Vad | None]:
    """Load the voice activity detector as the daemon would."""
    try:
        vad = make_vad(config.speech)
        confirmer = make_confirmer(config.speech)
    except SerdError as error:
        return failed("detector", error, "set speech.engine to webrtc"), None
    summary = config.speech.engine if confirmer is None else f"{config.speech.engine}, then silero"
    return ok("detector", summary), vad


def check_recognition(config: Config, classifier: Classifier, vad: Vad) -> Iterator[CheckResult]:
    """Find and classify the utterances of the sample, with the configured settings."""
    try:
        samples = read_mono16k(SAMPLE)
        recogniser = Recogniser(Segmenter.of(config.speech, vad), classifier)
        begun = time.monotonic()
        found = [*recogniser.feed(samples), *recogniser.flush()]
    except SerdError as error:
        yield failed("speech", error, "reinstall serd: one of its files is damaged")
        return
    took = time.monotonic() - begun
    length = len(samples) / SAMPLE_RATE
    summary = (
        f"{config.speech.engine} finds {len(found)} utterances in {length:.0f} s of sample speech"
    )
    if len(found) < UTTERANCES:
        yield fail(
            "speech",
            f"{summary}; expected at least {UTTERANCES}",
            "the settings under speech are too strict: start from their defaults "
            "(aggressiveness, min_level_dbfs, min_voiced_share, min_speech_s)",
            configured=True,
        )
    else:
        yield ok("speech", summary)
    if took > SLOW * length:
        yield warn(
            "speed",
            f"that took {took:.1f} s: this machine is barely fast enough",
            "is another program busy (`top`), or is it too hot (`vcgencmd get_throttled`)?",
        )
    else:
        yield ok("speed", f"that took {took:.1f} s, {length / max(took, 1e-3):.0f} times real time")

"""A model's metadata: the structs behind ``serd.json`` in its file.

`ModelInfo` holds everything: `FeatureParameters` (how the input is computed), `Home` (how the
output is interpreted in a household) and `ScoreStatistics` (how the scores are distributed). All
values are bounded, because a model file is untrusted input.

About a quarter of the recordings that a network is trained on are neutral or calm; in a home it is
far more. A model may therefore state the share it assumes at home, the probability from which an
emotion is reported at each sensitivity, the error rates measured there, and how evidence
accumulates over several utterances. `serd.model.decision` and `serd.model.gathering` apply this.
"""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, get_args

import msgspec
from msgspec import Meta

from serd.config import Sensitivity

if TYPE_CHECKING:
    from collections.abc import Sequence

SENSITIVITIES: Final[tuple[Sensitivity, ...]] = get_args(Sensitivity)
"""All of them, the most cautious first."""

ORDINARY: Final = ("neutral", "calm")
"""The classes of ordinary speech; all others are emotional."""

MOST_AGREEING: Final = 5
"""Upper limit of `Home.agree`."""

MOST_PLACEMENTS: Final = 16
"""Upper limit of the number of `ModelInfo.placements`."""

MOST_REMEMBERED: Final = 2000
"""Upper limit of `Usual.remembered` and `Usual.half_after`."""

_LARGEST_FFT = 8192
_LARGEST_FRAMES = 4096
_LARGEST_BANDS = 512
_PRINTABLE: Final = re.compile(r"[!-~](?:[ -~]*[!-~])?")


class Reverb(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The tail of a room, added to every utterance (`serd.model.reverb`)."""

    rt60_s: Annotated[
        float,
        Meta(
            description="Seconds in which the tail falls by 60 dB at low frequencies (half of that "
            "at the highest)."
        ),
    ]
    tail_db: Annotated[float, Meta(description="Energy of the tail relative to the direct sound.")]

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within(self.rt60_s, 0.01, 10.0, "features.reverb.rt60_s")
        _within(self.tail_db, -60.0, 20.0, "features.reverb.tail_db")


class FeatureParameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Parameters of the MFCCs.

    The defaults are those of the shipped models. All values are bounded, so that no model file can
    demand absurd amounts of memory.

    Raises:
        ValueError: If values are out of range or contradict each other (``msgspec`` reports it as
            a ``ValidationError`` when decoding).
    """

    rate: Annotated[int, Meta(description="Samples per second, hertz.")] = 16_000
    window: Annotated[
        int,
        Meta(
            description="Length of the periodic Hann window in samples; if shorter than the "
            "FFT, it is centred in it."
        ),
    ] = 512
    hop: Annotated[int, Meta(description="Samples from one frame to the next.")] = 256
    fft: Annotated[int, Meta(description="Length of the FFT in samples; even.")] = 512
    mel_bands: Annotated[int, Meta(description="Bands of the mel filterbank.")] = 64
    f_min_hz: Annotated[float, Meta(description="Lower edge of the lowest band, hertz.")] = 40.0
    f_max_hz: Annotated[
        float,
        Meta(description="Upper edge of the highest band, hertz; at most half the rate."),
    ] = 7600.0
    mel_scale: Annotated[
        Literal["slaney"],
        Meta(description="Formula of the mel scale."),
    ] = "slaney"
    mel_norm: Annotated[
        Literal["slaney"],
        Meta(description="Scaling of the bands: `slaney` gives all the same area."),
    ] = "slaney"
    reverb: Annotated[
        Reverb | None,
        Meta(description="Room that is added to every utterance; None: none."),
    ] = None
    amin: Annotated[
        float,
        Meta(description="Floor of mel power before the logarithm; in [1e-30, 1]."),
    ] = 1e-10
    reference: Annotated[
        Literal["utterance-max"],
        Meta(description="What 0 dB is: the loudest mel band of the utterance."),
    ] = "utterance-max"
    range_db: Annotated[
        float,
        Meta(description="Range below 0 dB; lower levels are clamped."),
    ] = 70.0
    coefficients: Annotated[
        int,
        Meta(description="Number of cosine coefficients (orthonormal DCT-II), from the 0th on."),
    ] = 64
    frames: Annotated[
        int,
        Meta(
            description="Frames in the network's input. 188 are 3.0 s at the default rate and hop."
        ),
    ] = 188
    mean: Annotated[
        tuple[float, ...],
        Meta(description="Subtracted from each coefficient, one value for each; empty: 0."),
    ] = ()
    sd: Annotated[
        tuple[float, ...],
        Meta(description="Divides each coefficient after that, one value for each; empty: 1."),
    ] = ()

    def __post_init__(self) -> None:
        """Check the range of each value, then their consistency."""
        for name in ("mean", "sd"):  # also from lists and arrays, so that the struct stays frozen
            values = tuple(float(v) for v in getattr(self, name))
            msgspec.structs.force_setattr(self, name, values)
        for name, low, high in (
            ("rate", 1000, 384_000),
            ("fft", 2, _LARGEST_FFT),
            ("window", 1, self.fft),
            ("hop", 1, self.fft),
            ("mel_bands", 1, _LARGEST_BANDS),
            ("coefficients", 1, self.mel_bands),
            ("frames", 1, _LARGEST_FRAMES),
            ("f_min_hz", 0.0, self.rate / 2),
            ("f_max_hz", self.f_min_hz, self.rate / 2),
            ("amin", 1e-30, 1.0),
            ("range_db", 1.0, 300.0),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"features.{name} is {value}, not within {low} .. {high}"
                raise ValueError(msg)
        if self.fft % 2:
            msg = f"features.fft is {self.fft}, not even"
            raise ValueError(msg)
        if self.f_max_hz <= self.f_min_hz:
            msg = f"features.f_max_hz {self.f_max_hz} is not above f_min_hz {self.f_min_hz}"
            raise ValueError(msg)
        for name in ("mean", "sd"):
            values = getattr(self, name)
            if values and len(values) != self.coefficients:
                msg = (
                    f"features.{name} has {len(values)} figures for "
                    f"{self.coefficients} coefficients"
                )
                raise ValueError(msg)
            if not all(map(math.isfinite, values)):
                msg = f"features.{name} has a figure that is not finite"
                raise ValueError(msg)
        if any(not 1e-6 <= value <= 1e6 for value in self.sd):
            msg = "features.sd has a figure outside 1e-6 .. 1e6"
            raise ValueError(msg)

    @property
    def bare(self) -> FeatureParameters:
        """What mel power depends on: these parameters without room, mean and sd."""
        return msgspec.structs.replace(self, reverb=None, mean=(), sd=())

    @property
    def bins(self) -> int:
        """Bins of the power spectrum: ``fft // 2 + 1``."""
        return self.fft // 2 + 1

    @property
    def longest(self) -> int:
        """Length in samples of the longest utterance: later samples change nothing."""
        return (self.frames - 1) * self.hop + self.fft // 2

    def frames_of(self, samples: int) -> int:
        """Frames in this many samples: ``1 + samples // hop``; 0 for no samples."""
        return 1 + samples // self.hop if samples > 0 else 0


class Gathering(msgspec.Struct, frozen=True, kw_only=True):
    """How evidence accumulates over utterances and fades."""

    half_life_s: Annotated[
        float,
        Meta(description="Seconds between two utterances that halve what was gathered before."),
    ]
    weight: Annotated[
        float,
        Meta(
            description="Weight (0..1) of what was gathered at each utterance: those of "
            "one speaker are not independent. 0: every utterance stands alone."
        ),
    ] = 1.0
    pause_s: Annotated[
        float,
        Meta(description="A longer silence clears the evidence, seconds."),
    ]

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within(self.half_life_s, 0.1, 86_400.0, "gathering.half_life_s")
        _within(self.weight, 0.0, 1.0, "gathering.weight")
        _within(self.pause_s, 0.0, 86_400.0, "gathering.pause_s")


class Usual(msgspec.Struct, frozen=True, kw_only=True):
    """What ordinary speech sounds like, and how soon a room gets used to its own sound.

    `serd.model.habituation` applies it.
    """

    odds: dict[str, float]
    """For each emotion the typical log-odds of its score against those of neutral and calm
    together, over sources of ordinary speech that the network was not trained on; -20 .. 20."""
    remembered: int
    """The latest utterances of a room that count, 1 .. `MOST_REMEMBERED`."""
    half_after: int
    """Utterances after which half of a room's excess is subtracted, 1 .. `MOST_REMEMBERED`."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, odds in self.odds.items():
            _within(odds, -20.0, 20.0, f"usual.odds of {name[:32]!a}")
        _within(self.remembered, 1, MOST_REMEMBERED, "usual.remembered")
        _within(self.half_after, 1, MOST_REMEMBERED, "usual.half_after")


ThresholdOn: TypeAlias = Literal["emotion", "all_emotions"]
"""What is compared with the threshold: the probability of the reported emotion, or that of all
emotions together. The second tells more at equal false alarms, because a network that confuses two
emotions may still be sure that it is one of them (docs/experiments.md)."""


class OperatingPoint(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold of one sensitivity, and the error rates measured at it."""

    threshold: float
    """Probability from which an emotion is reported, 0..1; see `Home.threshold_on`."""
    events_per_hour: float | None
    """Emotional events per hour of ordinary speech, all of them false. None: not measured."""
    recall: float | None
    """Share of emotional utterances that are reported correctly, 0..1. None: not measured."""

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within(self.threshold, 0.0, 1.0, "threshold")
        if self.events_per_hour is not None:
            _within(self.events_per_hour, 0.0, 100_000.0, "events_per_hour")
        if self.recall is not None:
            _within(self.recall, 0.0, 1.0, "recall")

    @property
    def measured(self) -> str:
        """The measured error rates, in words."""
        rate = "an unmeasured number of"
        if self.events_per_hour is not None:
            rate = f"about {self.events_per_hour:.3g}"
        told = "an unmeasured share" if self.recall is None else f"{self.recall:.0%}"
        return (
            f"{rate} false emotional events in an hour of ordinary speech, "
            f"{told} of emotional utterances reported correctly"
        )

    @property
    def measured_in_short(self) -> str:
        """The same as two numbers."""
        rate = "?" if self.events_per_hour is None else f"{self.events_per_hour:.3g}"
        return f"{rate} and {'?' if self.recall is None else f'{self.recall:.0%}'}"


class Home(msgspec.Struct, frozen=True, kw_only=True):
    """What a model assumes about speech in a home."""

    ordinary_share: float
    """Share of utterances in a home that are neutral or calm, between 0 and 1 (exclusive)."""
    trained_share: float = 0.25
    """The same share in the network's training data."""
    bias: dict[str, float] = {}
    """Log-odds added to classes after calibration, -10 .. 10; missing classes get none."""
    gathering: Gathering
    """How evidence accumulates."""
    agree: int = 1
    """Utterances that must agree before an emotion is reported, 1 .. `MOST_AGREEING`."""
    threshold_on: ThresholdOn = "emotion"
    """What the thresholds apply to."""
    usual: Usual | None = None
    """What ordinary speech sounds like, so that a room gets used to its own; None: unknown."""
    sensitivity: dict[Sensitivity, OperatingPoint]
    """All of `SENSITIVITIES`; a threshold is never above that of a more cautious sensitivity."""

    def __post_init__(self) -> None:
        """Check what the types do not express."""
        for field in ("ordinary_share", "trained_share"):
            share = getattr(self, field)
            if not 0.0 < share < 1.0:
                raise ValueError(f"home.{field} is {share}, not between 0 and 1")
        for name, odds in self.bias.items():
            _within(odds, -10.0, 10.0, f"home.bias of {name[:32]!a}")
        if not 1 <= self.agree <= MOST_AGREEING:
            raise ValueError(f"home.agree is {self.agree}, not within 1 .. {MOST_AGREEING}")
        missing = [name for name in SENSITIVITIES if name not in self.sensitivity]
        if missing:
            raise ValueError(f"home.sensitivity lacks {', '.join(missing)}")
        thresholds = [self.sensitivity[name].threshold for name in SENSITIVITIES]
        if sorted(thresholds, reverse=True) != thresholds:
            raise ValueError("home.sensitivity: a threshold is above that of a lower sensitivity")


class ScoreStatistics(msgspec.Struct, frozen=True, kw_only=True):
    """Distribution of a model's log scores (floored and centred) over speakers not in training."""

    mean: dict[str, float]
    """Mean for each of the model's classes."""
    spread: dict[str, float]
    """Standard deviation for each of the model's classes."""

    def check(self, labels: Sequence[str]) -> None:
        """Check it against a model.

        Args:
            labels: The model's classes.

        Raises:
            ValueError: The classes differ, or a value is out of range.
        """
        for name, figures, low in (("mean", self.mean, -20.0), ("spread", self.spread, 0.01)):
            if figures.keys() != set(labels):
                msg = f"personal.{name} does not have exactly the classes of the model"
                raise ValueError(msg)
            for label, figure in figures.items():
                if not low <= figure <= 20.0:
                    msg = f"personal.{name}.{label} is {figure}, not within {low} .. 20"
                    raise ValueError(msg)


class Corpus(msgspec.Struct, frozen=True, kw_only=True):
    """A speech corpus that a model was trained on."""

    name: str
    """Name of the corpus."""
    licence: str
    """Licence, as an SPDX identifier where there is one."""
    speakers: int = 0
    """Number of speakers used."""
    clips: int = 0
    """Number of clips used."""


class ModelInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A model's metadata, except its labels."""

    name: str
    """Short, printable ASCII; goes into every event."""
    version: str
    """Its version, any scheme; goes into every event."""
    features: FeatureParameters
    """How the input is computed from audio."""
    output: Literal["logits", "probabilities"] = "logits"
    """Kind of the network's output, before calibration."""
    placements: tuple[int, ...] = (0,)
    """Frames by which an utterance is moved from the middle of the network's input. The network is
    run once for each of them, and the mean of its outputs counts (`serd.model.placement`).
    1 .. `MOST_PLACEMENTS` different ones, each less than the input's frames."""
    temperature: float = 1.0
    """Calibration: logits are divided by this before the softmax."""
    abstain_threshold: float = 0.0
    """Confidence below which the decision is ``uncertain``. Where there is a ``home``, its
    thresholds apply instead."""
    home: Home | None = None
    """Assumptions about speech in a home; None: none, all classes are treated alike."""
    personal: ScoreStatistics | None = None
    """Distribution of the scores, for learning from corrections; None: that of another model is
    used."""
    corpora: tuple[Corpus, ...] = ()
    """Training data."""
    licence: str = ""
    """Licence of the model."""
    evaluation: dict[str, Any] = {}
    """Results on speakers who were not in the training data, by name."""
    created: str = ""
    """Date, ISO 8601."""

    def __post_init__(self) -> None:
        """Check what the types do not express."""
        msgspec.structs.force_setattr(self, "corpora", tuple(self.corpora))
        for field, longest in (("name", 64), ("version", 32)):
            text = getattr(self, field)
            if len(text) > longest or not _PRINTABLE.fullmatch(text):
                msg = f"{field} is not 1 to {longest} printable ASCII characters"
                raise ValueError(msg)
        check_placements(self.placements, self.features)
        if not 0.01 <= self.temperature <= 100.0:
            msg = f"temperature is {self.temperature}, not within 0.01 .. 100"
            raise ValueError(msg)
        if not 0.0 <= self.abstain_threshold <= 1.0:
            msg = f"abstain_threshold is {self.abstain_threshold}, not within 0 .. 1"
            raise ValueError(msg)


def check_placements(placements: Sequence[int], features: FeatureParameters) -> None:
    """Check where in its input a network is to be run.

    Raises:
        ValueError: There are none, too many, or one twice; or one leaves nothing of an utterance.
    """
    if not 1 <= len(set(placements)) == len(placements) <= MOST_PLACEMENTS:
        msg = f"placements is not 1 to {MOST_PLACEMENTS} different numbers of frames"
        raise ValueError(msg)
    for frames in placements:
        if abs(frames) >= features.frames:
            msg = f"placements has {frames}, and the input has {features.frames} frames"
            raise ValueError(msg)


def _within(value: float, least: float, most: float, what: str) -> None:
    if not (math.isfinite(value) and least <= value <= most):
        raise ValueError(f"{what} is {value}, not within {least:g} .. {most:g}")

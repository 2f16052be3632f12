"""How clips are changed each time they are drawn."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct

from training.recipe.keys import (
    Count,
    CountOrNone,
    NotNegative,
    Positive,
    Share,
    Span,
    about,
    check_spans,
)


class Noise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stationary coloured noise."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    snr_db: Annotated[
        Span,
        about("Mean power of the utterance over that of the noise."),
    ] = (3.0, 40.0)
    tilt_db: Annotated[Span, about("From the lowest to the highest band.")] = (-25.0, 5.0)

    def __post_init__(self) -> None:
        check_spans(self)


class Reverb(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A room: an exponential tail after every frame."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    rt60_s: Annotated[
        Span,
        about(
            "Seconds in which the tail falls by 60 dB at low frequencies (half of that at the "
            "highest)."
        ),
    ] = (0.2, 1.1)
    tail_db: Annotated[
        Span,
        about("Energy of the tail relative to the direct sound."),
    ] = (-15.0, -3.0)

    def __post_init__(self) -> None:
        check_spans(self)
        if self.rt60_s[0] <= 0.0:
            raise ValueError(f"rt60_s begins with {self.rt60_s[0]:g}: it must be above 0")


class Equaliser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Microphones and distances: a slope and a ripple over frequency."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    tilt_db: Annotated[Span, about("From the lowest to the highest band.")] = (-6.0, 6.0)
    ripple_db: Annotated[NotNegative, about("Largest depth of the ripple.")] = 3.0

    def __post_init__(self) -> None:
        check_spans(self)


class BandLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Telephones, headsets and small microphones: a high-pass and a low-pass."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    low_hz: Annotated[Span, about("The lower corner.")] = (80.0, 400.0)
    high_hz: Annotated[Span, about("The upper corner.")] = (3000.0, 7000.0)
    slope_db: Annotated[Span, about("Per octave beyond the corner.")] = (18.0, 120.0)

    def __post_init__(self) -> None:
        check_spans(self)
        for name in ("low_hz", "high_hz"):
            if (lowest := getattr(self, name)[0]) <= 0.0:
                raise ValueError(f"{name} begins with {lowest:g}: it must be above 0")


class Warp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other paces and vocal tracts."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    stretch: Annotated[Share, about("Largest relative change of length.")] = 0.15
    shift: Annotated[Share, about("Largest relative shift of the bands.")] = 0.08


class Exchange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long-term spectrum of another clip, so that spectra do not reveal the corpus."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    most_db: Annotated[Positive, about("Largest change of a band.")] = 20.0


class Augmentation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a clip goes through on its way into a batch, in this order."""

    warp: Annotated[Warp, about("Other paces and voices.")] = Warp()
    exchange: Annotated[Exchange, about("Spectra exchanged between clips.")] = Exchange()
    reverb: Annotated[Reverb, about("Rooms.")] = Reverb()
    noise: Annotated[Noise, about("Noise.")] = Noise()
    equaliser: Annotated[Equaliser, about("Microphones and distances.")] = Equaliser()
    band_limit: Annotated[BandLimit, about("Telephones and small microphones.")] = BandLimit()
    margin_frames: Annotated[
        CountOrNone,
        about("Up to so many frames of tail and noise are kept before and after an utterance."),
    ] = 20
    gain_db: Annotated[
        Span,
        about("Change of level; it matters only near the floor of very quiet sound."),
    ] = (0.0, 0.0)

    def __post_init__(self) -> None:
        check_spans(self)


class Sounds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sounds without speech, from ESC-10's training folds (`training.augment`)."""

    share: Annotated[
        Share,
        about(
            "Share of the clips in a batch that are such a sound alone, with all classes "
            "equally right."
        ),
    ]
    as_noise: Annotated[Share, about("Share of the noisy clips whose noise is such a recording.")]
    frames: Annotated[
        tuple[Count, Count],
        about("Shortest and longest excerpt that is used alone."),
    ] = (40, 188)

    def __post_init__(self) -> None:
        check_spans(self)

"""Augmentation of mel power: rooms, microphones, noise, and other voices and paces.

Everything works on power ``float32[batch, frames, bands]``: a room is a decaying tail, noise is
addition, a microphone is a gain for each band. That is cheap enough to be drawn afresh for every
clip of every batch. Only speed perturbation, which resamples the audio, is done in preparation.

Noise may also be recorded: the sounds of :mod:`training.corpora.esc10`. A batch contains some of
these sounds without speech, with all classes equally right (outlier exposure: Hendrycks, Mazeika
and Dietterich, 2019, arXiv:1812.04606). A network that has only ever heard voices is as confident
about a chainsaw as about a person; after outlier exposure the daemon reports ``uncertain``.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from serd.model.mfcc import MfccFrontEnd, hz_to_mel, mel_to_hz
from serd.model.reverb import add_tail, tail_factors
from training.corpora.esc10 import TRAINING_FOLDS, read_sounds

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from serd.model.metadata import FeatureParameters
    from training.recipe.augmentation import (
        Augmentation,
        BandLimit,
        Equaliser,
        Exchange,
        Noise,
        Reverb,
        Warp,
    )
    from training.recipe.keys import Span

Power: TypeAlias = NDArray[np.float32]
"""Mel power, ``[batch, frames, bands]`` or ``[frames, bands]``."""

_NOISE_ROWS = 4096
"""Frames of noise that are drawn once and then used from a random position on."""


def augment(
    power: Power,
    starts: NDArray[np.int64],
    lengths: NDArray[np.int64],
    *,
    settings: Augmentation,
    features: FeatureParameters,
    random: np.random.Generator,
    recordings: Sequence[Power] = (),
    as_noise: float = 0.0,
) -> Power:
    """Augment a batch of utterances.

    Args:
        power: Utterances surrounded by silence.
        starts: First frame of each utterance.
        lengths: Frames of each utterance.
        settings: Kinds and probabilities.
        features: Frame rate and bands.
        random: Random generator.
        recordings: Mel power of sounds that may serve as noise.
        as_noise: Share of the noise that is replaced by them.

    Returns:
        An array of the same shape, silent outside an utterance and its margins, as the daemon
        pads an utterance with silence.
    """
    power = exchange_spectra(power, lengths, settings.exchange, random)
    power = add_room(power, settings.reverb, features, random)
    speech_power = power.sum(axis=(1, 2)) / np.maximum(lengths, 1)
    noise = coloured_noise(power, speech_power, settings.noise, random)
    if recordings:
        replace_with_recordings(noise, recordings, as_noise, random)
    power = power + noise
    response = microphone(len(power), settings.equaliser, features, random)
    response *= band_limits(len(power), settings.band_limit, features, random)
    gains = _decibel_factors(random.uniform(*settings.gain_db, size=(len(power), 1)))
    power *= (response * gains)[:, np.newaxis, :]
    margins = random.integers(0, settings.margin_frames + 1, size=(2, len(power)))
    frame = np.arange(power.shape[1])
    first, last = (starts - margins[0])[:, None], (starts + lengths + margins[1])[:, None]
    power[(frame < first) | (frame >= last)] = 0.0
    return power


def warp(power: Power, settings: Warp, random: np.random.Generator) -> Power:
    """Stretch one utterance in time and shift its bands.

    Args:
        power: ``[n, bands]``.
        settings: Probability and ranges.
        random: Random generator.

    Returns:
        ``[m, bands]``, ``m`` near ``n``.
    """
    if random.random() >= settings.probability or not len(power):
        return power
    stretch = 1.0 + random.uniform(-settings.stretch, settings.stretch)
    shift = 1.0 + random.uniform(-settings.shift, settings.shift)
    rows = np.linspace(0, len(power) - 1, max(1, round(len(power) * stretch)))
    columns = np.minimum(np.arange(power.shape[1]) * shift, power.shape[1] - 1)
    return _between(_between(power, rows).T, columns).T


def exchange_spectra(
    power: Power, lengths: NDArray[np.int64], settings: Exchange, random: np.random.Generator
) -> Power:
    """Give some clips the long-term spectrum of another clip of the batch.

    Corpora differ in microphone, room and codec, and a network learns these as readily as voices.
    The difference between the mean spectra of two clips, smoothed over neighbouring bands and
    without its mean, is applied as a gain to one of them.

    Args:
        power: Utterances surrounded by silence.
        lengths: Frames of each utterance.
        settings: Probability and largest change.
        random: Random generator.
    """
    if settings.probability <= 0.0:
        return power
    mean = power.sum(axis=1) / np.maximum(lengths, 1)[:, np.newaxis]
    decibels = 10.0 * np.log10(np.maximum(mean, 1e-10))
    kernel = np.hanning(9)[1:-1]
    padded = np.pad(decibels, ((0, 0), (3, 3)), mode="edge")
    smooth = np.stack([np.convolve(row, kernel / kernel.sum(), mode="valid") for row in padded])
    chosen = random.random(len(power)) < settings.probability
    change = smooth[random.permutation(len(power))] - smooth
    change -= change.mean(axis=1, keepdims=True)
    change = np.clip(change, -settings.most_db, settings.most_db) * chosen[:, np.newaxis]
    return power * _decibel_factors(change)[:, np.newaxis, :]


def add_room(
    power: Power, settings: Reverb, features: FeatureParameters, random: np.random.Generator
) -> Power:
    """Add the tail of a room to some clips (`serd.model.reverb`)."""
    chosen = np.flatnonzero(random.random(len(power)) < settings.probability)
    decay, fresh = tail_factors(
        random.uniform(*settings.rt60_s, size=len(chosen)),
        random.uniform(*settings.tail_db, size=len(chosen)),
        bands=power.shape[2],
        frame_s=features.hop / features.rate,
    )
    out = power.copy()
    out[chosen] = add_tail(power[chosen], decay, fresh)
    return out


def coloured_noise(
    power: Power,
    speech_power: NDArray[np.float32],
    settings: Noise,
    random: np.random.Generator,
) -> Power:
    """Coloured noise for some clips, silence for the others.

    Args:
        power: Only its shape is used.
        speech_power: Mean over an utterance's frames of the power summed over bands, ``[batch]``.
        settings: Probability, level and colour.
        random: Random generator.
    """
    count, frames, bands = power.shape
    noise = np.zeros_like(power)
    chosen = np.flatnonzero(random.random(count) < settings.probability)
    snr = _decibel_factors(random.uniform(*settings.snr_db, size=len(chosen)))
    tilt = random.uniform(*settings.tilt_db, size=(len(chosen), 1))
    colour = _decibel_factors(
        tilt * np.linspace(0.0, 1.0, bands) + _ripple(len(chosen), bands, 3.0, random)
    )
    colour *= (speech_power[chosen] / (snr * colour.sum(axis=1)))[:, np.newaxis]
    field = _steady_noise(bands)
    for clip, first, level in zip(
        chosen, random.integers(0, _NOISE_ROWS - frames, size=len(chosen)), colour, strict=True
    ):
        np.multiply(field[first : first + frames], level, out=noise[clip])
    return noise


def replace_with_recordings(
    noise: Power, recordings: Sequence[Power], share: float, random: np.random.Generator
) -> None:
    """Replace some of the noise by recorded sounds of the same power.

    Args:
        noise: From :func:`coloured_noise`; changed in place.
        recordings: Mel power of sounds, each ``[n, bands]``.
        share: Probability.
        random: Random generator.
    """
    chosen = np.flatnonzero(random.random(len(noise)) < share)
    for clip in chosen:
        field = recorded_noise(recordings, noise.shape[1], random)
        noise[clip] = field * (noise[clip].sum() / max(float(field.sum()), 1e-20))


def microphone(
    count: int, settings: Equaliser, features: FeatureParameters, random: np.random.Generator
) -> Power:
    """Gains ``[count, bands]``: a slope and a ripple for some clips, 1 for the others."""
    bands = features.mel_bands
    tilt = random.uniform(*settings.tilt_db, size=(count, 1)) * np.linspace(-0.5, 0.5, bands)
    ripple = _ripple(count, bands, settings.ripple_db, random)
    chosen = random.random((count, 1)) < settings.probability
    return _decibel_factors(np.where(chosen, tilt + ripple, 0.0))


def band_limits(
    count: int, settings: BandLimit, features: FeatureParameters, random: np.random.Generator
) -> Power:
    """Gains ``[count, bands]``: a high-pass and a low-pass for some clips, 1 for the others."""
    centres = band_centres(features)
    low = _log_uniform(settings.low_hz, count, random)
    high = _log_uniform(settings.high_hz, count, random)
    slopes = random.uniform(*settings.slope_db, size=(2, count, 1))
    fall = slopes[0] * np.maximum(np.log2(low / centres), 0.0)
    fall += slopes[1] * np.maximum(np.log2(centres / high), 0.0)
    chosen = random.random((count, 1)) < settings.probability
    return _decibel_factors(np.where(chosen, -np.minimum(fall, 90.0), 0.0))


def band_centres(features: FeatureParameters) -> NDArray[np.float64]:
    """Centre frequencies of the mel bands, hertz, ``[bands]``."""
    edges = hz_to_mel([features.f_min_hz, features.f_max_hz])
    mels = np.linspace(edges[0], edges[1], features.mel_bands + 2)[1:-1]
    return mel_to_hz(mels)


@lru_cache(maxsize=2)
def _steady_noise(bands: int) -> Power:
    """Power of white noise in mel bands; wider bands vary less.

    The power of Gaussian noise in ``k`` independent bins is a gamma variable of shape ``k``; the
    lowest mel bands cover about one bin, the highest about eight.
    """
    shape = np.linspace(1.0, 8.0, bands)
    drawn = np.random.default_rng(20_260).gamma(shape, 1.0 / shape, size=(_NOISE_ROWS, bands))
    return drawn.astype(np.float32)


def _ripple(
    count: int, bands: int, depth_db: float, random: np.random.Generator
) -> NDArray[np.float64]:
    """A sine over the bands for each clip, half a period to three periods long, in dB."""
    periods = random.uniform(0.5, 3.0, size=(count, 1))
    phase = random.uniform(0.0, 2.0 * np.pi, size=(count, 1))
    depth = random.uniform(0.0, depth_db, size=(count, 1))
    place = np.arange(bands) / bands
    return np.asarray(depth * np.sin(2.0 * np.pi * periods * place + phase))


def _between(power: Power, places: NDArray[np.float64]) -> Power:
    """Rows at fractional positions, by linear interpolation."""
    below = places.astype(np.int64)
    above = np.minimum(below + 1, len(power) - 1)
    weight = (places - below).astype(np.float32)[:, np.newaxis]
    return power[below] * (1 - weight) + power[above] * weight


def _log_uniform(span: Span, count: int, random: np.random.Generator) -> NDArray[np.float64]:
    low, high = math.log(span[0]), math.log(span[1])
    return np.exp(random.uniform(low, high, size=(count, 1)))


def _decibel_factors(decibels: NDArray[np.float64]) -> NDArray[np.float32]:
    return (10.0 ** (decibels / 10.0)).astype(np.float32)


def load_training_sounds(root: Path, features: FeatureParameters) -> list[Power]:
    """Mel power ``[n, bands]`` of every sound for training.

    Args:
        root: Folder of the corpora.
        features: Of the front end; mean and sd are not used.

    Raises:
        InputError: The sounds are missing or unreadable.
    """
    import msgspec

    from serd.audio.file import read_mono16k

    front_end = MfccFrontEnd(msgspec.structs.replace(features, mean=(), sd=()))
    return [
        front_end.mel_power(read_mono16k(sound.path)).astype(np.float32)
        for sound in read_sounds(root, TRAINING_FOLDS)
    ]


def excerpt(
    sounds: Sequence[Power], shortest: int, longest: int, random: np.random.Generator
) -> Power:
    """An excerpt of one sound, ``shortest`` to ``longest`` frames, from a loud part.

    Args:
        sounds: To choose from; each ``[n, bands]``.
        shortest: Frames.
        longest: Frames.
        random: Random generator.
    """
    sound = sounds[int(random.integers(len(sounds)))]
    wanted = min(len(sound), int(random.integers(shortest, longest + 1)))
    # Only loud sounds reach the network: the loudest of three random positions is taken.
    places = random.integers(0, len(sound) - wanted + 1, size=3)
    loudness = [float(sound[place : place + wanted].sum()) for place in places]
    place = int(places[int(np.argmax(loudness))])
    return sound[place : place + wanted]


def recorded_noise(
    sounds: Sequence[Power], frames: int, random: np.random.Generator
) -> NDArray[np.float32]:
    """``frames`` frames of one sound, repeated if it is shorter: ``[frames, bands]``."""
    sound = sounds[int(random.integers(len(sounds)))]
    first = int(random.integers(len(sound)))
    return np.asarray(sound[(first + np.arange(frames)) % len(sound)], dtype=np.float32)

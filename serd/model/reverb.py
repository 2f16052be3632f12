"""Reverberation of mel power: the diffuse tail that a room adds after every frame.

A voice sounds different in every room, and a network trained in some rooms recognises less in
others, above all where there is no reverberation. Removing a room from a recording is hard. Adding
one is cheap, and with the same tail of half a second recordings differ less. `serd.model.mfcc` adds
it to every utterance, if the model asks for it.

The tail is that of J.-D. Polack's statistical model ("La transmission de l'énergie sonore dans les
salles", thesis, Université du Maine, 1988), noise whose power decays exponentially, by 60 dB in
RT60; on spectra it is used as by Lebart, Boucher and Denbigh ("A New Method Based on Spectral
Subtraction for Speech Dereverberation", Acta Acustica 87, 2001), who subtract it. Being noise, it
is incoherent with the direct sound, so powers add up. Air and furniture absorb high frequencies
faster: here RT60 falls linearly over the mel bands, to half its value in the highest.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt

HIGHEST_BAND: Final = 0.5
"""RT60 of the highest mel band as a fraction of that of the lowest."""

_NOTHING = 1e-15
"""Smaller factors are 0: -150 dB is never heard, and denormal numbers are slow."""

Factors = npt.NDArray[np.float32]
Power = npt.NDArray[np.float32]


def tail_factors(
    rt60_s: npt.ArrayLike, tail_db: npt.ArrayLike, *, bands: int, frame_s: float
) -> tuple[Factors, Factors]:
    """What `add_tail` multiplies by.

    Args:
        rt60_s: Seconds in which the tail of the lowest band decays by 60 dB; any shape.
        tail_db: Energy of the whole tail relative to the direct sound; the same shape.
        bands: Number of mel bands.
        frame_s: Seconds from one frame to the next.

    Returns:
        Two arrays, float32 ``[..., bands]``: the decay from one frame to the next, and the power of
        the tail one frame after the direct sound.
    """
    times = np.asarray(rt60_s, dtype=np.float64)[..., np.newaxis]
    energy = 10.0 ** (np.asarray(tail_db, dtype=np.float64)[..., np.newaxis] / 10.0)
    decay = 10.0 ** (-6.0 * frame_s / (times * np.linspace(1.0, HIGHEST_BAND, bands)))
    fresh = energy * (1.0 - decay)  # a geometric series: the tail sums to `energy`
    return decay.astype(np.float32), fresh.astype(np.float32)


def add_tail(power: Power, decay: Factors, fresh: Factors) -> Power:
    """Mel power with a tail: ``wet[t] = power[t] + fresh * sum(decay**k * power[t - 1 - k])``.

    The sum over all earlier frames is found by doubling: that over 2 frames, from two of these that
    over 4, and so on (Hillis and Steele, "Data Parallel Algorithms", Communications of the ACM 29,
    1986). Eight steps of whole-array arithmetic suffice for 256 frames, where a recursion would
    take as many calls as frames.

    Args:
        power: ``[..., frames, bands]``, not negative.
        decay: ``[..., bands]``, 0..1, from `tail_factors`.
        fresh: ``[..., bands]``, from `tail_factors`.

    Returns:
        A new array of the same shape.
    """
    wet = power.astype(np.float32)
    if power.shape[-2] < 2:
        return wet
    summed = power[..., :-1, :].astype(np.float32)
    span, factor = 1, decay[..., np.newaxis, :].astype(np.float64)
    while span < summed.shape[-2]:
        step = np.where(factor < _NOTHING, 0.0, factor).astype(np.float32)
        if not step.any():
            break
        summed[..., span:, :] += step * summed[..., :-span, :]
        span, factor = 2 * span, np.square(factor)
    wet[..., 1:, :] += fresh[..., np.newaxis, :] * summed
    return wet

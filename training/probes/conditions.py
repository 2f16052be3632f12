"""The hardships that test clips are put through, by name.

Every condition takes the 16 kHz samples that the daemon would have taken from the file, before
anything is trimmed, and gives samples that a microphone could have given in their place.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from training.probes.noise import Samples, add_noise, excerpt, white
from training.probes.rooms import ROOMS, add_room, room_response
from training.probes.telephone import opus, telephone

if TYPE_CHECKING:
    from collections.abc import Mapping

Change = Callable[[Samples, np.random.Generator, Sequence[Samples]], Samples]
"""From a clip, a source of everything random, and recordings of noise, to the changed clip."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """One hardship."""

    about: str
    """What it is, for a table."""
    change: Change
    noisy: bool = False
    """Whether it needs recordings of noise."""


def apply_condition(
    name: str, samples: Samples, *, clip_digest: str, seed: int, noises: Sequence[Samples] = ()
) -> Samples:
    """Put one clip through one condition.

    What is random depends on the clip's content, the condition's name and the seed alone: not on
    the other clips, their order, or the number of processes.

    Args:
        name: A key of :data:`CONDITIONS`.
        samples: The clip, float32 ``[n]`` at 16 kHz.
        clip_digest: SHA-256 of the clip's file.
        seed: Of the probe.
        noises: Recordings of noise at 16 kHz.

    Returns:
        float32 at 16 kHz, within [-1, 1]: what is louder is turned down as a whole.
    """
    key = hashlib.sha256(f"{seed}/{name}/{clip_digest}".encode()).digest()
    random = np.random.default_rng(int.from_bytes(key[:16], "big"))
    changed = CONDITIONS[name].change(samples, random, noises)
    peak = float(np.abs(changed).max(initial=0.0))
    return (changed / np.float32(peak) if peak > 1.0 else changed).astype(np.float32, copy=False)


def _clean(samples: Samples, _random: np.random.Generator, _noises: Sequence[Samples]) -> Samples:
    return samples


def _noise(
    samples: Samples, random: np.random.Generator, noises: Sequence[Samples], *, snr_db: float
) -> Samples:
    return add_noise(samples, excerpt(noises, len(samples), random), snr_db)


def _white(
    samples: Samples, random: np.random.Generator, _noises: Sequence[Samples], *, snr_db: float
) -> Samples:
    return add_noise(samples, white(len(samples), random), snr_db)


def _room(
    samples: Samples, random: np.random.Generator, _noises: Sequence[Samples], *, rt60_s: float
) -> Samples:
    room = ROOMS[int(random.integers(len(ROOMS)))]
    return add_room(samples, room_response(room, rt60_s))


def _telephone(
    samples: Samples, _random: np.random.Generator, _noises: Sequence[Samples]
) -> Samples:
    return telephone(samples)


def _opus(samples: Samples, _random: np.random.Generator, _noises: Sequence[Samples]) -> Samples:
    return opus(samples)


def _quiet(samples: Samples, _random: np.random.Generator, _noises: Sequence[Samples]) -> Samples:
    # A microphone rounds to 16 bits, and of a quiet voice few are left.
    steps: Samples = np.rint(samples * np.float32(32768 * 10 ** (-30 / 20)))
    return steps * np.float32(1 / 32768)


CONDITIONS: Mapping[str, Condition] = {
    "clean": Condition(about="as published", change=_clean),
    **{
        f"noise-{snr_db}db": Condition(
            about=f"everyday sounds (ESC-10) at {snr_db} dB SNR",
            change=functools.partial(_noise, snr_db=float(snr_db)),
            noisy=True,
        )
        for snr_db in (20, 10, 5)
    },
    "white-10db": Condition(
        about="white noise at 10 dB SNR", change=functools.partial(_white, snr_db=10.0)
    ),
    **{
        f"room-{rt60_s}s": Condition(
            about=f"rooms with a reverberation time of {rt60_s} s",
            change=functools.partial(_room, rt60_s=rt60_s),
        )
        for rt60_s in (0.3, 0.6)
    },
    "telephone": Condition(about="telephone: 300 to 3400 Hz, 8 kHz, mu law", change=_telephone),
    "opus": Condition(about="Opus at about 13 kbit/s", change=_opus),
    "quiet": Condition(about="30 dB quieter, 16 bits", change=_quiet),
}
"""Every condition by its name, in the order of the tables; the first changes nothing."""

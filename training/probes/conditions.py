"""The conditions under which test clips are measured, and the cache of mel power under each.

A condition takes the 16 kHz samples that the daemon would have read from the file, before anything
is trimmed, and returns samples that a microphone could have recorded in their place.

Decoding, condition, trimming and mel power are the same for all models with one front end; only
mean and sd of the coefficients differ. So mel power is cached by the content of the clip, and each
model continues from there.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from serd.audio.file import read_mono16k
from serd.config import SpeechConfig
from serd.model.classifier import Classifier
from serd.model.metadata import FeatureParameters
from serd.model.mfcc import MfccFrontEnd
from serd.speech import make_vad, trim_to_speech
from training.prepare import CACHE, DAEMON_CODE, file_digest, source_text
from training.probes.distortion import (
    ROOMS,
    Samples,
    add_noise,
    add_room,
    excerpt,
    opus,
    room_response,
    telephone,
    white,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from serd.model.decision import Prediction
    from training.corpora import Clip

Change = Callable[[Samples, np.random.Generator, Sequence[Samples]], Samples]
"""From a clip, a random generator and recordings of noise to the distorted clip."""


class Condition(msgspec.Struct, frozen=True, kw_only=True):
    """A condition for test clips."""

    about: str
    """Its description in tables."""
    change: Change
    noisy: bool = False
    """Whether it uses recordings of noise."""


def apply_condition(
    name: str, samples: Samples, *, clip_digest: str, seed: int, noises: Sequence[Samples] = ()
) -> Samples:
    """Apply a condition to a clip.

    Randomness depends only on the clip's content, the name of the condition and the seed, not on
    other clips, their order, or the number of processes.

    Args:
        name: A key of :data:`CONDITIONS`.
        samples: The clip, float32 ``[n]`` at 16 kHz.
        clip_digest: SHA-256 of the clip's file.
        seed: Of the probe.
        noises: Recordings of noise at 16 kHz.

    Returns:
        float32 at 16 kHz, within [-1, 1]: louder clips are scaled down.
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
    # A microphone rounds to 16 bits, of which a quiet voice uses few.
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


_CODE = (*DAEMON_CODE, "training.probes.conditions", "training.probes.distortion")


class ConditionCache:
    """Clips under conditions, as mel power.

    Args:
        features: Of the front end; mean and sd are not used.
        conditions: Keys of :data:`training.probes.conditions.CONDITIONS`.
        noises: Files with recordings of noise.
        seed: Random seed.
        cache: Folder of the cache.
    """

    def __init__(
        self,
        features: FeatureParameters,
        conditions: Sequence[str],
        *,
        noises: Sequence[Path] = (),
        seed: int = 0,
        cache: Path = CACHE,
    ) -> None:
        self._features = msgspec.structs.replace(features, mean=(), sd=())
        self._noises = tuple(noises)
        self._seed = seed
        self.conditions = tuple(conditions)
        digest = hashlib.sha256(msgspec.json.encode([self._features, seed], order="sorted"))
        digest.update(source_text(*_CODE))
        plain = digest.hexdigest()[:16]
        for path in self._noises:
            digest.update(file_digest(path).encode())
        noisy = digest.hexdigest()[:16]
        self._folders = {
            name: cache / "probes" / (noisy if CONDITIONS[name].noisy else plain) / name
            for name in self.conditions
        }

    def prepare(
        self,
        clips: Sequence[Clip],
        *,
        jobs: int = 1,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Fill the cache.

        Args:
            clips: The clips.
            jobs: Processes.
            progress: Called with the number of clips that were added.

        Raises:
            InputError: A file cannot be read.
        """
        from joblib import Parallel, delayed

        missing = [clip for clip in clips if self._missing(clip.path)]
        progress(len(clips) - len(missing))
        parts = [missing[first : first + 16] for first in range(0, len(missing), 16)]
        if missing:
            work = (delayed(self._compute_some)([clip.path for clip in part]) for part in parts)
            for ready in Parallel(n_jobs=jobs, return_as="generator")(work):
                progress(ready)

    def power(self, clip: Clip, condition: str) -> NDArray[np.float32]:
        """Mel power of a clip under a condition, float32 ``[n, mel_bands]``, from the cache."""
        entry = self._entry(clip.path, condition)
        if not entry.is_file():
            self._compute(clip.path)
        power: NDArray[np.float32] = np.load(entry)
        return power

    def _missing(self, path: Path) -> list[str]:
        return [name for name in self.conditions if not self._entry(path, name).is_file()]

    def _entry(self, path: Path, condition: str) -> Path:
        digest = file_digest(path)
        return self._folders[condition] / digest[:2] / f"{digest}.npy"

    def _compute_some(self, paths: Sequence[Path]) -> int:
        for path in paths:
            self._compute(path)
        return len(paths)

    def _compute(self, path: Path) -> None:
        samples = read_mono16k(path)
        noises = _recordings(self._noises)
        for name in self._missing(path):
            changed = apply_condition(
                name, samples, clip_digest=file_digest(path), seed=self._seed, noises=noises
            )
            power = mel_power(changed, self._features)
            entry = self._entry(path, name)
            entry.parent.mkdir(parents=True, exist_ok=True)
            part = entry.with_suffix(f".{os.getpid()}.part")
            with part.open("wb") as file:
                np.save(file, power, allow_pickle=False)
            part.replace(entry)


def mel_power(samples: Samples, features: FeatureParameters) -> NDArray[np.float32]:
    """Mel power of a recording as ``serd classify --whole`` takes it: trimmed, its first 3 s.

    Args:
        samples: float32 ``[n]`` at 16 kHz.
        features: Of the front end.

    Returns:
        float32 ``[k, mel_bands]``, ``k`` at most ``features.frames``. No rows for digital silence.
    """
    speech = SpeechConfig()
    _, voice = trim_to_speech(samples, speech, make_vad(speech))
    if not voice.any():
        return np.zeros((0, features.mel_bands), dtype=np.float32)
    front_end = _front_end(msgspec.json.encode(features))
    front_end.start()
    front_end.push(voice)
    return front_end.finish_power().copy()


class ClipClassifier:
    """A model that goes on from mel power.

    Args:
        model: A packed model file, or the name of a packaged one.
    """

    def __init__(self, model: Path | str) -> None:
        self.classifier = Classifier.load(model)
        self._front_end = self.classifier.front_end()

    @property
    def features(self) -> FeatureParameters:
        """Of its front end, with mean and sd."""
        return self.classifier.info.features

    def coefficients(self, power: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's input, float32 ``[frames, coefficients]``."""
        return self._front_end.finish_mel(power)

    def judge(self, power: NDArray[np.float32]) -> Prediction:
        """The result of ``serd classify --whole`` for a recording with this mel power."""
        if not len(power):
            return self.classifier.classify_utterance(np.zeros(0, dtype=np.float32))
        return self.classifier.classify_features(self.coefficients(power))


@lru_cache(maxsize=4)
def _recordings(paths: tuple[Path, ...]) -> tuple[Samples, ...]:
    return tuple(read_mono16k(path) for path in paths)


@lru_cache(maxsize=4)
def _front_end(features: bytes) -> MfccFrontEnd:
    return MfccFrontEnd(msgspec.json.decode(features, type=FeatureParameters))

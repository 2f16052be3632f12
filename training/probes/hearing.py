"""What the daemon hears of a clip under a condition, kept for any number of models.

Decoding, the condition, trimming and mel power are the same for all models with one front end;
only the mean and sd of the coefficients differ. So mel power is kept in the cache, bit for bit, by
the content of the clip, and each model goes on from there.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from serd.audio.file import read_mono16k
from serd.config import SpeechConfig
from serd.model.classifier import Classifier
from serd.model.features import FeatureParameters
from serd.model.mfcc import MfccFrontEnd
from serd.speech import make_vad, whole
from training.prepare import CACHE, file_digest
from training.probes.conditions import CONDITIONS, apply_condition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from serd.model.decision import Prediction
    from training.corpora import Clip
    from training.probes.noise import Samples

_CODE = (
    "serd.audio.autogain",
    "serd.audio.channels",
    "serd.audio.file",
    "serd.audio.highpass",
    "serd.audio.intake",
    "serd.audio.layout",
    "serd.audio.resample",
    "serd.audio.sndfile",
    "serd.speech.trim",
    "serd.speech.vad",
    "serd.model.mel",
    "serd.model.mfcc",
    "training.probes.conditions",
    "training.probes.hearing",
    "training.probes.noise",
    "training.probes.rooms",
    "training.probes.telephone",
)


class Hearing:
    """Clips under conditions, as mel power.

    Args:
        features: Of the front end; mean and sd play no part.
        conditions: Keys of :data:`training.probes.conditions.CONDITIONS`.
        noises: Files with recordings of noise.
        seed: Of everything random.
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
        for module in _CODE:
            digest.update(inspect.getsource(importlib.import_module(module)).encode())
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
            clips: Which.
            jobs: Processes.
            progress: Called with the number of clips that have become ready.

        Raises:
            InputError: A file cannot be read.
        """
        from joblib import Parallel, delayed

        missing = [clip for clip in clips if self._missing(clip.path)]
        progress(len(clips) - len(missing))
        parts = [missing[first : first + 16] for first in range(0, len(missing), 16)]
        if missing:
            work = (delayed(self._hear_some)([clip.path for clip in part]) for part in parts)
            for ready in Parallel(n_jobs=jobs, return_as="generator")(work):
                progress(ready)

    def power(self, clip: Clip, condition: str) -> NDArray[np.float32]:
        """Mel power of a clip under a condition, float32 ``[n, mel_bands]``, from the cache."""
        entry = self._entry(clip.path, condition)
        if not entry.is_file():
            self._hear(clip.path)
        power: NDArray[np.float32] = np.load(entry)
        return power

    def _missing(self, path: Path) -> list[str]:
        return [name for name in self.conditions if not self._entry(path, name).is_file()]

    def _entry(self, path: Path, condition: str) -> Path:
        digest = file_digest(path)
        return self._folders[condition] / digest[:2] / f"{digest}.npy"

    def _hear_some(self, paths: Sequence[Path]) -> int:
        for path in paths:
            self._hear(path)
        return len(paths)

    def _hear(self, path: Path) -> None:
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
    _, voice = whole(samples, speech, make_vad(speech))
    if not voice.any():
        return np.zeros((0, features.mel_bands), dtype=np.float32)
    front_end = _front_end(msgspec.json.encode(features))
    front_end.start()
    front_end.push(voice)
    return front_end.finish_power().copy()


class Judge:
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
        """What ``serd classify --whole`` says of a recording with this mel power."""
        if not len(power):
            return self.classifier.classify_utterance(np.zeros(0, dtype=np.float32))
        return self.classifier.classify_features(self.coefficients(power))


@lru_cache(maxsize=4)
def _recordings(paths: tuple[Path, ...]) -> tuple[Samples, ...]:
    return tuple(read_mono16k(path) for path in paths)


@lru_cache(maxsize=4)
def _front_end(features: bytes) -> MfccFrontEnd:
    return MfccFrontEnd(msgspec.json.decode(features, type=FeatureParameters))

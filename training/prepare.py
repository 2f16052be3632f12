"""Decode, cut and analyse every clip once, and cache the result by content.

A clip takes the daemon's own path: :func:`serd.audio.file.read_mono16k`, then
:func:`serd.speech.trim_to_speech`, then the mel power of :class:`serd.model.mfcc.MfccFrontEnd`. The
cache holds mel power, the input of augmentation.

The key of the cache is made from the file's bytes, the settings, and the source text of the code
that computes it, so that stale entries are never used.
"""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from serd.audio.format import SAMPLE_RATE
from serd.errors import InputError
from serd.model.metadata import FeatureParameters
from serd.model.mfcc import MfccFrontEnd
from training.corpora import Clip, Corpus, content_duplicates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from training.recipe.corpora import Preparation

CACHE = Path(".cache") / "training"
"""Default folder of prepared clips; git ignores it."""

DAEMON_CODE = (
    "serd.audio.autogain",
    "serd.audio.channels",
    "serd.audio.container",
    "serd.audio.file",
    "serd.audio.highpass",
    "serd.audio.intake",
    "serd.audio.recording",
    "serd.audio.resample",
    "serd.speech.utterance",
    "serd.speech.vad",
    "serd.model.mfcc",
)
"""Modules of the daemon that turn a file into mel power; their source is part of cache keys."""

_LONGEST_WHOLE_S = 6.0
"""A clip whose cut is ``auto`` is cut if it is longer."""
_SILENCE = 1e-4
"""Clips with a lower peak are silent."""


_ENDINGS = {"whole": "", "utterances": "-cut", "auto": "-auto"}
"""Suffixes of cache entries, by how a clip is cut."""


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """One clip after preparation."""

    clip: Clip
    digest: str
    """Of its decoded audio: equal for equal sound."""
    duration_s: float
    """Of its speech as the daemon cuts it, at most ``longest_s``."""
    peak: float
    """Of its decoded audio, 0..1."""
    loudest: float
    """Highest mel power over all copies."""
    copies: tuple[NDArray[np.float16], ...]
    """For each speed ``[n, mel_bands]``: the square root of mel power over ``loudest``. As a root,
    half precision spans the 70 dB that count with an error of 0.005 dB."""

    def power(self, copy: int = 0) -> NDArray[np.float32]:
        """Mel power float32 ``[n, mel_bands]`` of one speed."""
        root = self.copies[copy].astype(np.float32)
        return root * root * np.float32(self.loudest)


def prepare(
    clips: Sequence[Clip],
    settings: Preparation,
    features: FeatureParameters,
    *,
    cache: Path = CACHE,
    jobs: int = 2,
    progress: Callable[[int], None] = lambda _: None,
    unreadable: dict[str, str] | None = None,
) -> list[Prepared]:
    """Prepare clips in parallel, or take them from the cache.

    Args:
        clips: The clips; results come in this order.
        settings: Speeds and lengths.
        features: Of the front end; room, mean and sd are not used.
        cache: Folder of the cache.
        jobs: Processes.
        progress: Called with the number of clips that were added.
        unreadable: Filled with the names of clips whose files cannot be read, and the reasons;
            None: the first of them is an error.

    Raises:
        InputError: A file cannot be read.
    """
    from joblib import Parallel, delayed

    folder = cache / preparation_key(settings, features)
    folder.mkdir(parents=True, exist_ok=True)
    bare = features.bare
    missing = [clip for clip in clips if not _entry(folder, clip).is_file()]
    progress(len(clips) - len(missing))
    # Batches keep the overhead of passing work to processes small.
    parts = [missing[first : first + 16] for first in range(0, len(missing), 16)]
    work = (delayed(_prepare_some)(part, settings, bare, folder) for part in parts)
    if missing:
        for ready, failed in Parallel(n_jobs=jobs, return_as="generator")(work):
            if failed and unreadable is None:
                raise InputError(next(iter(failed.values())))
            if unreadable is not None:
                unreadable.update(failed)
            progress(ready)
    return [
        one for clip in clips if clip.name not in (unreadable or {}) for one in _load(clip, folder)
    ]


def unusable(prepared: Iterable[Prepared]) -> dict[str, str]:
    """Clips that cannot be used: silent ones, and duplicates by content.

    Args:
        prepared: Clips of one corpus.

    Returns:
        Name of the clip -> reason.
    """
    found = list(prepared)
    unwanted = content_duplicates(
        [one.clip for one in found], {one.clip.name: one.digest for one in found}
    )
    return unwanted | {one.clip.name: "silent" for one in found if one.peak < _SILENCE}


def usable(corpus: Corpus, prepared: Sequence[Prepared]) -> tuple[Corpus, list[Prepared]]:
    """The corpus and its prepared clips without the :func:`unusable` ones, which are counted."""
    unwanted = unusable(prepared)
    return corpus.without(unwanted), [one for one in prepared if one.clip.name not in unwanted]


def spoken(path: Path, longest_s: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """A clip's decoded audio, and the speech in it as the daemon cuts it.

    Args:
        path: The file.
        longest_s: Seconds of speech to keep.

    Returns:
        Both float32, mono, 16 kHz.

    Raises:
        InputError: The file cannot be read.
    """
    from serd.audio.file import read_mono16k
    from serd.config import SpeechConfig
    from serd.speech import make_vad, trim_to_speech

    samples = read_mono16k(path)
    speech = SpeechConfig()
    window = msgspec.structs.replace(speech, window_s=longest_s)
    return samples, trim_to_speech(samples, window, make_vad(speech))[1]


def utterances(path: Path) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
    """A recording's decoded audio, and its utterances as the daemon cuts them.

    Args:
        path: The file.

    Returns:
        float32, mono, 16 kHz; there may be no utterances.

    Raises:
        InputError: The file cannot be read.
    """
    from serd.audio.file import read_mono16k
    from serd.config import SpeechConfig
    from serd.speech import Segmenter, make_vad
    from serd.speech.utterance import End

    samples = read_mono16k(path)
    speech = SpeechConfig()
    segmenter = Segmenter(speech, make_vad(speech))
    events = (*segmenter.feed(samples), *segmenter.flush())
    ends = [event.utterance for event in events if isinstance(event, End)]
    return samples, [samples[one.start : one.end] for one in ends]


def at_speed(voice: NDArray[np.float32], speed: float) -> NDArray[np.float32]:
    """A voice played faster or slower, with its pitch: resampled from another rate.

    Args:
        voice: float32[n], mono, 16 kHz.
        speed: 1: unchanged.
    """
    import soxr

    moved = voice if speed == 1.0 else soxr.resample(voice, SAMPLE_RATE * speed, SAMPLE_RATE)
    return np.ascontiguousarray(moved, dtype=np.float32)


def preparation_key(settings: Preparation, features: FeatureParameters) -> str:
    """Name of the cache folder for these settings."""
    bare = features.bare
    digest = hashlib.sha256(msgspec.json.encode([settings, bare], order="sorted"))
    digest.update(source_text("training.prepare") + cutting_code())
    return digest.hexdigest()[:16]


def cutting_code() -> bytes:
    """What decides how a recording is cut into utterances, for the key of a cache.

    The code of the daemon that does it, and the default settings.
    """
    from serd.config import SpeechConfig

    code = source_text(*DAEMON_CODE, "serd.speech.segmenter", "serd.speech.voice")
    return code + msgspec.json.encode(SpeechConfig(), order="sorted")


def source_text(*modules: str) -> bytes:
    """The source text of modules, for the key of a cache."""
    return "".join(inspect.getsource(importlib.import_module(name)) for name in modules).encode()


def _prepare_some(
    clips: Sequence[Clip], settings: Preparation, features: FeatureParameters, folder: Path
) -> tuple[int, dict[str, str]]:
    """The number of clips, and those that cannot be read, with the reasons."""
    failed: dict[str, str] = {}
    for clip in clips:
        try:
            if clip.cut == "whole":
                samples, voice = spoken(clip.path, settings.longest_s)
                voices = [voice]
            else:
                samples, voices = utterances(clip.path)
                if clip.cut == "auto" and len(samples) <= _LONGEST_WHOLE_S * SAMPLE_RATE:
                    voices = [spoken(clip.path, settings.longest_s)[1]]
        except InputError as error:
            failed[clip.name] = str(error)
            continue
        _prepare_one(samples, voices, settings, features, _entry(folder, clip))
    return len(clips), failed


def _prepare_one(
    samples: NDArray[np.float32],
    voices: Sequence[NDArray[np.float32]],
    settings: Preparation,
    features: FeatureParameters,
    entry: Path,
) -> None:
    front_end = _front_end(msgspec.json.encode(features))
    roots, figures = [], []
    for voice in voices:
        copies = [front_end.mel_power(at_speed(voice, speed)) for speed in settings.speeds]
        loudest = max(float(power.max(initial=0.0)) for power in copies)
        roots += [np.sqrt(power / (loudest or 1.0)).astype(np.float16) for power in copies]
        figures.append([len(voice) / SAMPLE_RATE, np.abs(samples).max(initial=0.0), loudest])
    entry.parent.mkdir(parents=True, exist_ok=True)
    part = entry.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        np.savez(
            file,
            roots=np.concatenate(roots or [np.zeros((0, features.mel_bands), np.float16)]),
            lengths=np.array([len(root) for root in roots], dtype=np.int64),
            figures=np.array(figures).reshape(len(voices), 3),
            digest=np.frombuffer(hashlib.sha256(samples.tobytes()).digest(), dtype=np.uint8),
        )
    part.replace(entry)


def _load(clip: Clip, folder: Path) -> list[Prepared]:
    """The utterances of a clip."""
    with np.load(_entry(folder, clip)) as kept:
        copies = np.split(kept["roots"], np.cumsum(kept["lengths"])[:-1])
        figures, digest = kept["figures"].tolist(), kept["digest"].tobytes().hex()
    speeds = len(copies) // max(1, len(figures))
    found = []
    for number, (duration_s, peak, loudest) in enumerate(figures):
        one, of_one = clip, digest
        if clip.cut == "utterances" or len(figures) > 1:
            one = msgspec.structs.replace(clip, key=f"{clip.name}#{number}")
            of_one = f"{digest}#{number}"
        found.append(
            Prepared(
                clip=one,
                digest=of_one,
                duration_s=duration_s,
                peak=peak,
                loudest=loudest,
                copies=tuple(copies[number * speeds : (number + 1) * speeds]),
            )
        )
    return found


def _entry(folder: Path, clip: Clip) -> Path:
    digest = file_digest(clip.path)
    return folder / digest[:2] / f"{digest}{_ENDINGS[clip.cut]}.npz"


@lru_cache(maxsize=65536)
def file_digest(path: Path) -> str:
    """SHA-256 of a file, its key in the cache.

    Raises:
        InputError: It cannot be read.
    """
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise InputError(f"Cannot read {path}: {error.strerror}") from error


@lru_cache(maxsize=4)
def _front_end(features: bytes) -> MfccFrontEnd:
    return MfccFrontEnd(msgspec.json.decode(features, type=FeatureParameters))

"""The authors' features, computed with librosa once for each clip and cached by its content.

The key of the cache is made from the file's bytes, the name of the feature, librosa's version and
the source text of this module. The authors loaded clips with ``librosa.load``; librosa 0.11
resamples with ``soxr_hq`` by default, older versions with ``kaiser_best``.
"""

from __future__ import annotations

import hashlib
import os
import warnings
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from serd.errors import InputError, UsageError
from training.prepare import file_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.baselines.system import Source
    from training.corpora import Clip


def features(
    extract: Callable[[Path], NDArray[np.float32]], clips: Sequence[Clip], source: Source
) -> NDArray[np.float32]:
    """A feature of every clip, from the cache where it is there.

    Args:
        extract: A function of :mod:`training.baselines.features`.
        clips: Results come in their order.
        source: Cache, processes, and who hears of it.

    Raises:
        UsageError: librosa is not installed.
        InputError: A clip cannot be read.
    """
    from joblib import Parallel, delayed

    folder = source.cache / f"baselines-{extract.__name__.replace('_', '-')}-{_key()}"
    missing = [clip.path for clip in clips if not _entry(folder, clip.path).is_file()]
    done = len(clips) - len(missing)
    what = f"features {extract.__name__}"
    source.progress(what, done, len(clips))
    # librosa compiles on first use and keeps the result on disk; two processes that do so at the
    # same time can leave something behind that crashes whoever uses it. So the first goes alone.
    for path in missing[:1]:
        done += _extract_some(extract, [path], folder)
    parts = [missing[first : first + 16] for first in range(1, len(missing), 16)]
    work = (delayed(_extract_some)(extract, part, folder) for part in parts)
    if parts:
        for ready in Parallel(n_jobs=source.jobs, return_as="generator")(work):
            done += ready
            source.progress(what, done, len(clips))
    return np.stack([np.load(_entry(folder, clip.path)) for clip in clips])


def _extract_some(
    extract: Callable[[Path], NDArray[np.float32]], paths: Sequence[Path], folder: Path
) -> int:
    for path in paths:
        entry = _entry(folder, path)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            with warnings.catch_warnings():
                # librosa warns that a silent clip has no tuning to estimate.
                warnings.simplefilter("ignore")
                found = extract(path)
        except (OSError, RuntimeError, EOFError) as error:
            raise InputError(f"Cannot read {path}: {error}") from error
        part = entry.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, found)
        part.replace(entry)
    return len(paths)


def _key() -> str:
    try:
        version = metadata.version("librosa")
    except metadata.PackageNotFoundError as error:
        raise UsageError(
            "The published systems' features need librosa",
            remedy="in serd's source tree: pip install -e '.[train]'",
        ) from error
    source = Path(__file__).read_text(encoding="utf-8")
    return hashlib.sha256(f"{version}\n{source}".encode()).hexdigest()[:12]


def _entry(folder: Path, path: Path) -> Path:
    digest = file_digest(path)
    return folder / digest[:2] / f"{digest}.npy"


SAMPLES = 75_000
"""Of a clip at 22.05 kHz in Hoopes's systems: 3.4 s."""
BANDS, FRAMES = 128, 147
"""Of the mel spectrogram of so many samples."""
PITCHES = (0, 1, 2, 3)
"""Half-tones by which the copies of a clip are shifted."""


def root_mel(path: Path) -> NDArray[np.float32]:
    """Square root of the power mel spectrogram, ``[128, 147]``.

    The clip is cut to 75,000 samples or has zeros put before it. The bands are laid out for
    44.1 kHz although the sound has 22.05 kHz, as the author did by mistake: the upper bands stay
    empty and the lower ones cover half the frequencies that they claim.
    """
    return _root_mel(_fixed(path))


def shifted_root_mels(path: Path) -> NDArray[np.float32]:
    """:func:`root_mel` of the clip shifted by each of :data:`PITCHES`, ``[4, 128, 147]``."""
    import librosa

    y = _fixed(path)
    shifted = [
        librosa.effects.pitch_shift(y, sr=22_050, n_steps=steps) if steps else y
        for steps in PITCHES
    ]
    return np.stack([_root_mel(one) for one in shifted])


def mean_mfcc(path: Path) -> NDArray[np.float32]:
    """Mean over time of 40 MFCCs at 22.05 kHz, ``[40]``."""
    import librosa

    y, rate = librosa.load(path, sr=22_050)
    return np.asarray(librosa.feature.mfcc(y=y, sr=rate, n_mfcc=40).mean(axis=1), np.float32)


def means_at_48k(path: Path) -> NDArray[np.float32]:
    """Means over time of 40 MFCCs, 12 chroma and 128 mel bands at 48 kHz, ``[180]``."""
    import librosa

    y, rate = librosa.load(path, sr=48_000)
    return _means(y, int(rate))


def means_and_crossings(path: Path) -> NDArray[np.float32]:
    """Means of 40 MFCCs, 12 chroma, 128 mel bands, and the zero crossings, ``[181]``, 22.05 kHz."""
    import librosa

    y, rate = librosa.load(path, sr=22_050)
    crossings = librosa.zero_crossings(y, pad=False).sum()
    return np.append(_means(y, int(rate)), np.float32(crossings))


def _fixed(path: Path) -> NDArray[np.float32]:
    import librosa

    y, _ = librosa.load(path, sr=22_050)
    y = y[:SAMPLES]
    return np.pad(y, (SAMPLES - len(y), 0))


def _root_mel(y: NDArray[np.float32]) -> NDArray[np.float32]:
    import librosa

    mel = librosa.feature.melspectrogram(y=y, sr=44_100)
    return np.asarray(np.sqrt(np.maximum(mel, 0.0)), np.float32)


def _means(y: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    import librosa

    spectrum = np.abs(librosa.stft(y))
    parts = (
        librosa.feature.mfcc(y=y, sr=rate, n_mfcc=40),
        librosa.feature.chroma_stft(S=spectrum, sr=rate),
        librosa.feature.melspectrogram(y=y, sr=rate),
    )
    return np.concatenate([part.mean(axis=1) for part in parts]).astype(np.float32)

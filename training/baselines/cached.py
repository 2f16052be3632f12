"""Features with librosa, computed once for each clip and kept by its content.

The key of the cache is made from the file's bytes, the name of the feature, librosa's version and
the source text of :mod:`training.baselines.sound`.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import warnings
from importlib import metadata
from typing import TYPE_CHECKING

import numpy as np

from serd.errors import InputError, UsageError
from training.baselines import sound
from training.prepare import file_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from training.baselines.system import Source
    from training.corpora import Clip


def features(
    extract: Callable[[Path], NDArray[np.float32]], clips: Sequence[Clip], source: Source
) -> NDArray[np.float32]:
    """A feature of every clip, from the cache where it is there.

    Args:
        extract: A function of :mod:`training.baselines.sound`.
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
        done += _extract_some(extract.__name__, [path], folder)
    parts = [missing[first : first + 16] for first in range(1, len(missing), 16)]
    work = (delayed(_extract_some)(extract.__name__, part, folder) for part in parts)
    if parts:
        for ready in Parallel(n_jobs=source.jobs, return_as="generator")(work):
            done += ready
            source.progress(what, done, len(clips))
    return np.stack([np.load(_entry(folder, clip.path)) for clip in clips])


def _extract_some(name: str, paths: Sequence[Path], folder: Path) -> int:
    extract = getattr(sound, name)
    for path in paths:
        entry = _entry(folder, path)
        entry.parent.mkdir(parents=True, exist_ok=True)
        try:
            with warnings.catch_warnings():
                # A silent clip has no tuning to estimate; that is no news here.
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
    source = inspect.getsource(sound)
    return hashlib.sha256(f"{version}\n{source}".encode()).hexdigest()[:12]


def _entry(folder: Path, path: Path) -> Path:
    digest = file_digest(path)
    return folder / digest[:2] / f"{digest}.npy"

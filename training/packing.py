"""What travels in a model file beside the network: corpora, provenance, and key figures."""

from __future__ import annotations

import datetime as dt
import hashlib
import platform
import subprocess
from collections import Counter, defaultdict
from importlib import metadata
from typing import TYPE_CHECKING, Any

import msgspec

from serd.model.metadata import Corpus as CorpusEntry
from training import REPOSITORY, RESULTS
from training.corpora import corpus_folder
from training.corpora.ordinary import Recording, read_recordings
from training.network import load_start_model

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from training.corpora import Clip
    from training.dataset import Dataset
    from training.prepare import Prepared
    from training.recipe import Recipe


def provenance(recipe: Recipe, dataset: Dataset) -> dict[str, Any]:
    """Where a run comes from: date, code, versions, seed, and who was on which side."""
    packages = ["tensorflow_cpu", "tensorflow", "keras", "numpy", "soxr", "webrtcvad-wheels"]
    if recipe.teaching is not None:
        packages += ["torch", "transformers"]
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "git": _git("rev-parse", "HEAD"),
        # A cross-validation writes its results while it goes on; no training reads them.
        "git_clean": not _git(
            "status", "--porcelain", "--", "serd", "training", f":(exclude){RESULTS}"
        ),
        "seed": recipe.seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": versions,
        "split": msgspec.to_builtins(dataset.split),
        "clips": {side: len(dataset.side(side)) for side in ("train", "validation", "test")},
        "clips_sha256": _digest(dataset.side("train")),
    }


def _digest(prepared: Sequence[Prepared]) -> str:
    """Of the names and the sound of clips, in any order."""
    lines = sorted(f"{one.clip.id} {one.digest}" for one in prepared)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _git(*command: str) -> str:
    try:
        done = subprocess.run(
            ["git", *command], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def corpus_entries(dataset: Dataset) -> tuple[CorpusEntry, ...]:
    """What a model was trained on, as its metadata says it; ordinary speech source by source."""
    entries = []
    for name, corpus in dataset.corpora.items():
        clips = dataset.split.side(corpus.clips, "train")
        if name == "ordinary":
            entries += _source_entries(dataset.root, clips)
        elif clips:
            entries.append(
                CorpusEntry(
                    name=corpus.title,
                    licence=corpus.licence,
                    speakers=len({clip.speaker for clip in clips}),
                    clips=len(clips),
                )
            )
    return tuple(entries)


def trained_corpora(recipe: Recipe, dataset: Dataset) -> tuple[CorpusEntry, ...]:
    """The corpora behind a model's weights, those of its start model included."""
    start = recipe.start
    if start is None or start.model is None:
        return corpus_entries(dataset)
    inherited = load_start_model(start.model).info.corpora
    if start.keeps_all:
        return inherited
    entries = corpus_entries(dataset)
    known = {entry.name for entry in entries}
    return (*(entry for entry in inherited if entry.name not in known), *entries)


def _source_entries(root: Path, clips: Sequence[Clip]) -> list[CorpusEntry]:
    heard = Counter(clip.speaker for clip in clips)
    of_source: dict[str, list[Recording]] = defaultdict(list)
    for recording in read_recordings(corpus_folder("ordinary", root)):
        of_source[recording.source].append(recording)
    return [
        CorpusEntry(
            name=f"{source} ({', '.join(sorted({one.origin for one in of_source[source]}))})",
            licence=", ".join(sorted({one.licence for one in of_source[source]})),
            speakers=len({one.speaker for one in of_source[source]}),
            clips=count,
        )
        for source, count in sorted(heard.items())
    ]


def summary(result: dict[str, Any]) -> dict[str, Any]:
    """The figures that travel in the model file: a few for each corpus, to four digits."""
    kept = ("accuracy", "uar", "ece", "accuracy_at_coverage", "decided_share", "decided_accuracy")
    return {
        name: {"clips": of_corpus["clips"], "speakers": len(of_corpus["speakers"])}
        | {key: round(of_corpus[key], 4) for key in kept if of_corpus[key] is not None}
        for place in ("test", "cross_corpus")
        for name, of_corpus in result[place].items()
    }

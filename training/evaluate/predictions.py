"""Raw scores of a network, kept before any temperature, prior or threshold is applied.

A run classifies everything that it is tested on once: the clips of acted corpora, each as one
utterance, and recordings of ordinary speech and household sound, cut as the daemon cuts them. The
scores are kept in ``heard.json``. Calibration, thresholds and all figures are computed from them
(:mod:`training.evaluate.household`), so that they can be chosen on some folds and measured on
others without running a network again.
"""

from __future__ import annotations

import math
from pathlib import Path  # noqa: TC003 - msgspec reads the annotation
from typing import TYPE_CHECKING

import msgspec

from serd.model.model_file import ModelFile, pack
from training.corpora import corpus_folder
from training.corpora.esc10 import read_sounds
from training.corpora.ordinary import SOUND, SPEECH, read_recordings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from training.corpora import Clip

_LEAST = 1e-7
"""Stands for a score that was rounded to 0."""


class HeardClip(msgspec.Struct, frozen=True, kw_only=True):
    """One acted clip."""

    corpus: str
    name: str
    speaker: str
    emotion: str
    logs: tuple[float, ...]
    """Logarithm of each score, in the order of the network's classes."""


class HeardUtterance(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance of a recording."""

    start_s: float
    end_s: float
    logs: tuple[float, ...]


class HeardRecording(msgspec.Struct, frozen=True, kw_only=True):
    """One recording in which nobody acts."""

    source: str
    kind: str
    """``read``, ``command`` or ``talk`` for speech, ``sound`` or ``music`` for what is none."""
    language: str
    name: str
    duration_s: float
    utterances: tuple[HeardUtterance, ...] = ()

    @property
    def spoken(self) -> bool:
        """Whether it is speech."""
        return self.kind in SPEECH


class Heard(msgspec.Struct, frozen=True, kw_only=True):
    """All that one network was asked."""

    labels: tuple[str, ...]
    clips: tuple[HeardClip, ...] = ()
    recordings: tuple[HeardRecording, ...] = ()


class Ask(msgspec.Struct, frozen=True, kw_only=True):
    """A recording to be listened to."""

    path: Path
    source: str
    kind: str
    language: str
    duration_s: float


def pack_bare(model: Path | str) -> bytes:
    """The same network with a temperature of 1 and no home: what it says is what it hears."""
    packed = ModelFile.load(model)
    info = msgspec.structs.replace(
        packed.info, temperature=1.0, abstain_threshold=0.0, home=None, evaluation={}
    )
    return pack(packed.network, packed.labels, info)


def ordinary(
    root: Path, sources: Iterable[str] | None, kinds: frozenset[str] = SPEECH | SOUND
) -> list[Ask]:
    """Recordings of the corpus of ordinary speech: speech of some sources, and all sound.

    Args:
        root: Folder of the corpora.
        sources: Of speech; None: all.
        kinds: Those that are wanted.
    """
    wanted = None if sources is None else set(sources)
    return [
        Ask(
            path=one.path,
            source=one.source,
            kind=one.kind,
            language=one.language,
            duration_s=one.duration_s,
        )
        for one in read_recordings(corpus_folder("ordinary", root), kinds)
        if one.kind in SOUND or wanted is None or one.source in wanted
    ]


def of_folder(folder: Path) -> list[Ask]:
    """Anybody's own recordings of ordinary speech, each folder below ``folder`` as a source.

    Raises:
        InputError: There are none, or one cannot be read.
    """
    from serd.audio.file import read_mono16k
    from serd.audio.format import SAMPLE_RATE
    from serd.recordings import find_recordings

    return [
        Ask(
            path=path,
            source=path.parent.name,
            kind="talk",
            language="-",
            duration_s=len(read_mono16k(path)) / SAMPLE_RATE,
        )
        for path in find_recordings(folder)
    ]


def household(root: Path) -> list[Ask]:
    """The sounds of ESC-10 that no training heard, each kind as a source."""
    from serd.audio.file import read_mono16k
    from serd.audio.format import SAMPLE_RATE

    return [
        Ask(
            path=sound.path,
            source=f"esc10/{sound.kind}",
            kind="sound",
            language="-",
            duration_s=len(read_mono16k(sound.path)) / SAMPLE_RATE,
        )
        for sound in read_sounds(root)
    ]


def listen(
    model: Path | str,
    clips: Sequence[Clip],
    asked: Sequence[Ask],
    *,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> Heard:
    """Ask a packed model, by the code of ``serd classify``.

    Args:
        model: A packed file, or the name of a shipped one. For what the network itself hears, one
            of :func:`pack_bare`.
        clips: Acted clips, each taken as one utterance.
        asked: Recordings that are cut into utterances.
        jobs: Processes.
        progress: Called with the number of files that have become ready.

    Raises:
        InputError: A file cannot be read.
    """
    from serd.config import Config, ModelConfig
    from serd.recordings import classify_all

    labels = ModelFile.load(model).labels
    config = Config(model=ModelConfig(path=str(model)))

    def logs(scores: dict[str, float]) -> tuple[float, ...]:
        return tuple(round(math.log(max(scores[label], _LEAST)), 4) for label in labels)

    heard_clips = []
    results = classify_all([clip.path for clip in clips], config, whole=True, jobs=jobs)
    for clip, result in zip(clips, results, strict=True):
        if result.error is not None:
            raise result.error
        heard_clips.append(
            HeardClip(
                corpus=clip.corpus,
                name=clip.name,
                speaker=clip.speaker,
                emotion=clip.emotion,
                logs=logs(result.utterances[0].scores),
            )
        )
        progress(1)
    recordings = []
    results = classify_all([one.path for one in asked], config, jobs=jobs)
    for one, result in zip(asked, results, strict=True):
        if result.error is not None:
            raise result.error
        recordings.append(
            HeardRecording(
                source=one.source,
                kind=one.kind,
                language=one.language,
                name=one.path.name,
                duration_s=one.duration_s,
                utterances=tuple(
                    HeardUtterance(
                        start_s=utterance.start_s,
                        end_s=utterance.end_s,
                        logs=logs(utterance.scores),
                    )
                    for utterance in result.utterances
                ),
            )
        )
        progress(1)
    return Heard(labels=labels, clips=tuple(heard_clips), recordings=tuple(recordings))

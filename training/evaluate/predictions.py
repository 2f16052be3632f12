"""Raw scores of a network, kept before any temperature, prior or threshold is applied.

A run classifies everything that it is tested on once: the clips of acted corpora, each as one
utterance, and recordings of ordinary speech and household sound, cut as the daemon cuts them. The
scores are kept in ``heard.json``. Calibration, thresholds and all figures are computed from them
(:mod:`training.evaluate.household`), so that they can be chosen on some folds and measured on
others without running a network again.
"""

from __future__ import annotations

import hashlib
import math
from typing import TYPE_CHECKING

import msgspec

from serd.errors import UsageError
from serd.model.model_file import ModelFile, pack
from training.corpora import corpus_folder
from training.corpora.esc10 import read_sounds
from training.corpora.ordinary import SOUND, SPEECH, Recording, read_recordings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from training.corpora import Clip

_LOWEST_SCORE = 1e-7
"""Replaces scores that were rounded to 0."""


class ClipScores(msgspec.Struct, frozen=True, kw_only=True):
    """One acted clip."""

    corpus: str
    name: str
    speaker: str
    emotion: str
    logs: tuple[float, ...]
    """Logarithm of each score, in the order of the network's classes."""


class UtteranceScores(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance of a recording."""

    start_s: float
    end_s: float
    logs: tuple[float, ...]


class RecordingScores(msgspec.Struct, frozen=True, kw_only=True):
    """One recording in which nobody acts."""

    source: str
    kind: str
    """``read``, ``command`` or ``talk`` for speech, else ``sound`` or ``music``."""
    language: str
    name: str
    duration_s: float
    utterances: tuple[UtteranceScores, ...] = ()

    @property
    def spoken(self) -> bool:
        """Whether it is speech."""
        return self.kind in SPEECH


class Predictions(msgspec.Struct, frozen=True, kw_only=True):
    """The scores of one network for everything that it was tested on."""

    labels: tuple[str, ...]
    clips: tuple[ClipScores, ...] = ()
    recordings: tuple[RecordingScores, ...] = ()
    network_sha256: str = ""
    """Of the network; empty in files of earlier versions."""

    def check_same(self, clips: Sequence[Clip], ordinary: Sequence[Recording], file: Path) -> None:
        """Check that these are of the recordings that they are about to be compared with.

        Args:
            clips: Acted clips, in the order of :attr:`clips`.
            ordinary: Recordings that must be among :attr:`recordings`.
            file: Where these were read from.

        Raises:
            UsageError: They are of others.
        """
        before = [(one.corpus, one.name) for one in self.clips]
        heard = {(one.source, one.name) for one in self.recordings}
        if before != [(one.corpus, one.name) for one in clips] or not heard.issuperset(
            (one.source, one.path.name) for one in ordinary
        ):
            raise UsageError(
                f"{file} is of other clips than the corpora hold now",
                remedy="put them back, or remove that file to test the network again",
            )


def pack_uncalibrated(model: Path | str) -> bytes:
    """The same network with a temperature of 1 and without household settings."""
    packed = ModelFile.load(model)
    info = msgspec.structs.replace(
        packed.info, temperature=1.0, abstain_threshold=0.0, home=None, evaluation={}
    )
    return pack(packed.network, packed.labels, info)


def ordinary_recordings(root: Path, sources: Iterable[str]) -> list[Recording]:
    """Recordings of the corpus of ordinary speech: speech of some sources, and all sound.

    Args:
        root: Folder of the corpora.
        sources: Of speech.
    """
    wanted = set(sources)
    return [
        one
        for one in read_recordings(corpus_folder("ordinary", root))
        if one.kind in SOUND or one.source in wanted
    ]


def folder_recordings(folder: Path) -> list[Recording]:
    """The user's own recordings of ordinary speech, each folder below ``folder`` as a source.

    Raises:
        InputError: There are none, or one cannot be read.
    """
    from serd.recordings import find_recordings

    return [_recording(path, path.parent.name, "talk") for path in find_recordings(folder)]


def household_sounds(root: Path) -> list[Recording]:
    """The sounds of ESC-10 that are not used in training, each kind as a source."""
    return [_recording(one.path, f"esc10/{one.kind}", "sound") for one in read_sounds(root)]


def _recording(path: Path, source: str, kind: str) -> Recording:
    from serd.audio.file import read_mono16k
    from serd.audio.format import SAMPLE_RATE

    duration_s = len(read_mono16k(path)) / SAMPLE_RATE
    return Recording(path=path, source=source, kind=kind, language="-", duration_s=duration_s)


def predict(
    model: Path | str,
    clips: Sequence[Clip],
    recordings: Sequence[Recording],
    *,
    jobs: int = 1,
    progress: Callable[[int], None] = lambda _: None,
) -> Predictions:
    """The scores of a packed model, by the code of ``serd classify``.

    Args:
        model: A packed file, or the name of a shipped one. For raw scores, one of
            :func:`pack_uncalibrated`.
        clips: Acted clips, each taken as one utterance.
        recordings: Recordings that are cut into utterances.
        jobs: Processes.
        progress: Called with the number of files that were added.

    Raises:
        InputError: A file cannot be read.
    """
    from serd.config import Config, ModelConfig
    from serd.recordings import classify_all

    file = ModelFile.load(model)
    labels = file.labels
    config = Config(model=ModelConfig(path=str(model)))

    def logs(scores: dict[str, float]) -> tuple[float, ...]:
        return tuple(round(math.log(max(scores[label], _LOWEST_SCORE)), 4) for label in labels)

    scored_clips = []
    examined = classify_all([clip.path for clip in clips], config, whole=True, jobs=jobs)
    for clip, result in zip(clips, examined, strict=True):
        if result.error is not None:
            raise result.error
        scored_clips.append(
            ClipScores(
                corpus=clip.corpus,
                name=clip.name,
                speaker=clip.speaker,
                emotion=clip.emotion,
                logs=logs(result.utterances[0].scores),
            )
        )
        progress(1)
    scored_recordings = []
    examined = classify_all([one.path for one in recordings], config, jobs=jobs)
    for one, result in zip(recordings, examined, strict=True):
        if result.error is not None:
            raise result.error
        scored_recordings.append(
            RecordingScores(
                source=one.source,
                kind=one.kind,
                language=one.language,
                name=one.path.name,
                duration_s=one.duration_s,
                utterances=tuple(
                    UtteranceScores(
                        start_s=utterance.start_s,
                        end_s=utterance.end_s,
                        logs=logs(utterance.scores),
                    )
                    for utterance in result.utterances
                ),
            )
        )
        progress(1)
    return Predictions(
        labels=labels,
        clips=tuple(scored_clips),
        recordings=tuple(scored_recordings),
        network_sha256=hashlib.sha256(file.network).hexdigest(),
    )

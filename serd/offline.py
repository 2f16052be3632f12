"""Recordings instead of a stream: the utterances of many files, on as many cores as wanted.

The same reader, segmenter, front end and model as the daemon's, so that the answers are the same.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import numpy as np
from msgspec import UNSET, UnsetType

from serd.audio.format import FFMPEG_SUFFIXES, SAMPLE_RATE
from serd.errors import InputError, UsageError, shown
from serd.interruption import deferred

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Future

    from serd.audio.source import Source
    from serd.config import Config
    from serd.model.decision import Prediction
    from serd.model.model_file import ModelFile
    from serd.model.personal import Adaptation
    from serd.speech.utterance import Utterance

SUFFIXES: Final = (
    ".aif", ".aifc", ".aiff", ".au", ".bwf", ".caf", ".flac", ".mp2", ".mp3", ".oga", ".ogg",
    ".ogx", ".opus", ".rf64", ".snd", ".spx", ".voc", ".w64", ".wav", ".wave",
    *FFMPEG_SUFFIXES,
)  # fmt: skip
"""Files that are taken from a folder; a file named by itself may be called anything."""

STDIN: Final = Path("-")
"""Stands for standard input."""

LONGEST_WHOLE_S: Final = 600.0
"""Of a recording that is taken as one utterance, so many seconds are looked at: with 3 s of it
wanted, more would only take memory."""

_CHUNK: Final = 8
"""Files that a worker is given at a time."""

_FILES_PER_JOB: Final = 32
"""Files that make another worker worth its start (about half a second)."""

_PRELOADED: Final = (
    "serd.offline", "serd.audio.file", "serd.model.classifier",
    "serd.speech", "soundfile", "_webrtcvad", "ai_edge_litert.interpreter",
)  # fmt: skip
"""What every worker needs; one that is not installed is passed over."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance of a recording."""

    path: str
    """The recording, as it was named. Bytes of its name that are not UTF-8 are lone surrogates
    (U+DC80 to U+DCFF), as ``os.fsdecode`` makes them."""
    start_s: float
    """Seconds from its beginning."""
    end_s: float
    """Likewise."""
    emotion: str
    """One of the eight emotions, or ``uncertain``."""
    confidence: float
    """Calibrated probability of the top class, 0..1."""
    scores: dict[str, float]
    """Calibrated probability of each emotion."""
    valence: float
    """Unpleasant -1 .. 1 pleasant."""
    arousal: float
    """Sleepy -1 .. 1 aroused."""
    level_dbfs: float
    """RMS level."""
    adapted: int | UnsetType = UNSET
    """Number of corrections behind the scores; left out: none."""
    model_emotion: str | UnsetType = UNSET
    """What the model says before corrections; only if adapted."""
    model_confidence: float | UnsetType = UNSET
    """Likewise."""


class Examination(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one recording."""

    path: Path
    findings: tuple[Finding, ...] = ()
    """Its utterances in order; there may be none."""
    error: InputError | None = None
    """Why it could not be read."""
    warnings: tuple[str, ...] = ()
    """What else is to be said: what of it is missing or damaged."""


class Examiner:
    """Finds and classifies the utterances of recordings, one after the other.

    Args:
        config: Which model, how speech is found, and the gain.
        whole: Take each recording as one utterance: trimmed to its speech, the first 3 seconds.
        personal: Hear with the corrections that are kept on this machine.

    Raises:
        ModelError: If the model is none that serd can use.
        ConfigError: If the detector or the TFLite runtime is not installed.
    """

    def __init__(self, config: Config, *, whole: bool = False, personal: bool = False) -> None:
        from serd.model.classifier import Classifier, Recogniser  # noqa: PLC0415
        from serd.speech import Segmenter, make_vad  # noqa: PLC0415

        self._audio = config.audio
        self._speech = config.speech
        self._whole = whole
        self._classifier = Classifier.configured(config, stated="even")
        if personal:
            self._classifier.decision.adaptation = _learned(config, self._classifier.model)
        self._vad = make_vad(config.speech)
        self._recogniser = Recogniser(Segmenter.of(config.speech, self._vad), self._classifier)

    def examine(
        self, path: Path, progress: Callable[[float], None] = lambda _: None
    ) -> Examination:
        """Examine one recording; one that cannot be read is reported, not raised.

        Args:
            path: The file, or ``-`` for standard input.
            progress: Called now and then with the share of it that was heard, 0..1.
        """
        warnings: list[str] = []
        examine = self._as_one if self._whole else self._in_order
        try:
            source = self._source(path, warnings.append)
            findings = examine(path, source, lambda: progress(_share(source)))
        except InputError as error:
            return Examination(path=path, error=error, warnings=tuple(warnings))
        return Examination(path=path, findings=tuple(findings), warnings=tuple(warnings))

    def _source(self, path: Path, tell: Callable[[str], None]) -> Source:
        from serd.audio.factory import make_source  # noqa: PLC0415
        from serd.audio.file import FileSource  # noqa: PLC0415

        if path == STDIN:
            piped = msgspec.structs.replace(self._audio, source="-", command=(), on_end="stop")
            return make_source(piped)
        return FileSource(
            path,
            pace="fast",
            gain_db=self._audio.gain_db,
            channel=self._audio.channel,
            tell=tell,
        )

    def _as_one(self, path: Path, source: Source, progress: Callable[[], None]) -> list[Finding]:
        from serd.audio.source import EndOfSource  # noqa: PLC0415
        from serd.speech import whole  # noqa: PLC0415

        heard, count = [], 0
        try:
            source.open()
            while count < LONGEST_WHOLE_S * SAMPLE_RATE:
                try:
                    block = source.read(1.0)
                except EndOfSource:
                    break
                if block is not None:
                    heard.append(block.samples)
                    count += len(block)
                    progress()
        finally:
            source.close()
        utterance, audio = whole(np.concatenate(heard), self._speech, self._vad)
        return [describe(path, utterance, self._classifier.classify_utterance(audio))]

    def _in_order(self, path: Path, source: Source, progress: Callable[[], None]) -> list[Finding]:
        return [
            describe(path, found.utterance, found.prediction)
            for found in self._recogniser.through(source, lambda _: progress())
        ]


def _share(source: Source) -> float:
    share: float | None = getattr(source, "progress", None)
    return share or 0.0


def describe(path: Path, utterance: Utterance, prediction: Prediction) -> Finding:
    """Put together what is said of an utterance, rounded as it is printed."""
    return Finding(
        path=str(path),
        start_s=round(utterance.start / SAMPLE_RATE, 4),
        end_s=round(utterance.end / SAMPLE_RATE, 4),
        emotion=prediction.emotion,
        confidence=round(prediction.confidence, 6),
        scores={name: round(score, 6) for name, score in prediction.scores.items()},
        valence=round(prediction.valence, 4),
        arousal=round(prediction.arousal, 4),
        level_dbfs=round(utterance.level_dbfs, 1),
        **_before(prediction),
    )


def _before(prediction: Prediction) -> dict[str, Any]:
    if prediction.own is None:
        return {}
    return {
        "adapted": prediction.adapted,
        "model_emotion": prediction.own.emotion,
        "model_confidence": round(prediction.own.confidence, 6),
    }


def _learned(config: Config, model: ModelFile) -> Adaptation | None:
    """What the corrections on this machine have taught.

    Raises:
        UsageError: They are switched off.
        UnavailableError: There is no journal, or it cannot be read.
    """
    from serd.events.corrections import CorrectionStore  # noqa: PLC0415
    from serd.personal import learn  # noqa: PLC0415

    if not config.personal.enabled:
        raise UsageError("corrections are switched off here (personal.enabled)")
    corrections = CorrectionStore(Path(config.journal.path)).all()
    node = config.node if config.personal.scope == "node" else None
    return learn(corrections, model, node=node).adaptation


def recordings(path: Path) -> list[Path]:
    """The recordings that a path stands for.

    Args:
        path: A file, whatever its name; or a folder, which is searched to the bottom for files
            with one of `SUFFIXES`, in the order of their names.

    Raises:
        InputError: It is a folder without recordings, or one that cannot be read.
    """
    if path == STDIN or not path.is_dir():
        return [path]
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        name = shown(error.filename)
        raise InputError(f"{name} cannot be read: {error.strerror}") from error

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders.sort()
        found += [named(f"{folder}/{name}") for name in sorted(names) if _is_recording(name)]
    if not found:
        raise InputError(
            f"there are no recordings in {shown(path)}",
            remedy=f"files are known by their endings: {' '.join(SUFFIXES)}",
        )
    return found


def named(path: str) -> Path:
    """A path that somebody gave: ``-`` is standard input, ``./-`` a file."""
    return Path(path).absolute() if path != "-" and Path(path) == STDIN else Path(path)


def _is_recording(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def sensible_jobs(files: int) -> int:
    """How many processes are worth starting for so many files on this machine."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, files // _FILES_PER_JOB))


def examine_all(
    paths: Sequence[Path],
    config: Config,
    *,
    whole: bool = False,
    personal: bool = False,
    jobs: int = 1,
    progress: Callable[[float], None] = lambda _: None,
) -> Iterator[Examination]:
    """Examine recordings, in their order.

    Args:
        paths: The files.
        config: See `Examiner`.
        whole: See `Examiner`.
        personal: Likewise.
        jobs: Processes; 1 uses this one.
        progress: With one job, called with the share of the present recording that was heard.

    Raises:
        ModelError: As `Examiner` does.
        ConfigError: Likewise.
    """
    if jobs <= 1:
        examiner = Examiner(config, whole=whole, personal=personal)
        for path in paths:
            yield examiner.examine(path, progress)
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from multiprocessing import forkserver, get_context, resource_tracker  # noqa: PLC0415

    # The server from which the workers fork imports everything once, while the model is looked at
    # here; not the model itself, whose runtime may have threads.
    context = get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    resource_tracker.ensure_running()  # it would undo what follows
    with deferred():  # Ctrl-C is this process's business, and none of its workers'
        forkserver.ensure_running()
    # What is wrong with model or detector is said once and here, not by each worker.
    Examiner(config, whole=whole, personal=personal)
    chunks = deque(paths[at : at + _CHUNK] for at in range(0, len(paths), _CHUNK))
    pending: deque[Future[list[Examination]]] = deque()
    # Not fork: this process has threads by now, and a forked child would hold their locks.
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=context,
        initializer=_begin_work,
        initargs=(config, whole, personal),
    )
    with pool:
        try:
            while chunks or pending:
                # Some more than there are workers, so that none waits; not all, for memory.
                while chunks and len(pending) < 3 * jobs:
                    pending.append(pool.submit(_work, chunks.popleft()))
                yield from pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


_examiner: Examiner | None = None  # of a worker process


def _begin_work(config: Config, whole: bool, personal: bool) -> None:
    import signal  # noqa: PLC0415

    global _examiner  # noqa: PLW0603 - a worker process has one
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _examiner = Examiner(config, whole=whole, personal=personal)


def _work(paths: Sequence[Path]) -> list[Examination]:
    if _examiner is None:
        raise RuntimeError("a worker was given work before it began")
    return [_examiner.examine(path) for path in paths]

"""Classifying recordings: the utterances of many files, on as many cores as there are.

Recordings go through the same reader, segmenter, front end and model as the daemon's live audio, so
they get the same answers.
"""

from __future__ import annotations

import os
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

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
    from serd.model.adaptation import Adaptation
    from serd.model.decision import Prediction
    from serd.model.model_file import ModelFile
    from serd.speech.utterance import Utterance

SUFFIXES: Final = (
    ".aif", ".aifc", ".aiff", ".au", ".bwf", ".caf", ".flac", ".mp2", ".mp3", ".oga", ".ogg",
    ".ogx", ".opus", ".rf64", ".snd", ".spx", ".voc", ".w64", ".wav", ".wave",
    *FFMPEG_SUFFIXES,
)  # fmt: skip
"""Suffixes of the files that are taken from a folder. A file given by name may have any suffix."""

STDIN: Final = Path("-")
"""Stands for standard input."""

LONGEST_WHOLE_S: Final = 600.0
"""With ``whole``, at most this many seconds of a recording are read. The model takes 3 s of them,
so reading more would only cost memory."""

_CHUNK: Final = 8
"""Files handed to a worker at a time."""

_FILES_PER_JOB: Final = 32
"""Files that make starting another worker worthwhile (it takes about half a second)."""

_PRELOADED: Final = (
    "serd.recordings", "serd.audio.file", "serd.model.classifier", "serd.speech", "soundfile",
    "_webrtcvad", "ai_edge_litert.interpreter",
)  # fmt: skip
"""Modules that every worker needs; those that are not installed are skipped."""


class ClassifiedUtterance(msgspec.Struct, frozen=True, kw_only=True):
    """One utterance of a recording, with its emotion: what ``serd classify --json`` prints."""

    path: str
    """The recording, as it was given. Bytes of its name that are not UTF-8 are lone surrogates
    (U+DC80 to U+DCFF), as ``os.fsdecode`` makes them."""
    start_s: float
    """Start, in seconds from the beginning of the recording."""
    end_s: float
    """End, in seconds from the beginning of the recording."""
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
    """Number of corrections behind the scores; left out if there are none."""
    model_emotion: str | UnsetType = UNSET
    """The model's answer before corrections; only if there are any."""
    model_confidence: float | UnsetType = UNSET
    """The model's confidence before corrections; only if there are any."""

    @classmethod
    def of(cls, path: Path, utterance: Utterance, prediction: Prediction) -> Self:
        """Combine an utterance and its prediction, rounded for output."""
        before: dict[str, Any] = {}
        if prediction.own is not None:
            before = {
                "adapted": prediction.adapted,
                "model_emotion": prediction.own.emotion,
                "model_confidence": round(prediction.own.confidence, 6),
            }
        return cls(
            path=str(path),
            start_s=round(utterance.start / SAMPLE_RATE, 4),
            end_s=round(utterance.end / SAMPLE_RATE, 4),
            emotion=prediction.emotion,
            confidence=round(prediction.confidence, 6),
            scores={name: round(score, 6) for name, score in prediction.scores.items()},
            valence=round(prediction.valence, 4),
            arousal=round(prediction.arousal, 4),
            level_dbfs=round(utterance.level_dbfs, 1),
            **before,
        )


class RecordingResult(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome for one recording."""

    path: Path
    utterances: tuple[ClassifiedUtterance, ...] = ()
    """In order; empty if nobody speaks in it."""
    error: InputError | None = None
    """Why it could not be read."""
    warnings: tuple[str, ...] = ()
    """What is missing from it, or damaged."""


class RecordingClassifier:
    """Finds and classifies the utterances of recordings, one recording after the other.

    Args:
        config: Which model, how speech is found, and the gain.
        whole: Take each recording as one utterance: trimmed to its speech, the first 3 seconds.
        personal: Apply the corrections stored on this machine.

    Raises:
        ModelError: If the model cannot be used.
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
            self._classifier.decision.adaptation = _adaptation(config, self._classifier.model)
        self._vad = make_vad(config.speech)
        self._recogniser = Recogniser(Segmenter.of(config.speech, self._vad), self._classifier)

    def classify(
        self, path: Path, progress: Callable[[float], None] = lambda _: None
    ) -> RecordingResult:
        """Classify one recording. If it is not a recording, the result says so.

        Args:
            path: The file, or ``-`` for standard input.
            progress: Called now and then with the share that has been read, 0..1.

        Raises:
            UsageError: Standard input is a terminal, or cannot be read.
            UnavailableError: It cannot be prepared for reading.
        """
        warnings: list[str] = []
        utterances = self._as_one if self._whole else self._one_by_one
        try:
            source = self._source(path, warnings.append)
            found = utterances(path, source, lambda: progress(_share(source)))
        except InputError as error:
            return RecordingResult(path=path, error=error, warnings=tuple(warnings))
        return RecordingResult(path=path, utterances=tuple(found), warnings=tuple(warnings))

    def _source(self, path: Path, warn: Callable[[str], None]) -> Source:
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
            warn=warn,
        )

    def _as_one(
        self, path: Path, source: Source, progress: Callable[[], None]
    ) -> list[ClassifiedUtterance]:
        from serd.audio.source import EndOfSource  # noqa: PLC0415
        from serd.speech import trim_to_speech  # noqa: PLC0415

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
        if not count:
            raise InputError(f"{shown(path)} is too short: it holds no audio at {SAMPLE_RATE} Hz")
        utterance, audio = trim_to_speech(np.concatenate(heard), self._speech, self._vad)
        prediction = self._classifier.classify_utterance(audio)
        return [ClassifiedUtterance.of(path, utterance, prediction)]

    def _one_by_one(
        self, path: Path, source: Source, progress: Callable[[], None]
    ) -> list[ClassifiedUtterance]:
        return [
            ClassifiedUtterance.of(path, one.utterance, one.prediction)
            for one in self._recogniser.recognise(source, lambda _: progress())
        ]


def _share(source: Source) -> float:
    share: float | None = getattr(source, "progress", None)
    return share or 0.0


def _adaptation(config: Config, model: ModelFile) -> Adaptation | None:
    """The adaptation learned from the corrections on this machine.

    Raises:
        UsageError: Corrections are switched off.
        UnavailableError: There is no journal, or it cannot be read.
    """
    from serd.events.corrections import CorrectionStore  # noqa: PLC0415
    from serd.events.personalisation import learn  # noqa: PLC0415

    if not config.personal.enabled:
        raise UsageError("corrections are switched off here (personal.enabled)")
    corrections = CorrectionStore(Path(config.journal.path)).all()
    node = config.node if config.personal.scope == "node" else None
    return learn(corrections, model, node=node).adaptation


def find_recordings(path: Path) -> list[Path]:
    """The recordings at a path.

    Args:
        path: A file, whatever its name; or a folder, which is searched recursively for files with
            one of `SUFFIXES`, in the order of their names.

    Raises:
        InputError: It is a folder without recordings, or one that cannot be read.
    """
    try:
        is_folder = path.is_dir()
    except OSError:  # a folder on the way may not be entered; reading the file reports that
        is_folder = False
    if path == STDIN or not is_folder:
        return [path]
    found: list[Path] = []

    def refuse(error: OSError) -> None:
        name = shown(error.filename)
        raise InputError(f"{name} cannot be read: {error.strerror}") from error

    for folder, folders, names in os.walk(path, onerror=refuse):
        folders.sort()
        files = [path_of(f"{folder}/{name}") for name in sorted(names) if _is_recording(name)]
        # A pipe would be waited for.
        found += [file for file in files if not file.exists() or file.is_file()]
    if not found:
        raise InputError(
            f"there are no recordings in {shown(path)}",
            remedy=f"files are known by their endings: {' '.join(SUFFIXES)}",
        )
    return found


def path_of(argument: str) -> Path:
    """The path that a command-line argument means: ``-`` is standard input, ``./-`` a file."""
    path = Path(argument)
    return path.absolute() if argument != "-" and path == STDIN else path


def _is_recording(name: str) -> bool:
    return name.lower().endswith(SUFFIXES) and not name.startswith(".")


def default_jobs(files: int) -> int:
    """The number of processes worth starting on this machine for this many files."""
    cores = len(os.sched_getaffinity(0))
    return max(1, min(cores, files // _FILES_PER_JOB))


def classify_all(
    paths: Sequence[Path],
    config: Config,
    *,
    whole: bool = False,
    personal: bool = False,
    jobs: int = 1,
    progress: Callable[[float], None] = lambda _: None,
) -> Iterator[RecordingResult]:
    """Classify recordings, in their order.

    Args:
        paths: The files.
        config: See `RecordingClassifier`.
        whole: See `RecordingClassifier`.
        personal: See `RecordingClassifier`.
        jobs: Processes; 1 uses this one.
        progress: With one job, called with the share of the current recording that has been read.

    Raises:
        ModelError: See `RecordingClassifier`.
        ConfigError: See `RecordingClassifier`.
    """
    if jobs <= 1:
        classifier = RecordingClassifier(config, whole=whole, personal=personal)
        for path in paths:
            yield classifier.classify(path, progress)
        return
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415
    from multiprocessing import forkserver, get_context, resource_tracker  # noqa: PLC0415

    # The server that the workers fork from imports everything once, while the model is checked
    # here. It does not load the model itself, whose runtime may start threads.
    context = get_context("forkserver")
    context.set_forkserver_preload([*_PRELOADED])
    resource_tracker.ensure_running()  # it would undo what follows
    with deferred():  # Ctrl-C concerns this process and none of its workers
        forkserver.ensure_running()
    # A fault in the model or the detector is reported once, here, and not by every worker.
    RecordingClassifier(config, whole=whole, personal=personal)
    chunks = deque(paths[at : at + _CHUNK] for at in range(0, len(paths), _CHUNK))
    pending: deque[Future[list[RecordingResult]]] = deque()
    # Not fork: this process has threads by now, and a forked child would inherit their locks.
    pool = ProcessPoolExecutor(
        jobs,
        mp_context=context,
        initializer=_begin_work,
        initargs=(config, whole, personal),
    )
    with pool:
        try:
            while chunks or pending:
                # A few more than there are workers, so that none waits; not all, to save memory.
                while chunks and len(pending) < 3 * jobs:
                    # This may start a worker. One that is interrupted before the pool knows of it
                    # outlives the pool's semaphores, and complains that they are gone.
                    with deferred():
                        pending.append(pool.submit(_work, chunks.popleft()))
                yield from pending.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


_worker: RecordingClassifier | None = None  # in a worker process


def _begin_work(config: Config, whole: bool, personal: bool) -> None:
    import signal  # noqa: PLC0415

    global _worker  # noqa: PLW0603 - a worker process has one
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's business
    _worker = RecordingClassifier(config, whole=whole, personal=personal)


def _work(paths: Sequence[Path]) -> list[RecordingResult]:
    if _worker is None:
        raise RuntimeError("a worker was given work before it began")
    return [_worker.classify(path) for path in paths]

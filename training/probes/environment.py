"""False events without speech: how often everyday sounds and silence cause an emotion event.

The stream goes through the daemon's own :class:`serd.model.classifier.Recogniser` with the default
configuration: energy floor, detector, segmenter, evidence of a voice, network, threshold. The
stream is synthetic:

- Every sound is played in full (5 s in ESC-10, partly padded with silence by the publisher), in an
  order determined by a hash, each followed by :data:`PAUSE_S` seconds of a quiet room: pink noise
  at :data:`PAUSE_DBFS`.
- All samples are rounded to 16 bits, as from a microphone.
- An utterance belongs to the sound in or after which its middle lies.
- Hours are hours of the sounds without the pauses. An utterance that the model calls ``uncertain``
  is not an emotion event.

Crying babies and sneezes come from a human throat, so they are counted separately. To show that the
detector does detect speech, clips of speech go through a stream of their own in the same way; the
clips that were detected and decided are counted.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any, Literal

import msgspec
import numpy as np

from serd.audio.file import read_mono16k
from serd.audio.format import SAMPLE_RATE
from serd.config import SpeechConfig
from serd.model.classifier import Classifier, Recogniser, Recognition
from serd.model.emotions import UNCERTAIN
from serd.speech import Segmenter
from training.corpora.esc10 import TEST_FOLDS, Sound
from training.probes.distortion import pink

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from training.corpora import Clip
    from training.probes.distortion import Samples

PAUSE_S = 2.0
"""Longer than any hang-over, so that no utterance extends from one sound into the next."""

PAUSE_DBFS = -60.0
"""Of a quiet room: above the daemon's fixed floor."""

HUMAN = ("baby_cry", "person_sneeze")
"""Sounds from a human throat, counted separately."""

SILENCE_S = 600.0
"""Seconds of each kind of silence."""

ROOM_TONES_DBFS = (None, -60.0, -50.0, -40.0)
"""Levels of the silences: None is digital silence, the others are pink noise."""

ENGINES = ("webrtc", "silero")
"""Voice detectors that are measured."""

_BLOCK = 15_360  # samples: what the daemon reads at a time from a file at pace "fast"


class Stream(msgspec.Struct, frozen=True):
    """A sequence of sounds."""

    samples: Any
    """float32 ``[n]``, 16 kHz, in steps of 16 bits."""
    starts: tuple[int, ...]
    """Where each sound begins."""
    sounds: tuple[Sound, ...]
    seconds: tuple[float, ...]
    """Of each sound, without the pause."""

    def at(self, recognition: Recognition) -> int:
        """The sound in or after which an utterance's middle lies."""
        middle = (recognition.utterance.start + recognition.utterance.end) // 2
        return max(0, bisect_right(self.starts, middle) - 1)


def make_stream(sounds: Sequence[Sound], *, seed: int = 0) -> Stream:
    """Join sounds to one stream, as described above.

    Args:
        sounds: The sounds.
        seed: For the order and the noise in the pauses.

    Raises:
        InputError: A file cannot be read.
    """
    random = np.random.default_rng(seed)
    tone = round(PAUSE_S * SAMPLE_RATE)
    ordered = sorted(
        sounds,
        key=lambda one: hashlib.sha256(f"{seed}/{one.kind}/{one.path.name}".encode()).digest(),
    )
    parts = [room_tone(tone, PAUSE_DBFS, random)]
    starts, seconds, at = [], [], tone
    for sound in ordered:
        heard = read_mono16k(sound.path)
        starts.append(at)
        seconds.append(len(heard) / SAMPLE_RATE)
        parts += [heard, room_tone(tone, PAUSE_DBFS, random)]
        at += len(heard) + tone
    return Stream(in_16_bits(np.concatenate(parts)), tuple(starts), tuple(ordered), tuple(seconds))


def room_tone(length: int, dbfs: float | None, random: np.random.Generator) -> Samples:
    """Pink noise of a level; None: digital silence. float32 ``[length]``."""
    if dbfs is None:
        return np.zeros(length, dtype=np.float32)
    return pink(length, random) * np.float32(10 ** (dbfs / 20))


def in_16_bits(samples: Samples) -> Samples:
    """Rounded and clipped to signed 16-bit samples."""
    steps: Samples = np.clip(np.rint(samples * np.float32(32768)), -32768, 32767)
    return steps * np.float32(1 / 32768)


def recognise(
    samples: Samples, recogniser: Recogniser, progress: Callable[[int], None] = lambda _: None
) -> list[Recognition]:
    """The daemon's recognitions in a stream.

    Args:
        samples: float32 ``[n]`` at 16 kHz.
        recogniser: New, or flushed.
        progress: Called with the number of samples processed.
    """
    found: list[Recognition] = []
    for first in range(0, len(samples), _BLOCK):
        block = samples[first : first + _BLOCK]
        found += recogniser.feed(block)
        progress(len(block))
    return found + recogniser.flush()


def probe_environment(
    model: Path | str,
    sounds: Sequence[Sound],
    *,
    voices: Sequence[Clip] = (),
    engines: Sequence[str] = ENGINES,
    confirm: Literal["auto", "none"] = "auto",
    seed: int = 0,
    silence_s: float = SILENCE_S,
    progress: Callable[[str, int, int], None] = lambda *_: None,
) -> dict[str, Any]:
    """Count the events that sounds without speech cause.

    Args:
        model: A packed model file, or the name of a packaged one.
        sounds: Of all folds, or of those not used in training.
        voices: Speech of test speakers, to check the detector.
        engines: Voice detectors.
        confirm: Whether silero confirms what they find, as ``speech.confirm`` says.
        seed: Of order and noise.
        silence_s: Seconds of each silence.
        progress: Called with the stage, the amount done, and the total.

    Returns:
        See ``environment`` in :mod:`training.probes`.

    Raises:
        InputError: A file cannot be read.
        ConfigError: An engine is not installed.
    """
    classifier = Classifier.load(model, stated="home")
    stream = make_stream(sounds, seed=seed)
    spoken = make_stream(
        [Sound(path=clip.path, kind=clip.corpus, fold=0) for clip in voices], seed=seed
    )
    silences = {
        "digital" if dbfs is None else f"{dbfs:.0f} dBFS": in_16_bits(
            room_tone(round(silence_s * SAMPLE_RATE), dbfs, np.random.default_rng(seed))
        )
        for dbfs in ROOM_TONES_DBFS
    }
    whole = (
        len(stream.samples)
        + len(spoken.samples)
        + sum(len(silence) for silence in silences.values())
    )
    result: dict[str, Any] = {}
    for engine in engines:
        done = 0

        def step(count: int, engine: str = engine) -> None:
            nonlocal done
            done += count
            progress(f"environment, {engine}", done // SAMPLE_RATE, whole // SAMPLE_RATE)

        speech = msgspec.structs.replace(SpeechConfig(), engine=engine, confirm=confirm)
        recogniser = Recogniser(Segmenter.of(speech), classifier)
        found = recognise(stream.samples, recogniser, step)
        dropped = msgspec.to_builtins(recogniser.counters)
        kinds = _by_kind(stream, found)
        heldout = _by_kind(stream, found, TEST_FOLDS)
        quiet = {}
        for name, silence in silences.items():
            recogniser = Recogniser(Segmenter.of(speech), classifier)
            quiet[name] = _count(recognise(silence, recogniser, step), 0, silence_s)
        recogniser = Recogniser(Segmenter.of(speech), classifier)
        said = recognise(spoken.samples, recogniser, step)
        result[engine] = {
            "all": _summed(kinds),
            "held_out": _summed(heldout),
            "silence": quiet,
            "speech": _heard(spoken, said),
            "segmenter": dropped,
        }
    usual = result.get(SpeechConfig().engine, {}).get("held_out", {})
    return {
        "events_per_hour": usual.get("sounds", {}).get("events_per_hour"),
        "human_events_per_hour": usual.get("human", {}).get("events_per_hour"),
        "seed": seed,
        "threshold": classifier.threshold,
        "pause_s": PAUSE_S,
        "pause_dbfs": PAUSE_DBFS,
        "held_out_folds": sorted({one.fold for one in sounds} & set(TEST_FOLDS)),
        "human": list(HUMAN),
        "engines": result,
    }


def _by_kind(
    stream: Stream, found: Iterable[Recognition], folds: Sequence[int] = (1, 2, 3, 4, 5)
) -> dict[str, dict[str, Any]]:
    """Counts for each kind of sound, of some folds."""
    belongs: dict[str, list[Recognition]] = defaultdict(list)
    for one in found:
        sound = stream.sounds[stream.at(one)]
        if sound.fold in folds:
            belongs[sound.kind].append(one)
    clips: Counter[str] = Counter()
    seconds: dict[str, float] = defaultdict(float)
    for sound, length in zip(stream.sounds, stream.seconds, strict=True):
        if sound.fold in folds:
            clips[sound.kind] += 1
            seconds[sound.kind] += length
    return {kind: _count(belongs[kind], clips[kind], seconds[kind]) for kind in sorted(clips)}


def _heard(stream: Stream, found: Iterable[Recognition]) -> dict[str, dict[str, int]]:
    """Numbers of clips of each corpus that were detected and decided."""
    heard, decided = set(), set()
    for one in found:
        heard.add(stream.at(one))
        if one.prediction.emotion != UNCERTAIN:
            decided.add(stream.at(one))
    result: dict[str, dict[str, int]] = {}
    for number, sound in enumerate(stream.sounds):
        counts = result.setdefault(sound.kind, {"clips": 0, "heard": 0, "decided": 0})
        counts["clips"] += 1
        counts["heard"] += number in heard
        counts["decided"] += number in decided
    return dict(sorted(result.items()))


def _count(found: Sequence[Recognition], clips: int, seconds: float) -> dict[str, Any]:
    said = Counter(one.prediction.emotion for one in found)
    uncertain = said.pop(UNCERTAIN, 0)
    return {
        "clips": clips,
        "seconds": round(seconds, 3),
        "utterances": len(found),
        "uncertain": uncertain,
        "events": said.total(),
        "emotions": dict(sorted(said.items())),
        "events_per_hour": round(said.total() * 3600 / seconds, 2),
    }


def _summed(kinds: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Each kind, and sums: things and animals, human sounds, both."""
    if not kinds:
        return {}
    sums = {
        "sounds": [kind for kind in kinds if kind not in HUMAN],
        "human": [kind for kind in kinds if kind in HUMAN],
        "everything": list(kinds),
    }
    result: dict[str, Any] = {"kinds": kinds}
    for name, members in sums.items():
        if not members:
            continue
        chosen = [kinds[kind] for kind in members]
        totals = {
            key: sum(one[key] for one in chosen)
            for key in ("clips", "seconds", "utterances", "uncertain", "events")
        }
        hours = totals["seconds"] / 3600
        result[name] = totals | {
            "seconds": round(totals["seconds"], 3),
            "events_per_hour": round(totals["events"] / hours, 2),
        }
    return result

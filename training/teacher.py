"""A teacher: a large frozen speech encoder whose embeddings of clips are cached.

The middle layers of a network that was trained to transcribe speech contain much of how it was
said. The embedding of a clip consists of mean and standard deviation over time of some of these
layers; :mod:`training.teach` learns emotions from it. The encoder is any of Whisper's family that
``transformers`` loads (Radford and others, 2022, arXiv:2212.04356). It is needed only for training,
and no part of it is shipped.

Whisper expects 30 s and would spend nearly all its time on silence. Here it gets a clip's real
length, with as many of its position embeddings.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from serd.audio.format import SAMPLE_RATE
from serd.errors import InputError, UsageError
from training.prepare import at_speed, cutting_code, file_digest, spoken, utterances

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.corpora import Clip

FOLDERS = Path(".cache") / "teachers"
"""Searched for the last part of a teacher's name before it is downloaded."""

_POSITION = 320
"""Samples for one position of the encoder: hop 160, then a stride of 2."""
_STEP = 25
"""Clips are padded with silence to a multiple of so many positions (0.5 s). Clips of one length
form batches, and an embedding does not depend on the other clips of its batch."""
_BATCH = 16
_FORMAT = 1
"""Version of the cache format."""


class Teacher:
    """An encoder in a folder or on the model hub.

    Args:
        source: Folder with ``config.json`` and ``model.safetensors``, or a name on the hub.
        layers: Hidden layers of the embedding; 0 is the input of the first block.

    Raises:
        UsageError: PyTorch or transformers is not installed.
        InputError: There is no such teacher.
    """

    def __init__(self, source: str | Path, layers: Sequence[int]) -> None:
        self.source = str(source)
        self.layers = tuple(layers)
        encoder = _encoder(self.source)
        if not self.layers or max(self.layers) > encoder.config.encoder_layers:
            raise UsageError(f"{source} has hidden layers 0 to {encoder.config.encoder_layers}")
        digest = hashlib.sha256()
        for name, weights in sorted(encoder.state_dict().items()):
            digest.update(name.encode() + weights.numpy().tobytes())
        self.sha256 = digest.hexdigest()
        """Of its weights."""

    def embed(
        self,
        clips: Sequence[Clip],
        *,
        longest_s: float,
        speed: float = 1.0,
        cache: Path,
        jobs: int = 1,
        progress: Callable[[int], None] = lambda _: None,
    ) -> NDArray[np.float32]:
        """Embeddings of clips, cached.

        Args:
            clips: The clips; results come in this order.
            longest_s: Longest speech in seconds, before the change of speed.
            speed: Playback speed.
            cache: Folder of the cache.
            jobs: Processes.
            progress: Called with the number of clips that were added.

        Returns:
            float32 ``[clips, 2 * layers * width]``: means, then standard deviations.
        """
        from joblib import Parallel, delayed

        played = [] if speed == 1.0 else [speed]
        key = msgspec.json.encode([_FORMAT, self.sha256, self.layers, longest_s, *played])
        key += cutting_code()
        folder = cache / f"teacher-{hashlib.sha256(key).hexdigest()[:16]}"
        folder.mkdir(parents=True, exist_ok=True)
        missing = [clip for clip in clips if not _entry(folder, clip).is_file()]
        progress(len(clips) - len(missing))
        parts = [missing[first : first + 64] for first in range(0, len(missing), 64)]
        work = (
            delayed(_embed_some)(
                self.source, self.layers, part, longest_s=longest_s, speed=speed, folder=folder
            )
            for part in parts
        )
        if missing:
            for ready in Parallel(n_jobs=jobs, return_as="generator")(work):
                progress(ready)
        return np.stack([np.load(_entry(folder, clip)) for clip in clips]).astype(np.float32)


def find_teacher(name: str, chosen: str | None = None) -> str:
    """The folder or hub name of a teacher.

    Args:
        name: Its name in the recipe.
        chosen: From the command line: a folder, or a name.

    Returns:
        ``chosen``, else a folder of that name in :data:`FOLDERS`, else the name itself, for the
        hub.
    """
    if chosen:
        return chosen
    folder = FOLDERS / name.rsplit("/", maxsplit=1)[-1]
    return str(folder) if folder.is_dir() else name


def statistics(
    encoder: Any, voices: Sequence[NDArray[np.float32]], layers: Sequence[int]
) -> list[NDArray[np.float32]]:
    """Mean and standard deviation over time of some hidden layers.

    Args:
        encoder: A ``WhisperEncoder``.
        voices: float32[n] each, mono, 16 kHz.
        layers: Their numbers.

    Returns:
        For each voice float32 ``[2 * layers * width]``.
    """
    import torch

    found: list[NDArray[np.float32]] = [np.empty(0, dtype=np.float32)] * len(voices)
    longest: int = encoder.embed_positions.num_embeddings
    valid = [min(longest, max(1, -(-len(voice) // _POSITION))) for voice in voices]
    padded = [min(longest, -(-count // _STEP) * _STEP) for count in valid]
    for positions in sorted(set(padded)):
        alike = [number for number, count in enumerate(padded) if count == positions]
        for first in range(0, len(alike), _BATCH):
            numbers = alike[first : first + _BATCH]
            mel = _mel(encoder, [voices[number] for number in numbers], positions)
            with (
                torch.inference_mode(),
                torch.autocast("cpu", torch.bfloat16, enabled=_fast_bfloat16()),
            ):
                hidden = _hidden(encoder, mel, positions)
            chosen = torch.stack([hidden[layer].float() for layer in layers], dim=1)
            for number, states in zip(numbers, chosen, strict=True):
                embedding = states[:, : valid[number]]
                both = torch.stack([embedding.mean(dim=1), embedding.std(dim=1, correction=0)])
                found[number] = both.flatten().numpy()
    return found


@lru_cache(maxsize=1)
def _fast_bfloat16() -> bool:
    """Whether the processor computes in bfloat16.

    Then an embedding takes half the time, with an error of half a per cent. Processors that
    emulate it take eight times as long.
    """
    cpuinfo = Path("/proc/cpuinfo")
    flags = set(cpuinfo.read_text(encoding="utf-8").split()) if cpuinfo.is_file() else set()
    return not flags.isdisjoint({"avx512_bf16", "amx_bf16", "bf16"})


def _mel(encoder: Any, voices: Sequence[NDArray[np.float32]], positions: int) -> Any:
    """Whisper's own log-mel, ``[voices, bands, 2 * positions]``."""
    from transformers import WhisperFeatureExtractor

    extractor = WhisperFeatureExtractor(feature_size=encoder.config.num_mel_bins)
    samples = positions * _POSITION
    level = [np.pad(voice[:samples], (0, max(0, samples - len(voice)))) for voice in voices]
    made = extractor(level, sampling_rate=SAMPLE_RATE, padding="longest", return_tensors="pt")
    return made.input_features[:, :, : 2 * positions]


def _hidden(encoder: Any, mel: Any, positions: int) -> Any:
    """All hidden layers of the encoder, cut to ``positions``."""
    whole, length = encoder.embed_positions, encoder.config.max_source_positions
    try:
        encoder.embed_positions = type(whole).from_pretrained(whole.weight[:positions])
        encoder.config.max_source_positions = positions
        return encoder(mel, output_hidden_states=True).hidden_states
    finally:
        encoder.embed_positions, encoder.config.max_source_positions = whole, length


def _embed_some(
    source: str,
    layers: Sequence[int],
    clips: Sequence[Clip],
    *,
    longest_s: float,
    speed: float,
    folder: Path,
) -> int:
    encoder = _encoder(source)
    voices = [at_speed(_voice(clip, longest_s), speed) for clip in clips]
    for clip, embedding in zip(clips, statistics(encoder, voices, layers), strict=True):
        entry = _entry(folder, clip)
        entry.parent.mkdir(parents=True, exist_ok=True)
        part = entry.with_suffix(f".{os.getpid()}.part")
        with part.open("wb") as file:
            np.save(file, embedding.astype(np.float16))
        part.replace(entry)
    return len(clips)


def _voice(clip: Clip, longest_s: float) -> NDArray[np.float32]:
    """The speech of a clip, as :func:`training.prepare.prepare` cuts it."""
    if (number := _utterance(clip)) is None:
        return spoken(clip.path, longest_s)[1]
    return _utterances(clip.path)[number]


def _utterance(clip: Clip) -> int | None:
    """The number of the utterance in a recording; None: the clip is a whole file."""
    if clip.cut == "whole" or "#" not in clip.name:
        return None
    return int(clip.name.rpartition("#")[2])


@lru_cache(maxsize=1)
def _utterances(path: Path) -> list[NDArray[np.float32]]:
    # Utterances of one recording are asked for one after the other.
    return utterances(path)[1]


def load_before_tensorflow() -> None:
    """Import what a teacher needs, if it is installed.

    Some builds of PyTorch crash if TensorFlow was imported first, which a run does between the
    teachers of two stages.
    """
    with contextlib.suppress(ImportError):
        import transformers.models.whisper.modeling_whisper  # noqa: F401


@lru_cache(maxsize=1)
def _encoder(source: str) -> Any:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        import torch
        from transformers.models.whisper.modeling_whisper import WhisperEncoder
    except ImportError as error:
        raise UsageError(
            "A teacher needs PyTorch and transformers",
            remedy="pip install -e '.[teacher]' in serd's source tree, or train with --no-teacher",
        ) from error
    torch.set_num_threads(1)
    try:
        # The hub's folders hold encoder and decoder, under `model.encoder`; others the encoder
        # alone.
        encoder = WhisperEncoder.from_pretrained(source, dtype=torch.float32)
    except (OSError, ValueError) as error:
        raise InputError(
            f"There is no teacher at {source}: {error}",
            remedy="name a folder or a name on the model hub with --teacher",
        ) from error
    return encoder.eval()


def _entry(folder: Path, clip: Clip) -> Path:
    digest, number = file_digest(clip.path), _utterance(clip)
    return folder / digest[:2] / (f"{digest}.npy" if number is None else f"{digest}-{number}.npy")

"""Segmentation of a stream into utterances: a deterministic state machine on 30 ms frames.

::

              k of the last 5 frames voiced                window_s full
    IDLE ───────────────────────────────────> SPEAKING <─────────────────> SPEAKING
      ^                                        │    ^ │
      │   hangover_s without a voiced frame    │    │ │ window_s full, last frame not voiced
      └────────────────────────────────────────┘    │ v
      ^                                             BETWEEN
      │   hangover_s without a voiced frame          │
      └──────────────────────────────────────────────┘

A frame is voiced if it exceeds the energy floor (`EnergyFloor`: ``min_level_dbfs``, and the noise
of the room) and the detector classifies it as speech. Starting an utterance takes several voiced
frames; continuing it takes one within the hang-over. That is the hysteresis.

* An utterance starts ``preroll_s`` before the first of the frames that triggered it, but never
  inside the previous utterance.
* It ends ``preroll_s`` after its last voiced frame (the tail), if there is that much audio, or
  after exactly ``window_s``, whichever comes first. After a full window the next utterance starts
  at the very next sample, as soon as a voiced frame is seen. If none comes within the hang-over,
  there is no further utterance, and nothing counts as dropped.
* It is dropped, and counted, if it is shorter than ``min_speech_s``, if its level is below
  ``min_level_dbfs``, if less than ``min_voiced_share`` of its samples are in voiced frames, if it
  does not resemble a voice (`serd.speech.voice`), or if a second detector does not confirm it
  (`serd.speech.vad.SileroConfirmer`).

Decisions are made only at the ends of whole frames, counted from the start of the stream, so the
sizes of the blocks make no difference. What is left at the end of the stream, less than a frame, is
heard (it can be part of a tail) but never voiced.
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

import msgspec
import numpy as np

from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.audio.level import rms_dbfs
from serd.speech.utterance import (
    REASONS,
    Begin,
    Discard,
    DiscardReason,
    End,
    Extend,
    SegmentEvent,
    Utterance,
)
from serd.speech.vad import EnergyFloor, make_confirmer, make_vad
from serd.speech.voice import rejection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from serd.config import SpeechConfig
    from serd.speech.vad import Confirmer, Vad

ONSET_WINDOW_FRAMES: Final = 5
"""``onset_frames`` are counted among this many frames (150 ms); among more if it is larger."""

CHUNK_FRAMES: Final = 32
"""Maximum number of frames processed at a time, which bounds the memory for long blocks."""


MAX_BATCH_SAMPLES: Final = 8 * FRAME_SAMPLES
"""Maximum batch (240 ms) while no utterance can end. In real time, waking up is most of the cost:
with 120 ms, CPU use was half as much again. With larger batches, the speaking state would lag
noticeably."""

_LOWEST: Final = np.float32(-32768)
_HIGHEST: Final = np.float32(32767)


class Counters(msgspec.Struct, frozen=True, kw_only=True):
    """A segmenter's counters since it was created."""

    utterances: int = 0
    """Completed utterances."""
    short: int = 0
    """Dropped because they were shorter than ``min_speech_s``."""
    quiet: int = 0
    """Dropped because their level was below ``min_level_dbfs``."""
    unvoiced: int = 0
    """Dropped because too few of their frames were voiced."""
    steady: int = 0
    """Dropped because their level hardly varied: a fan, a hum, rain."""
    unpitched: int = 0
    """Dropped because nothing in them had the pitch of a voice: taps, crackling, barking."""
    unconfirmed: int = 0
    """Dropped because a second detector found no speech in them."""

    @property
    def dropped(self) -> int:
        """All dropped utterances."""
        return sum(getattr(self, reason) for reason in REASONS)


class _State(Enum):
    IDLE = 0
    SPEAKING = 1
    BETWEEN = 2  # a window was full, and no voiced frame has come since


class Segmenter:
    """Segments a stream into utterances.

    Args:
        settings: The ``speech`` section of the configuration.
        vad: The detector. It only gets frames at or above the energy floor, so it does not adapt to
            the quiet ones.
        confirmer: A second detector, which must confirm an utterance that passes all other checks;
            None: no confirmation.
    """

    def __init__(
        self, settings: SpeechConfig, vad: Vad, confirmer: Confirmer | None = None
    ) -> None:
        self._vad = vad
        self._confirmer = confirmer
        self._window = max(FRAME_SAMPLES, _samples(settings.window_s))
        self._minimum = _samples(settings.min_speech_s)
        # The frame that ends the speech is not voiced itself, so the minimum is one frame.
        self._hangover = max(FRAME_SAMPLES, _samples(settings.hangover_s))
        self._preroll = _samples(settings.preroll_s)
        self._onset = settings.onset_frames
        self._min_level_dbfs = settings.min_level_dbfs
        self._floor = EnergyFloor(settings.min_level_dbfs)
        self._min_share = settings.min_voiced_share
        recent = max(ONSET_WINDOW_FRAMES, settings.onset_frames)
        self._recent_mask = (1 << recent) - 1

        # An utterance that starts now also contains audio from before.
        self._soonest_full = self._window - self._preroll - recent * FRAME_SAMPLES

        chunk = CHUNK_FRAMES * FRAME_SAMPLES
        self._idle_keep = recent * FRAME_SAMPLES + self._preroll
        # Audio from `_base` on: what an utterance or a pre-roll may still need, then new audio.
        most = max(self._idle_keep, self._window + self._hangover + 2 * FRAME_SAMPLES)
        self._heard_audio = np.zeros(2 * most + 2 * chunk, np.float32)
        self._scaled = np.empty(chunk, np.float32)
        self._pcm = np.empty((CHUNK_FRAMES, FRAME_SAMPLES), np.int16)
        self._pcm_frames = list(self._pcm)
        self._full_scale = np.float32(32767 * vad.gain)

        self._utterances = 0
        self._dropped: dict[DiscardReason, int] = dict.fromkeys(REASONS, 0)
        self._restart(0)

    @classmethod
    def of(cls, settings: SpeechConfig, vad: Vad | None = None) -> Segmenter:
        """Create the segmenter that a configuration describes, with its detectors.

        Args:
            settings: The ``speech`` section of the configuration.
            vad: Detector to use; None: a new one.

        Raises:
            ConfigError: If a detector is not installed.
        """
        return cls(settings, vad or make_vad(settings), make_confirmer(settings))

    @property
    def counters(self) -> Counters:
        """The counters since the segmenter was created; `reset` does not clear them."""
        return Counters(utterances=self._utterances, **self._dropped)

    @property
    def speaking(self) -> bool:
        """Whether somebody is speaking, including the hang-over."""
        return self._state is not _State.IDLE

    @property
    def position(self) -> int:
        """Position of the next sample to be fed."""
        return self._heard

    @property
    def batch_samples(self) -> int:
        """Samples that may be fed at once without delaying an utterance's end.

        No utterance can end before the hang-over has passed or the window is full, and in silence
        one has to start first. Larger blocks reduce the overhead per frame. At least one frame, at
        most `MAX_BATCH_SAMPLES`.
        """
        if self._state is _State.IDLE:
            ends = self._decided + min(self._hangover + FRAME_SAMPLES, self._soonest_full)
        else:
            ends = self._last_voiced + self._hangover
            if self._state is _State.SPEAKING:
                ends = min(ends, self._start + self._window)
        undecided = -(-(ends - self._decided) // FRAME_SAMPLES) * FRAME_SAMPLES
        left = self._decided + undecided - self._heard
        return max(FRAME_SAMPLES, min(left, MAX_BATCH_SAMPLES))

    def feed(self, samples: NDArray[np.float32]) -> list[SegmentEvent]:
        """Process the next samples of the stream.

        Args:
            samples: float32[n], mono, 16 kHz, in [-1, 1]; any n, also 0. They are copied.

        Returns:
            The events, in order. The block sizes affect only how the audio is split over `Extend`
            events.
        """
        events: list[SegmentEvent] = []
        most = CHUNK_FRAMES * FRAME_SAMPLES
        for begin in range(0, len(samples), most):
            block = samples[begin : begin + most]
            self._make_room(len(block))
            offset = self._heard - self._base
            self._heard_audio[offset : offset + len(block)] = block
            self._heard += len(block)
            self._decide(events)
        return events

    def flush(self) -> list[SegmentEvent]:
        """End the stream: a running utterance ends with the audio, at the latest.

        Later samples start a new stream, with an unknown noise level; positions continue.
        """
        events = self._end_of_stream()
        self._restart(self._heard)
        self._floor.reset()
        return events

    def reset(self, position: int) -> list[SegmentEvent]:
        """Continue at another position because audio was lost.

        A running utterance ends with the audio so far. The noise level of the room is kept.

        Args:
            position: Position of the next sample to be fed.
        """
        events = self._end_of_stream()
        self._restart(position)
        return events

    def _end_of_stream(self) -> list[SegmentEvent]:
        events: list[SegmentEvent] = []
        if self._state is _State.SPEAKING:
            self._end_of_speech(self._heard, events)
        return events

    def _restart(self, position: int) -> None:
        self._state = _State.IDLE
        self._base = position  # position of the first sample kept
        self._heard = position  # one past the last sample fed
        self._decided = position  # one past the last frame decided
        self._free = position  # first sample that belongs to no utterance yet
        self._start = position  # of the utterance
        self._sent = position  # one past the last sample sent in an Extend
        self._last_voiced = position  # one past the last voiced frame
        self._voiced: list[int] = []  # where the utterance's voiced frames begin
        self._recent = 0  # IDLE: one bit for each of the last frames, the newest lowest
        self._vad.reset()

    def _make_room(self, count: int) -> None:
        if self._heard - self._base + count <= len(self._heard_audio):
            return
        keep = self._decided - self._idle_keep
        if self._state is not _State.IDLE:
            keep = min(keep, self._start)
        keep = max(keep, self._base)
        kept = self._heard - keep
        self._heard_audio[:kept] = self._heard_audio[keep - self._base : self._heard - self._base]
        self._base = keep

    def _decide(self, events: list[SegmentEvent]) -> None:
        """Decide on all whole frames that are still undecided."""
        count = (self._heard - self._decided) // FRAME_SAMPLES
        if not count:
            return
        offset = self._decided - self._base
        audio = self._heard_audio[offset : offset + count * FRAME_SAMPLES]
        frames = audio.reshape(count, FRAME_SAMPLES)
        # einsum: no temporary array, and the rounding of a frame does not depend on the others.
        loud = self._floor.judge(np.einsum("ij,ij->i", frames, frames).tolist())
        if any(loud):
            self._convert(audio)
        elif self._state is _State.IDLE and not self._recent:
            self._decided += count * FRAME_SAMPLES
            return
        is_speech, step = self._vad.is_speech, self._step
        for frame, is_loud in zip(self._pcm_frames, loud, strict=False):
            step(is_loud and is_speech(frame), events)
        if self._state is _State.SPEAKING:
            # Audio after the last voiced frame is sent once it is known to belong to the utterance.
            self._send(min(self._decided, self._last_voiced + self._preroll), events)

    def _convert(self, audio: NDArray[np.float32]) -> None:
        """Fill the PCM frames at the detector's gain, clipped to full scale."""
        scaled = self._scaled[: len(audio)]
        np.multiply(audio, self._full_scale, out=scaled)
        np.rint(scaled, out=scaled)
        np.maximum(scaled, _LOWEST, out=scaled)  # np.clip takes three times as long to start
        np.minimum(scaled, _HIGHEST, out=scaled)
        np.copyto(self._pcm.reshape(-1)[: len(audio)], scaled, casting="unsafe")

    def _step(self, voiced: bool, events: list[SegmentEvent]) -> None:
        """Advance the state machine by one frame."""
        begin = self._decided
        end = self._decided = begin + FRAME_SAMPLES
        if self._state is _State.IDLE:
            self._recent = (self._recent << 1 | voiced) & self._recent_mask
            if self._recent.bit_count() < self._onset:
                return
            self._voiced = [
                end - (bit + 1) * FRAME_SAMPLES
                for bit in range(self._recent.bit_length() - 1, -1, -1)
                if self._recent >> bit & 1
            ]
            self._recent = 0
            self._last_voiced = end
            self._begin(max(self._voiced[0] - self._preroll, self._free), events)
        elif voiced:
            self._voiced.append(begin)
            self._last_voiced = end
            if self._state is _State.BETWEEN:
                self._begin(self._start, events)
        elif end - self._last_voiced >= self._hangover:
            if self._state is _State.SPEAKING:
                self._end_of_speech(end, events)
            self._state = _State.IDLE
            return
        while self._state is _State.SPEAKING and end - self._start >= self._window:
            self._end_of_window(events)

    def _begin(self, start: int, events: list[SegmentEvent]) -> None:
        self._state = _State.SPEAKING
        self._start = self._sent = start
        events.append(Begin(start))
        if self._confirmer is not None:
            self._confirmer.begin()

    def _end_of_speech(self, heard: int, events: list[SegmentEvent]) -> None:
        """End the utterance after its tail, or at the full window if that is sooner."""
        end = min(self._last_voiced + self._preroll, heard)
        if end - self._start > self._window:
            self._close(self._start + self._window, cut=True, events=events)
        else:
            self._close(end, cut=False, events=events)

    def _end_of_window(self, events: list[SegmentEvent]) -> None:
        """End the utterance at the full window, and start the next if the speech continues."""
        end = self._start + self._window
        self._close(end, cut=True, events=events)
        self._start = end
        self._voiced = [at for at in self._voiced if at + FRAME_SAMPLES > end]
        if self._voiced:
            self._begin(end, events)
        else:
            self._state = _State.BETWEEN

    def _close(self, end: int, *, cut: bool, events: list[SegmentEvent]) -> None:
        self._send(end, events)
        start, length = self._start, end - self._start
        share = self._voiced_samples(start, end) / length
        audio = self._heard_audio[start - self._base : end - self._base]
        level = rms_dbfs(audio)
        self._free = end
        reason = self._discard_reason(audio, level, share)
        if reason is None and not (self._confirmer is None or self._confirmer.confirms(length)):
            reason = "unconfirmed"
        if reason is not None:
            self._dropped[reason] += 1
            events.append(Discard(reason))
            return
        self._utterances += 1
        utterance = Utterance(start=start, end=end, level_dbfs=level, voiced_share=share, cut=cut)
        events.append(End(utterance))

    def _voiced_samples(self, start: int, end: int) -> int:
        """Number of samples in voiced frames; only the utterance's edges can cut a frame."""
        voiced = len(self._voiced) * FRAME_SAMPLES
        for at in self._voiced:
            if at >= start:
                break
            voiced -= min(start - at, FRAME_SAMPLES)
        for at in reversed(self._voiced):
            if at + FRAME_SAMPLES <= end:
                break
            voiced -= min(at + FRAME_SAMPLES - end, FRAME_SAMPLES)
        return voiced

    def _discard_reason(
        self, audio: NDArray[np.float32], level_dbfs: float, voiced_share: float
    ) -> DiscardReason | None:
        """Why to discard the utterance, if at all; the cheapest test comes first."""
        if len(audio) < self._minimum:
            return "short"
        if level_dbfs < self._min_level_dbfs:
            return "quiet"
        if voiced_share < self._min_share:
            return "unvoiced"
        return rejection(audio)

    def _send(self, end: int, events: list[SegmentEvent]) -> None:
        """Send the utterance's audio up to ``end``, except what has been sent before."""
        if end > self._sent:
            audio = self._heard_audio[self._sent - self._base : end - self._base]
            events.append(Extend(audio.copy()))
            if self._confirmer is not None:
                self._confirmer.push(audio)
            self._sent = end


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)

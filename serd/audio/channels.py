"""Mixing of several channels to one: all, one by number, or the one with the clearest speech.

A stereo card with one microphone, an array with a playback channel, a plug with two wires swapped:
the mean of all channels can be worse than the best of them, and silent if two channels cancel each
other out. So the mix leaves out dead channels, and cancellation is detected.

All decisions are made at the ends of chunks of 0.12 s, counted from the start, so the block sizes
of the source make no difference.
"""

from __future__ import annotations

import logging
import math
from collections import deque
from typing import TYPE_CHECKING, Final, Literal, TypeAlias

import numpy as np

from serd.audio import FLOOR_DBFS

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import NDArray

log = logging.getLogger(__name__)

Choice: TypeAlias = Literal["mix", "auto"] | int
"""The setting `audio.channel`; numbers count from 1."""

PIECE_S: Final = 0.03
"""Seconds in a piece; `auto` looks for speech piece by piece."""

PIECES: Final = 4
"""Pieces in a chunk. Deciding after every piece would cost more than all other audio processing."""

CANCELLED: Final = 0.05
"""The channels cancel each other out if their mix has less than this share of their mean power.
The mix of eight uncorrelated channels has 1/8."""

RESTORED: Final = 0.2
"""Share from which the mix is usable again."""

CANCELLING_CHUNKS: Final = 2
"""Consecutive chunks of cancellation after which only one channel is used."""

RESTORING_CHUNKS: Final = 42
"""Consecutive chunks (5 s) without cancellation after which all are mixed again."""

DEAD_CHUNKS: Final = 83
"""Chunks (10 s) of one constant value after which a channel counts as dead."""

FADE_S: Final = 0.005
"""Seconds of the cross-fade between two mixes, which avoids a click."""

BAND_HZ: Final = (250.0, 4000.0)
"""Band in which `auto` looks for speech: above hum, below hiss."""

SPEECH_DB: Final = 8.0
"""Level above a channel's noise from which a piece may be speech (as in
`serd.speech.vad.EnergyFloor`)."""

FLOOR_CHUNKS: Final = 4
"""Chunks in a block; only its minimum is kept."""

FLOOR_BLOCKS: Final = 8
"""Past blocks considered besides the current one: about 4 s."""

QUIETEST: Final = 1e-9
"""Lower limit of the noise (mean power, -90 dBFS), so that digital silence is no advantage."""

BEST_DB: Final = 40.0
"""Upper limit of a channel's score."""

LEAD_DB: Final = 3.0
"""Lead that another channel needs before it is selected."""

FIRST_PIECES: Final = 5
"""Pieces with speech before the first selection: 0.15 s."""

NEXT_PIECES: Final = 100
"""Pieces with speech for which another channel needs to lead: 3 s."""

_MEMORY: Final = 0.95  # smoothing of the scores, for each piece with speech

_DECAY: Final = 0.66  # smoothing of the powers, for each chunk


def channel_problem(choice: Choice, count: int) -> str | None:
    """Why a choice is impossible with this many channels, as the end of a sentence, if it is."""
    if not isinstance(choice, int) or choice <= count:
        return None
    have = "one channel" if count == 1 else f"{count} channels"
    return f"has {have}, and audio.channel asks for number {choice}"


def channel_stats(channels: ChannelMixer | None) -> dict[str, Any]:
    """The channel fields of :class:`serd.audio.source.SourceStats`."""
    if channels is None:
        return {}
    return {
        "channel": channels.only,
        "channel_dbfs": channels.levels_dbfs,
        "channels_dead": channels.dead,
        "channels_cancel": channels.cancels,
    }


class ChannelMixer:
    """Mixes several channels to one. Not thread-safe.

    Args:
        choice: ``mix``, ``auto`` or a number from 1.
        rate: Sample rate in hertz.
        count: Number of channels, at least 2 and not below ``choice``.
        name: Name of the source, for the log.
    """

    def __init__(self, choice: Choice, *, rate: int, count: int, name: str) -> None:
        self.count = count
        self._choice = choice
        self._name = name
        piece = max(1, round(rate * PIECE_S))
        self._chunk = PIECES * piece
        self._fade = max(1, round(rate * FADE_S))
        self._rest = np.empty((0, count), np.float32)
        self._weights = np.full(count, 1.0 / count, np.float32)
        self._before = self._weights
        self._at = 0  # frames of the current chunk that have been mixed
        self._still = np.zeros(count, np.int64)
        self._moved = np.zeros(count, np.bool_)
        self._powers = np.zeros(count)
        self._mixed = 0.0
        self._streak = 0
        self._cancels = False
        self._ranking = _SpeechRanking(count, rate, piece) if choice == "auto" else None
        self.only = 0
        """The selected channel, from 1; 0: several are mixed."""
        if isinstance(choice, int):
            self.only = choice
            self._weights = self._before = self._one(choice - 1)
        self._energy = np.zeros(count)
        self._frames = 0

    @property
    def levels_dbfs(self) -> tuple[float, ...]:
        """RMS level of each channel since the start, without its offset."""
        if not self._frames:
            return (FLOOR_DBFS,) * self.count
        mean = self._energy / self._frames
        return tuple(max(FLOOR_DBFS, 10 * math.log10(max(power, 1e-30))) for power in mean)

    @property
    def cancels(self) -> bool:
        """Whether the channels cancel each other out, so that only one is used."""
        return self._cancels

    @property
    def dead(self) -> tuple[int, ...]:
        """Channels, from 1, whose value is constant while that of others is not."""
        if not self._moved.any():
            return ()
        dead = ~self._moved | (self._still >= DEAD_CHUNKS)
        return tuple(int(at) + 1 for at in np.flatnonzero(dead))

    @property
    def weights(self) -> NDArray[np.float32]:
        """The current weight of each channel in the mix, float32[count]."""
        return self._weights

    def mix(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Mix the next frames.

        Args:
            frames: float32[n, count], finite.

        Returns:
            float32[n].
        """
        parts = []
        done = 0
        while done < len(frames):
            end = min(len(frames), done + self._chunk - self._at)
            part = frames[done:end]
            parts.append(self._weighted(part))
            self._at += len(part)
            if self._at < self._chunk:
                self._rest = np.concatenate((self._rest, part))
            else:
                whole = np.concatenate((self._rest, part)) if len(self._rest) else part
                self._rest = self._rest[:0]
                self._at = 0
                self._analyse(whole)
            done = end
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def _weighted(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        # Channel by channel: a sample's rounding must not depend on the size of the block.
        weights = self._weights
        mixed: NDArray[np.float32] = np.zeros(len(frames), np.float32)
        for channel in range(self.count):
            if weights[channel]:
                mixed += frames[:, channel] * weights[channel]
        fading = self._fade - self._at
        if weights is self._before or fading <= 0:
            return mixed
        head = frames[:fading]
        old = np.zeros(len(head), np.float32)
        for channel in range(self.count):
            if self._before[channel]:
                old += head[:, channel] * self._before[channel]
        share = (self._at + np.arange(len(head), dtype=np.float32)) / np.float32(self._fade)
        mixed[: len(head)] = old + share * (mixed[: len(head)] - old)
        return mixed

    def _analyse(self, chunk: NDArray[np.float32]) -> None:
        """Analyse a whole chunk, and decide how to mix the next one."""
        centred = chunk - chunk.mean(axis=0)
        energies = np.einsum("ij,ij->j", centred, centred).astype(np.float64)
        self._energy += energies
        self._frames += len(chunk)
        moving = (chunk != chunk[0]).any(axis=0)
        self._moved |= moving
        if moving.any():
            self._still = np.where(moving, 0, self._still + 1)
        self._before = self._weights
        if isinstance(self._choice, int) or not moving.any():
            return
        if self._ranking is not None:
            self._ranking.add(centred, moving)
            if self._ranking.best is not None:
                self._listen_to(self._ranking.best, "the clearest speech is on it")
                return
        self._mix_well(centred, energies)

    def _mix_well(self, centred: NDArray[np.float32], energies: NDArray[np.float64]) -> None:
        """The mean of all channels that live; the loudest of them while they cancel each other."""
        alive = self._moved & (self._still < DEAD_CHUNKS)
        share = np.float32(1.0 / alive.sum())
        weights = np.where(alive, share, np.float32(0.0)).astype(np.float32)
        mixed = centred[:, alive].sum(axis=1) * share
        self._powers = _DECAY * self._powers + energies
        self._mixed = _DECAY * self._mixed + float(np.einsum("i,i->", mixed, mixed))
        usual = float(self._powers[alive].mean())
        if self._cancels:
            back = self._mixed > RESTORED * usual
            self._streak = self._streak + 1 if back else 0
            if self._streak >= RESTORING_CHUNKS:
                self._cancels, self._streak, self.only = False, 0, 0
                log.info("the channels of %s no longer cancel each other: all are mixed again",
                         self._name)  # fmt: skip
        elif alive.sum() > 1 and self._mixed < CANCELLED * usual:
            self._streak += 1
            if self._streak >= CANCELLING_CHUNKS:
                self._cancels, self._streak = True, 0
                best = int(np.where(alive, self._powers, -1.0).argmax())
                self.only = best + 1
                log.warning("the channels of %s cancel each other (one may be wired the wrong way "
                            "round): only channel %d of %d is listened to; audio.channel chooses "
                            "another", self._name, self.only, self.count)  # fmt: skip
        else:
            self._streak = 0
        if self._cancels and alive[self.only - 1]:
            weights = self._one(self.only - 1)
        if not np.array_equal(weights, self._weights):
            self._weights = weights

    def _listen_to(self, channel: int, why: str) -> None:
        if self.only == channel + 1 and not self._cancels:
            return
        self.only, self._cancels = channel + 1, False
        self._weights = self._one(channel)
        log.info("%s: channel %d of %d is listened to, because %s", self._name, self.only,
                 self.count, why)  # fmt: skip

    def _one(self, channel: int) -> NDArray[np.float32]:
        weights = np.zeros(self.count, np.float32)
        weights[channel] = 1.0
        return weights


class _SpeechRanking:
    """Finds the channel on which speech stands out most from the background."""

    def __init__(self, count: int, rate: int, piece: int) -> None:
        self.best: int | None = None
        self._window = np.hanning(piece + 1)[:piece, np.newaxis].astype(np.float32)
        width = rate / piece
        low, high = (min(piece // 2, max(1, round(edge / width))) for edge in BAND_HZ)
        self._band = slice(low, high + 1)
        self._past: deque[NDArray[np.float64]] = deque(maxlen=FLOOR_BLOCKS)
        self._lowest = np.full((2, count), np.inf)
        self._chunks = 0
        self._scores = np.zeros(count)
        self._heard = 0
        self._lead = 0
        self._played = np.zeros(count, np.bool_)

    def add(self, centred: NDArray[np.float32], moving: NDArray[np.bool_]) -> None:
        """Process a chunk: its frames without their mean, and which channels vary in it."""
        # The noise of a microphone never stops. A channel that is silent to the last bit, while
        # most are not, carries playback, or nothing.
        if moving.sum() * 2 > len(moving):
            self._played |= ~moving
        count = len(moving)
        pieces = centred.reshape(PIECES, -1, count)
        length = pieces.shape[1]
        spectrum = np.fft.rfft(pieces * self._window, axis=1)[:, self._band]
        band = (spectrum.real**2 + spectrum.imag**2).sum(axis=1) / length**2
        powers = np.stack([band, np.einsum("ijk,ijk->ik", pieces, pieces) / length], axis=1)
        self._lowest = np.minimum(self._lowest, powers.min(axis=0))
        floors = np.maximum(np.min([*self._past, self._lowest], axis=0), QUIETEST)
        self._chunks += 1
        if self._chunks % FLOOR_CHUNKS == 0:
            self._past.append(self._lowest)
            self._lowest = np.full_like(self._lowest, np.inf)
        # Speech must stand out in its band and overall, because hum may mask it.
        above = 10 * np.log10(np.maximum(powers, QUIETEST) / floors).min(axis=1)
        for fresh in above[above.max(axis=1) >= SPEECH_DB]:
            self._weigh(np.clip(fresh, 0.0, BEST_DB))

    def _weigh(self, fresh: NDArray[np.float64]) -> None:
        """Process a piece with speech, given by how many decibels it stands out in each channel."""
        self._heard += 1
        kept = _MEMORY if self._heard > 1 else 0.0
        self._scores = kept * self._scores + (1 - kept) * fresh
        scores = np.where(self._played & ~self._played.all(), -1.0, self._scores)
        first = int(scores.argmax())
        if self.best is None:
            self.best = first if self._heard >= FIRST_PIECES else None
        elif scores[first] > scores[self.best] + LEAD_DB:
            self._lead += 1
            if self._lead >= NEXT_PIECES:
                self.best, self._lead = first, 0
        else:
            self._lead = 0

"""Of several channels one sound: all of them mixed, one by number, or the one with speech on it.

A stereo card with one microphone, an array with a channel of what is played, a plug with two wires
swapped: the mean of all channels can be worse than the best of them, and nothing at all if two
cancel each other. So a mix leaves out channels that are dead and notices when it cancels itself.

All decisions fall at the ends of chunks of 0.12 s, counted from the start, so the sizes of the
blocks in which the sound arrives make no difference.
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
"""What `audio.channel` says: a number counts from 1."""

PIECE_S: Final = 0.03
"""Seconds of the pieces in which speech is looked for, by `auto`."""

PIECES: Final = 4
"""Of them in a chunk. Decisions for each piece would cost more than all the rest of hearing."""

CANCELLED: Final = 0.05
"""A mix with less than this share of the mean power of its channels cancels itself. Channels that
have nothing to do with each other leave 1/8 of eight."""

RESTORED: Final = 0.2
"""From this share on the mix is sound again."""

CANCELLING_CHUNKS: Final = 2
"""Chunks in a row after which a mix that cancels itself is given up."""

RESTORING_CHUNKS: Final = 42
"""Chunks (5 s) in a row after which it is taken up again."""

DEAD_CHUNKS: Final = 83
"""A channel that has stood at one value for so many chunks (10 s) is dead."""

FADE_S: Final = 0.005
"""A change from one mixture to another takes so long, so that it does not click."""

BAND_HZ: Final = (250.0, 4000.0)
"""Where speech is looked for, by `auto`: above hum, below hiss."""

SPEECH_DB: Final = 8.0
"""So far above its own quietest moment a channel may be speech (as for
`serd.speech.vad.EnergyFloor`)."""

FLOOR_CHUNKS: Final = 4
"""Chunks whose quietest is kept as one figure."""

FLOOR_BLOCKS: Final = 8
"""Such figures looked back on, besides the running one: about 4 s."""

QUIETEST: Final = 1e-9
"""Mean power (-90 dBFS) below which no moment counts as quiet: digital silence is no merit."""

BEST_DB: Final = 40.0
"""Speech that stands out by more is no better heard for it."""

LEAD_DB: Final = 3.0
"""By so much another channel must be better before it is chosen."""

FIRST_PIECES: Final = 5
"""Pieces with speech before the first choice: 0.15 s."""

NEXT_PIECES: Final = 100
"""Pieces with speech during which another channel must have been better: 3 s."""

_MEMORY: Final = 0.95  # of what was heard before, for each piece with speech

_DECAY: Final = 0.66  # of the power of mix and channels, for each chunk


def channel_problem(choice: Choice, count: int) -> str | None:
    """What is wrong with a choice for so many channels, as the end of a sentence; None: nothing."""
    if not isinstance(choice, int) or choice <= count:
        return None
    have = "one channel" if count == 1 else f"{count} channels"
    return f"has {have}, and audio.channel asks for number {choice}"


def channel_stats(channels: ChannelMixer | None) -> dict[str, Any]:
    """What :class:`serd.audio.source.SourceStats` says of channels."""
    if channels is None:
        return {}
    return {
        "channel": channels.only,
        "channel_dbfs": channels.levels_dbfs,
        "channels_dead": channels.dead,
        "channels_cancel": channels.cancels,
    }


class ChannelMixer:
    """Makes one channel of several. For one thread.

    Args:
        choice: ``mix``, ``auto`` or a number from 1.
        rate: Hertz.
        count: Channels, at least 2; a number as choice is at most this.
        name: Of the source, for the log.
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
        self._at = 0  # frames of the running chunk that were mixed
        self._still = np.zeros(count, np.int64)
        self._moved = np.zeros(count, np.bool_)
        self._powers = np.zeros(count)
        self._mixed = 0.0
        self._streak = 0
        self._cancels = False
        self._ranking = _SpeechRanking(count, rate, piece) if choice == "auto" else None
        self.only = 0
        """The one channel that is listened to, from 1; 0: several are mixed."""
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
        """Whether the channels cancel each other, so that one alone is listened to."""
        return self._cancels

    @property
    def dead(self) -> tuple[int, ...]:
        """Channels, from 1, that stand at one value while others do not."""
        if not self._moved.any():
            return ()
        dead = ~self._moved | (self._still >= DEAD_CHUNKS)
        return tuple(int(at) + 1 for at in np.flatnonzero(dead))

    @property
    def weights(self) -> NDArray[np.float32]:
        """How much of each channel is in the mix now, float32[count]."""
        return self._weights

    def mix(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        """Take the next frames.

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
                self._look(whole)
            done = end
        return np.concatenate(parts) if len(parts) != 1 else parts[0]

    def _weighted(self, frames: NDArray[np.float32]) -> NDArray[np.float32]:
        # One channel after the other: a sample's rounding must not depend on how many come with it.
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

    def _look(self, chunk: NDArray[np.float32]) -> None:
        """Look at a whole chunk, and decide how the next is mixed."""
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
            self._ranking.hear(centred, moving)
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
    """Finds the channel on which speech stands out most from what is always there."""

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

    def hear(self, centred: NDArray[np.float32], moving: NDArray[np.bool_]) -> None:
        """Take a chunk: frames without their mean, and which channels move in it."""
        # A microphone's own noise never stops. What is silent to the last bit while most channels
        # are not is what the machine itself plays, or nothing.
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
        # Speech must stand out in its band, and as a whole: hum may drown it.
        above = 10 * np.log10(np.maximum(powers, QUIETEST) / floors).min(axis=1)
        for fresh in above[above.max(axis=1) >= SPEECH_DB]:
            self._weigh(np.clip(fresh, 0.0, BEST_DB))

    def _weigh(self, fresh: NDArray[np.float64]) -> None:
        """Take a piece with speech: by how many decibels it stands out in each channel."""
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

"""MFCCs, computed while the audio arrives.

librosa is not used, because importing it takes ten times the memory of numpy and several seconds on
a Pi. It is the reference in the tests: log-mel and MFCC agree with it within 1e-3 dB.

Frames are centred like librosa's (``center=True, pad_mode="constant"``): frame ``i`` covers ``fft``
samples around sample ``i * hop``, with silence before the first and after the last sample.

Streaming and computing an utterance at once give identical bits. Floating-point sums depend on the
shapes of the arrays, so frames are always computed in blocks of 16, aligned to the start of the
utterance, in arrays of one fixed shape. Then it makes no difference how the arriving audio was cut,
and computing an utterance at once just means pushing all of it.

The FFT is computed in float64: it costs no more than in float32 (numpy's FFT does not use SIMD),
gives the same result with numpy 1.26 and 2, and keeps quiet bands next to loud ones exact. In
float32 the error would be up to 3e-4 dB on speech, and 3e-2 dB in bands 120 dB below the loudest of
their frame. The cosine transform is computed in float64 too, because its first coefficient is a sum
of many large numbers of the same sign. Everything else is float32.

A mel band covers only a few bins: 97 % of the filterbank is zeros. Multiplying each band separately
would cost more in calls than it saves. Three products, each of some bands and the bins they cover,
leave 29 % of the multiplications and cost little more than one call.

The mel scale is that of M. Slaney ("Auditory Toolbox", Technical Report 1998-010, Interval
Research): linear up to 1000 Hz, 200/3 Hz to the mel, and logarithmic above, 27 mels to a factor
of 6.4.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from serd.model.reverb import add_tail, tail_factors

if TYPE_CHECKING:
    from serd.model.metadata import FeatureParameters

BLOCK_FRAMES: Final = 16
"""Frames computed together: 256 ms at the default hop, enough to amortise the cost of the calls. At
the end of an utterance at most this many remain to be computed, in about 40 us."""

PARTS: Final = (7 / 16, 3 / 4)
"""Where the bands are divided for the mel product, as fractions of all bands. Bands at the top are
wide, so there are fewer of them in a part, and each part has about as many multiplications."""

_HZ_PER_MEL = 200.0 / 3.0
_BREAK_HZ = 1000.0
_BREAK_MEL = _BREAK_HZ / _HZ_PER_MEL
_LOG_STEP = math.log(6.4) / 27.0

Samples = npt.NDArray[np.float32]
Audio = npt.NDArray[np.float64]
Matrix = npt.NDArray[np.float32]


class _Spectrum:
    """Mel power of one block of frames at a time, in preallocated arrays of fixed shape."""

    def __init__(self, params: FeatureParameters) -> None:
        self._window = _padded_hann(params.window, params.fft)
        bank = mel_filterbank(
            rate=params.rate,
            fft=params.fft,
            bands=params.mel_bands,
            f_min_hz=params.f_min_hz,
            f_max_hz=params.f_max_hz,
        )
        self._framed = np.empty((BLOCK_FRAMES, params.fft), dtype=np.float64)
        self._power = np.empty((BLOCK_FRAMES, params.bins), dtype=np.float32)
        self._products = [
            (self._power[:, bins], np.ascontiguousarray(bank[bins, bands]), bands)
            for bins, bands in band_parts(bank)
        ]

    def block(self, frames: Audio, out: Matrix) -> None:
        """Write the mel power of frames ``[16, fft]`` to ``out`` ``[16, mel_bands]``."""
        np.multiply(frames, self._window, out=self._framed)
        spectrum = np.fft.rfft(self._framed).view(np.float64)  # real, imaginary, real, ...
        np.multiply(spectrum, spectrum, out=spectrum)
        np.add(spectrum[:, 0::2], spectrum[:, 1::2], out=self._power, casting="same_kind")
        for power, weights, bands in self._products:
            np.matmul(power, weights, out=out[:, bands])


class MfccFrontEnd:
    """Computes the network's input from the samples of one utterance.

    Call ``start``, then ``push`` whenever audio arrives, then ``finish``. Not thread-safe: each
    stream needs its own.

    Args:
        params: The model's feature parameters.
    """

    def __init__(self, params: FeatureParameters) -> None:
        self.params = params
        self._spectrum = _Spectrum(params)
        self._dct = cosine_matrix(params.mel_bands, params.coefficients)
        self._mean = np.asarray(params.mean, dtype=np.float64)
        self._sd = np.asarray(params.sd, dtype=np.float64)
        self._tail = None
        if params.reverb is not None:
            self._tail = tail_factors(
                params.reverb.rt60_s,
                params.reverb.tail_db,
                bands=params.mel_bands,
                frame_s=params.hop / params.rate,
            )
        blocks = -(-params.frames // BLOCK_FRAMES)
        self._audio, self._frames = _frame_buffer(params, blocks)
        self._mel = np.zeros((blocks * BLOCK_FRAMES, params.mel_bands), dtype=np.float32)
        self._log = np.empty((params.frames, params.mel_bands), dtype=np.float32)
        self._pushed = 0
        self._blocks_done = 0

    @property
    def pushed(self) -> int:
        """Samples pushed since ``start``, including those beyond the longest utterance."""
        return self._pushed

    def start(self) -> None:
        """Begin an utterance, discarding everything pushed before."""
        self._pushed = 0
        self._blocks_done = 0

    def push(self, samples: Samples) -> None:
        """Take the next samples and compute the blocks of frames that they complete.

        Args:
            samples: float32 ``[n]``, any ``n``, at ``params.rate``. Samples beyond the last frame
                of the network's input are counted and otherwise ignored.
        """
        begin = self.params.fft // 2 + self._pushed
        room = self._audio[begin : begin + len(samples)]
        room[:] = samples[: len(room)]
        self._pushed += len(samples)
        self._compute(self._blocks_complete(self._pushed))

    def finish(self, length: int | None = None) -> Matrix:
        """End the utterance.

        Args:
            length: Length of the utterance in samples; None: everything that was pushed. Later
                samples are ignored.

        Returns:
            float32 ``[frames, coefficients]``, a new array: normalised, to be quantised.

        Raises:
            ValueError: If ``length`` is negative or more than was pushed.
        """
        return self.finish_mel(self.finish_power(length))

    def finish_power(self, length: int | None = None) -> Matrix:
        """The first half of ``finish``: the mel power of the utterance.

        Args:
            length: As in ``finish``.

        Returns:
            float32 ``[n, mel_bands]``, ``n`` at most ``frames``: a view, valid until the next
            ``push``.

        Raises:
            ValueError: If ``length`` is negative or more than was pushed.
        """
        if length is None:
            length = self._pushed
        if not 0 <= length <= self._pushed:
            msg = f"an utterance of {length} samples cannot end after {self._pushed}"
            raise ValueError(msg)
        frames = min(self.params.frames_of(length), self.params.frames)
        # Blocks that contain samples beyond the end are computed again, with silence there.
        self._blocks_done = min(self._blocks_done, self._blocks_complete(length))
        self._audio[self.params.fft // 2 + length :] = 0.0
        self._pushed = length
        self._compute(-(-frames // BLOCK_FRAMES))
        return self._mel[:frames]

    def finish_mel(self, power: Matrix, offset: int | None = None) -> Matrix:
        """The second half of ``finish``: from mel power to the network's input.

        The tail of a room is added, if the model wants one; it goes on after the utterance. Levels
        in decibels relative to the loudest band of the utterance are clamped to
        ``[-range_db, 0]``, padded with frames of silence, transformed by the cosine transform and
        normalised. Digital silence stays silence.

        Args:
            power: float32 ``[n, mel_bands]``. At most the first ``frames`` rows are used.
            offset: Row of the input where the utterance begins; whatever extends beyond either end
                is cut off, after its level has been measured. None: centred.

        Returns:
            float32 ``[frames, coefficients]``, a new array.
        """
        params = self.params
        if offset is None:
            power = power[: params.frames]
            offset = (params.frames - len(power)) // 2
        if self._tail is not None and len(power):
            after = max(0, params.frames - offset - len(power))
            power = self.in_room(np.pad(power, ((0, after), (0, 0))))
        levels = self._log
        levels[:] = -params.range_db
        loudest = float(power.max()) if len(power) else 0.0
        if loudest > params.amin:
            heard = power[max(0, -offset) : max(0, params.frames - offset)]
            place = levels[max(0, offset) : max(0, offset) + len(heard)]
            _decibels(heard, params.amin, place)
            place -= np.float32(10.0) * np.log10(np.float32(loudest))
            np.minimum(place, 0.0, out=place)
            np.maximum(place, -params.range_db, out=place)
        cosines = levels.astype(np.float64) @ self._dct
        if len(self._mean):
            cosines -= self._mean
        if len(self._sd):
            cosines /= self._sd
        return cosines.astype(np.float32)

    def in_room(self, power: Matrix) -> Matrix:
        """Mel power of any length with the tail of the model's room, or as it is without one.

        Args:
            power: float32 ``[n, mel_bands]``.

        Returns:
            float32 ``[n, mel_bands]``: a new array if there is a room. The tail after the last row
            is cut off.
        """
        return power if self._tail is None else add_tail(power, *self._tail)

    def features(self, samples: Samples) -> Matrix:
        """``start``, ``push``, ``finish``: float32 ``[n]`` to ``[frames, coefficients]``."""
        self.start()
        self.push(samples)
        return self.finish()

    def mel_power(self, samples: Samples) -> Matrix:
        """Mel power of audio of any length, bit-identical to streaming.

        Args:
            samples: float32 ``[n]`` at ``params.rate``.

        Returns:
            float32 ``[1 + n // hop, mel_bands]``, a new array; no rows for no samples.
        """
        frames = self.params.frames_of(len(samples))
        blocks = -(-frames // BLOCK_FRAMES)
        audio, framed = _frame_buffer(self.params, blocks)
        begin = self.params.fft // 2
        audio[begin : begin + len(samples)] = samples[: len(audio) - begin]
        mel = np.empty((blocks * BLOCK_FRAMES, self.params.mel_bands), dtype=np.float32)
        for first in range(0, len(mel), BLOCK_FRAMES):
            rows = slice(first, first + BLOCK_FRAMES)
            self._spectrum.block(framed[rows], mel[rows])
        return mel[:frames]

    def log_mel(self, samples: Samples) -> Matrix:
        """Log-mel spectrogram of audio of any length in dB, neither relative nor clamped.

        Equals ``librosa.power_to_db(librosa.feature.melspectrogram(...), top_db=None)``,
        transposed.

        Args:
            samples: float32 ``[n]`` at ``params.rate``.

        Returns:
            float32 ``[1 + n // hop, mel_bands]``.
        """
        power = self.mel_power(samples)
        return _decibels(power, self.params.amin, power)

    def mfcc(self, samples: Samples) -> Matrix:
        """The cosine transform of ``log_mel``, not normalised.

        Equals ``librosa.feature.mfcc(S=log_mel, norm="ortho")``, transposed.

        Args:
            samples: float32 ``[n]`` at ``params.rate``.

        Returns:
            float32 ``[1 + n // hop, coefficients]``.
        """
        cosines = self.log_mel(samples).astype(np.float64) @ self._dct
        return cosines.astype(np.float32)

    def _blocks_complete(self, samples: int) -> int:
        """Number of blocks whose frames need only the first ``samples`` samples."""
        whole = (samples - self.params.fft // 2) // self.params.hop + 1
        return min(max(0, whole), len(self._mel)) // BLOCK_FRAMES

    def _compute(self, blocks: int) -> None:
        for block in range(self._blocks_done, blocks):
            rows = slice(block * BLOCK_FRAMES, (block + 1) * BLOCK_FRAMES)
            self._spectrum.block(self._frames[rows], self._mel[rows])
        self._blocks_done = max(self._blocks_done, blocks)


def band_parts(bank: Matrix) -> list[tuple[slice, slice]]:
    """The bins and bands of each part of a filterbank ``[bins, bands]``."""
    count = bank.shape[1]
    edges = sorted({0, *(round(share * count) for share in PARTS), count})
    parts = []
    for first, end in itertools.pairwise(edges):
        bins = np.flatnonzero(bank[:, first:end].any(axis=1))
        low, high = (int(bins[0]), int(bins[-1]) + 1) if len(bins) else (0, 1)
        parts.append((slice(low, high), slice(first, end)))
    return parts


def _padded_hann(window: int, fft: int) -> npt.NDArray[np.float64]:
    """A periodic Hann window in the middle of ``fft`` samples, zero around it."""
    padded = np.zeros(fft, dtype=np.float64)
    first = (fft - window) // 2
    phase = np.arange(window, dtype=np.float64) * (2.0 * np.pi / window)
    padded[first : first + window] = 0.5 - 0.5 * np.cos(phase)
    return padded


def _frame_buffer(params: FeatureParameters, blocks: int) -> tuple[Audio, Audio]:
    """Zeroed audio for this many blocks, and its overlapping frames ``[16 * blocks, fft]``.

    In float64, as the window and the FFT want it: each sample is converted once and not once for
    every frame that it is in.
    """
    frames = blocks * BLOCK_FRAMES
    audio = np.zeros(max(0, frames - 1) * params.hop + params.fft, dtype=np.float64)
    framed = np.lib.stride_tricks.sliding_window_view(audio, params.fft)[:: params.hop]
    return audio, framed[:frames]


def _decibels(power: Matrix, floor: float, out: Matrix) -> Matrix:
    """``10 log10(max(power, floor))``, written to ``out`` of the same shape."""
    np.maximum(power, np.float32(floor), out=out)
    np.log10(out, out=out)
    return np.multiply(out, np.float32(10.0), out=out)


def hz_to_mel(hertz: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Mels of frequencies in hertz, same shape."""
    hz = np.asarray(hertz, dtype=np.float64)
    above = _BREAK_MEL + np.log(np.maximum(hz, _BREAK_HZ) / _BREAK_HZ) / _LOG_STEP
    return np.where(hz >= _BREAK_HZ, above, hz / _HZ_PER_MEL)


def mel_to_hz(mel: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Frequencies in hertz of mels, same shape."""
    mels = np.asarray(mel, dtype=np.float64)
    above = _BREAK_HZ * np.exp(_LOG_STEP * np.maximum(mels - _BREAK_MEL, 0.0))
    return np.where(mels >= _BREAK_MEL, above, mels * _HZ_PER_MEL)


@lru_cache(maxsize=32)
def mel_filterbank(
    *,
    rate: int,
    fft: int,
    bands: int,
    f_min_hz: float,
    f_max_hz: float,
) -> npt.NDArray[np.float32]:
    """Triangular bands of equal width on the mel scale, each overlapping its neighbours by half.

    A band rises from the centre of the one below to its own and falls to the centre of the one
    above. It is divided by half its width in hertz, so that all have the same area.

    Returns:
        float32 ``[fft // 2 + 1, bands]``, read-only: power spectrum @ this = mel power.
    """
    low, high = hz_to_mel([f_min_hz, f_max_hz])
    edges = mel_to_hz(np.linspace(low, high, bands + 2))
    bins_hz = np.arange(fft // 2 + 1, dtype=np.float64) * (rate / fft)
    widths = np.diff(edges)
    rising = (bins_hz[:, np.newaxis] - edges[:-2]) / widths[:-1]
    falling = (edges[2:] - bins_hz[:, np.newaxis]) / widths[1:]
    weights = np.maximum(0.0, np.minimum(rising, falling))
    weights *= 2.0 / (edges[2:] - edges[:-2])
    matrix = np.ascontiguousarray(weights, dtype=np.float32)
    matrix.flags.writeable = False
    return matrix


@lru_cache(maxsize=32)
def cosine_matrix(bands: int, coefficients: int) -> npt.NDArray[np.float64]:
    """The orthonormal DCT-II of ``bands`` values as a matrix, first ``coefficients`` columns.

    Returns:
        float64 ``[bands, coefficients]``, read-only: log-mel @ this = MFCC.
    """
    n = np.arange(bands, dtype=np.float64)[:, np.newaxis] + 0.5
    k = np.arange(coefficients, dtype=np.float64)
    basis = np.cos(np.pi / bands * n * k) * math.sqrt(2.0 / bands)
    basis[:, 0] /= math.sqrt(2.0)
    basis.flags.writeable = False
    return basis

"""The authors' features, with librosa.

They loaded clips with ``librosa.load``; librosa 0.11 resamples with ``soxr_hq`` unless told
otherwise, older versions with ``kaiser_best``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SAMPLES = 75_000
"""Of a clip at 22.05 kHz in Hoopes's systems: 3.4 s."""
BANDS, FRAMES = 128, 147
"""Of the mel spectrogram of so many samples."""
PITCHES = (0, 1, 2, 3)
"""Half-tones by which the copies of a clip are shifted."""


def root_mel(path: Path) -> NDArray[np.float32]:
    """Square root of the power mel spectrogram, ``[128, 147]``.

    The clip is cut to 75,000 samples or has zeros put before it. The bands are laid out for
    44.1 kHz although the sound has 22.05 kHz, as the author did by mistake: the upper bands stay
    empty and the lower ones cover half the frequencies that they claim.
    """
    return _root_mel(_fixed(path))


def shifted_root_mels(path: Path) -> NDArray[np.float32]:
    """:func:`root_mel` of the clip shifted by each of :data:`PITCHES`, ``[4, 128, 147]``."""
    import librosa

    y = _fixed(path)
    shifted = [
        librosa.effects.pitch_shift(y, sr=22_050, n_steps=steps) if steps else y
        for steps in PITCHES
    ]
    return np.stack([_root_mel(one) for one in shifted])


def mean_mfcc(path: Path) -> NDArray[np.float32]:
    """Mean over time of 40 MFCCs at 22.05 kHz, ``[40]``."""
    import librosa

    y, rate = librosa.load(path, sr=22_050)
    return np.asarray(librosa.feature.mfcc(y=y, sr=rate, n_mfcc=40).mean(axis=1), np.float32)


def means_at_48k(path: Path) -> NDArray[np.float32]:
    """Means over time of 40 MFCCs, 12 chroma and 128 mel bands at 48 kHz, ``[180]``."""
    import librosa

    y, rate = librosa.load(path, sr=48_000)
    return _means(y, int(rate))


def means_and_crossings(path: Path) -> NDArray[np.float32]:
    """Means of 40 MFCCs, 12 chroma, 128 mel bands, and the zero crossings, ``[181]``, 22.05 kHz."""
    import librosa

    y, rate = librosa.load(path, sr=22_050)
    crossings = librosa.zero_crossings(y, pad=False).sum()
    return np.append(_means(y, int(rate)), np.float32(crossings))


def _fixed(path: Path) -> NDArray[np.float32]:
    import librosa

    y, _ = librosa.load(path, sr=22_050)
    y = y[:SAMPLES]
    return np.pad(y, (SAMPLES - len(y), 0))


def _root_mel(y: NDArray[np.float32]) -> NDArray[np.float32]:
    import librosa

    mel = librosa.feature.melspectrogram(y=y, sr=44_100)
    return np.asarray(np.sqrt(np.maximum(mel, 0.0)), np.float32)


def _means(y: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    import librosa

    spectrum = np.abs(librosa.stft(y))
    parts = (
        librosa.feature.mfcc(y=y, sr=rate, n_mfcc=40),
        librosa.feature.chroma_stft(S=spectrum, sr=rate),
        librosa.feature.melspectrogram(y=y, sr=rate),
    )
    return np.concatenate([part.mean(axis=1) for part in parts]).astype(np.float32)

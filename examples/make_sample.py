#!/usr/bin/env python3
"""Make the sample speech that serd ships: ``serd/audio/data/sample.ogg``.

The voices are synthetic (espeak-ng), so no real person is recorded. Several voices, rates and
pitches alternate, with pauses between them; in the middle is a stretch of fan-like noise with a few
taps, which must not become an utterance. espeak-ng does not express emotions: the sample shows that
everything works, not how good the model is.

    sudo apt install espeak-ng
    python examples/make_sample.py [OUT]
"""

from __future__ import annotations

import argparse
import io
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import soundfile as sf
import soxr

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE = 16_000
OUT = Path(__file__).parent.parent / "serd" / "audio" / "data" / "sample.ogg"

SCRIPT: list[tuple[str, int, int, int, str]] = [
    # voice, words a minute, pitch 0-99, level in dBFS (RMS), text
    ("en-gb", 165, 45, -24, "Good morning. The kettle is on and the post has come."),
    ("en-us+f3", 215, 82, -18, "You are here! I did not expect you before the weekend!"),
    ("en-gb-scotland+m3", 115, 18, -30, "I waited all day, and nobody came."),
    ("en-us+m2", 225, 60, -15, "No! I have told you twice, leave that door shut!"),
    ("en-gb+f4", 130, 35, -27, "Breathe in slowly, and let the shoulders sink."),
    (
        "en-gb-x-rp+m1",
        180,
        50,
        -22,
        (
            "This one goes on for longer than three seconds, to be cut into utterances that follow "
            "one another without a gap, until the sentence comes to its end."
        ),
    ),
    ("en-us+f2", 205, 75, -20, "Did you hear that? There is something on the stairs."),
]
PAUSE_S = (0.9, 1.3, 1.1, 1.0, 1.4, 1.2, 1.5)
NOISE_AFTER = 3
NOISE_S = 4.0


def speak(voice: str, words_a_minute: int, pitch: int, text: str) -> NDArray[np.float32]:
    """Synthesise a sentence with espeak-ng, as float32 mono at 16 kHz."""
    wav = subprocess.run(
        ["espeak-ng", "-v", voice, "-s", str(words_a_minute), "-p", str(pitch), "--stdout", text],
        check=True,
        capture_output=True,
    ).stdout
    samples, rate = sf.read(io.BytesIO(wav), dtype="float32")
    return np.asarray(soxr.resample(samples, rate, RATE), dtype=np.float32)


def to_level(samples: NDArray[np.float32], dbfs: float) -> NDArray[np.float32]:
    """Scale the samples to an RMS level."""
    rms = float(np.sqrt(np.mean(np.square(samples))))
    scaled: NDArray[np.float32] = samples * np.float32(10 ** (dbfs / 20) / rms)
    return scaled


def fan_and_taps(rng: np.random.Generator) -> NDArray[np.float32]:
    """A fan (low-passed noise with a blade tone) and three short taps."""
    n = int(NOISE_S * RATE)
    spectrum = np.fft.rfft(rng.standard_normal(n))
    spectrum /= 1 + (np.fft.rfftfreq(n, 1 / RATE) / 250) ** 2
    noise = np.fft.irfft(spectrum, n)
    noise = noise / np.std(noise) + 0.2 * np.sin(2 * np.pi * 97 * np.arange(n) / RATE)
    fan = to_level(noise.astype(np.float32), -42)
    for at in (0.9, 1.9, 2.7):
        length = int(0.03 * RATE)
        tap = rng.standard_normal(length) * np.exp(-np.arange(length) / (0.004 * RATE))
        start = int(at * RATE)
        fan[start : start + length] += (0.2 * tap).astype(np.float32)
    return fan


def main() -> None:
    """Write the sample and print its duration and size."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, default=OUT)
    out: Path = parser.parse_args().out
    rng = np.random.default_rng(20)
    parts: list[NDArray[np.float32]] = [np.zeros(RATE // 2, np.float32)]
    for i, (voice, words, pitch, dbfs, text) in enumerate(SCRIPT):
        parts.append(to_level(speak(voice, words, pitch, text), dbfs))
        parts.append(np.zeros(int(PAUSE_S[i] * RATE), np.float32))
        if i == NOISE_AFTER:
            parts.append(fan_and_taps(rng))
            parts.append(np.zeros(RATE // 2, np.float32))
    audio = np.concatenate(parts)
    # A real room is never digitally silent: add hiss far below the energy floor.
    audio += to_level(rng.standard_normal(len(audio)).astype(np.float32), -72)
    out.parent.mkdir(parents=True, exist_ok=True)
    sf.write(out, np.clip(audio, -1, 1), RATE, format="OGG", subtype="VORBIS")
    print(f"{out}: {len(audio) / RATE:.1f} s, {out.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

"""The bare arithmetic of serd, in a loop without overhead.

For 3 s of speech: 188 FFTs of 512 points and their mel products, in blocks of 16 frames as serd
computes them; the tail of a room, if the model wants one; 100 calls of the voice activity detector;
one inference. Everything else is done before the clock starts: no reading, conversion or decision
is measured, and no memory allocation but that of the tail.

``python -m benchmarks.contenders.floor SECONDS OUT``
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import _webrtcvad  # type: ignore[import-not-found]
import numpy as np
from ai_edge_litert.interpreter import Interpreter

from serd.audio.format import FRAME_SAMPLES, SAMPLE_RATE
from serd.benchmark.material import speech
from serd.model.mfcc import BLOCK_FRAMES, MfccFrontEnd, band_parts, mel_filterbank
from serd.model.model_file import ModelFile

UTTERANCE_S = 3


def main(seconds: str, out: str) -> None:
    """Do the arithmetic for that many seconds of speech and write the CPU times."""
    samples = speech(UTTERANCE_S)
    model = ModelFile.load()
    params = model.info.features

    windows = np.lib.stride_tricks.sliding_window_view(samples, params.fft)[:: params.hop]
    framed = np.ascontiguousarray(windows[:BLOCK_FRAMES], dtype=np.float64)
    power = np.abs(np.fft.rfft(framed)).astype(np.float32)
    bank = mel_filterbank(
        rate=params.rate, fft=params.fft, bands=params.mel_bands, f_min_hz=params.f_min_hz,
        f_max_hz=params.f_max_hz,
    )  # fmt: skip
    mel = np.empty((BLOCK_FRAMES, params.mel_bands), np.float32)
    products = [
        (power[:, bins], np.ascontiguousarray(bank[bins, bands]), mel[:, bands])
        for bins, bands in band_parts(bank)
    ]
    front_end = MfccFrontEnd(params)
    whole = np.ones((params.frames, params.mel_bands), np.float32)
    pcm = np.rint(np.clip(samples * 5.6, -1, 1) * 32767).astype(np.int16)
    frames = list(pcm.reshape(-1, FRAME_SAMPLES))
    vad = _webrtcvad.create()
    _webrtcvad.init(vad)
    _webrtcvad.set_mode(vad, 2)
    native = Interpreter(model_content=model.network, num_threads=1)
    native.allocate_tensors()

    blocks = params.frames // BLOCK_FRAMES + 1
    utterances = int(seconds) // UTTERANCE_S
    clock = time.process_time
    spent = {"fft": 0.0, "mel": 0.0, "room": 0.0, "vad": 0.0, "network": 0.0}
    for _ in range(utterances):
        begun = clock()
        for _ in range(blocks):
            np.fft.rfft(framed)
        after_fft = clock()
        for _ in range(blocks):
            for spectrum, weights, bands in products:
                np.matmul(spectrum, weights, out=bands)
        after_mel = clock()
        front_end.in_room(whole)
        after_room = clock()
        for frame in frames:
            _webrtcvad.process(vad, SAMPLE_RATE, frame, FRAME_SAMPLES)
        after_vad = clock()
        for _ in model.info.placements:
            native.invoke()
        spent["fft"] += after_fft - begun
        spent["mel"] += after_mel - after_fft
        spent["room"] += after_room - after_mel
        spent["vad"] += after_vad - after_room
        spent["network"] += clock() - after_vad
    spent["all"] = sum(spent.values())
    Path(out).write_text(json.dumps(spent), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

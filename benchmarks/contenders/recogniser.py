"""serd from samples to predictions, without source, journal and broker; one stream or several.

``python -m benchmarks.contenders.recogniser SOURCES SECONDS OUT``: so many streams of speech, each
on a thread of its own with a segmenter, a front end and a network of its own, fed in the sizes that
the segmenter asks for.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from serd.benchmark.material import speech
from serd.config import SpeechConfig
from serd.model.classifier import Classifier
from serd.model.recogniser import Recogniser
from serd.speech import Segmenter, make_vad


def main(sources: str, seconds: str, out: str) -> None:
    """Recognise and write what it cost."""
    samples = speech(float(seconds))
    settings = SpeechConfig()
    model = Classifier.load().model
    streams = [
        Recogniser(Segmenter(settings, make_vad(settings)), Classifier(model))
        for _ in range(int(sources))
    ]
    utterances: list[int] = []

    def work(stream: Recogniser) -> None:
        heard = found = 0
        while heard < len(samples):
            count = stream.patience
            found += len(stream.feed(samples[heard : heard + count]))
            heard += count
        utterances.append(found + len(stream.flush()))

    threads = [threading.Thread(target=work, args=(stream,)) for stream in streams]
    begun, processor = time.perf_counter(), time.process_time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    figures = {
        "wall_s": time.perf_counter() - begun,
        "cpu_s": time.process_time() - processor,
        "utterances": sum(utterances),
    }
    Path(out).write_text(json.dumps(figures), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])

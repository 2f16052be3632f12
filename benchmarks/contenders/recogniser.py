"""serd from samples to predictions, without source, journal or broker, for one or more streams.

``python -m benchmarks.contenders.recogniser SOURCES turns|threads SECONDS OUT``: SOURCES streams of
speech, each with its own segmenter, front end and network, fed in the block sizes that the
segmenter requests. With ``turns``, one thread feeds the streams in turn, which measures the streams
themselves. With ``threads``, each stream has a thread and all run at full speed at once, which adds
the cost of contention for the GIL, which calls of numpy release and reacquire.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from serd.benchmark.material import speech
from serd.config import SpeechConfig
from serd.model.classifier import Classifier, Recogniser
from serd.speech import Segmenter, make_vad

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(sources: str, way: str, seconds: str, out: str) -> None:
    """Process the streams and write the cost."""
    samples = speech(float(seconds))
    settings = SpeechConfig()
    model = Classifier.load().model
    streams = [
        Recogniser(Segmenter(settings, make_vad(settings)), Classifier(model))
        for _ in range(int(sources))
    ]
    utterances: list[int] = []

    def work(some: Sequence[Recogniser]) -> None:
        heard = [0] * len(some)
        while min(heard) < len(samples):
            for place, stream in enumerate(some):
                end = heard[place] + stream.batch_samples
                utterances.append(len(stream.feed(samples[heard[place] : end])))
                heard[place] = end
        utterances.extend(len(stream.flush()) for stream in some)

    each = [streams] if way == "turns" else [[stream] for stream in streams]
    threads = [threading.Thread(target=work, args=(some,)) for some in each]
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

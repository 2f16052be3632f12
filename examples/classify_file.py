#!/usr/bin/env python3
"""Print the emotion of every utterance in a recording.

    python examples/classify_file.py recording.wav

All formats that libsndfile reads are supported (WAV, FLAC, Ogg, MP3 and more); with ffmpeg
installed, also M4A, WebM and others.
"""

from __future__ import annotations

import argparse
import sys

from serd import Classifier, SerdError


def main() -> int:
    """Return 0, or 1 if the recording or the model cannot be read."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recording")
    parser.add_argument("--model", help="'permissive', or a .tflite file of your own")
    arguments = parser.parse_args()
    try:
        classifier = Classifier.load(arguments.model)
        for utterance in classifier.classify_file(arguments.recording):
            print(
                f"{utterance.start_s:7.2f} s to {utterance.end_s:7.2f} s  "
                f"{utterance.emotion:<10} {utterance.confidence:4.0%}"
            )
    except SerdError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The main job on a microphone: PulseAudio's null sink -> ALSA -> PortAudio -> serd -> mosquitto.

What the daemon hears through all that must be what `serd classify` reads from the file.
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf

from tests.broker import Recorder, mosquitto
from tests.pulse import virtual_microphone
from tests.system.node import SAMPLE, Node, json_lines, run_serd

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = [pytest.mark.pulse, pytest.mark.broker, pytest.mark.slow]

AGREEMENT = 0.9
"""Share of utterances whose emotion must be that of `serd classify` on the same file."""


def _corpora() -> Path:
    root = Path(__file__).parents[2]
    found = Path(os.environ.get("SERD_CORPORA", root.parent / "shared" / "corpora"))
    if not (found / "ravdess").is_dir():
        pytest.skip("the speech corpora are not here; see docs/training.md")
    return found


def _real_speech(path: Path) -> Path:
    """Half a minute of acted speech by men and women, with half a second between the clips."""
    clips = sorted((_corpora() / "ravdess").glob("Actor_*/03-01-0[1-8]-01-01-01-*.flac"))[::18]
    parts: list[NDArray[np.float32]] = []
    for clip in clips:
        samples, rate = sf.read(clip, dtype="float32")
        # As loud as somebody in the room would be; these recordings are very quiet.
        parts += [
            samples * np.float32(0.5 / np.abs(samples).max()),
            np.zeros(rate // 2, np.float32),
        ]
    sf.write(path, np.concatenate(parts), rate)
    return path


@pytest.mark.parametrize(
    ("rate", "channels", "material"),
    [
        (44_100, 2, "sample"),
        pytest.param(44_100, 2, "corpus", marks=pytest.mark.corpora),
        pytest.param(48_000, 1, "corpus", marks=pytest.mark.corpora),
    ],
)
def test_the_microphone_hears_what_classify_reads(
    rate: int, channels: int, material: str, tmp_path: Path
) -> None:
    # paplay reads no Vorbis here and there, so the sample is played as WAV.
    played = tmp_path / "played.wav"
    if material == "corpus":
        _real_speech(played)
    else:
        samples, sample_rate = sf.read(SAMPLE, dtype="float32")
        sf.write(played, samples, sample_rate)
    wanted = [
        row["emotion"]
        for row in json_lines(run_serd("classify", "--json", str(played), home=tmp_path).stdout)
    ]
    assert len(wanted) >= 8

    with (
        mosquitto(tmp_path) as broker,
        Recorder(broker.port) as recorder,
        virtual_microphone(rate=rate, channels=channels) as microphone,
        Node(tmp_path, broker.port, "--source", "mic", env=microphone.env) as node,
    ):
        node.wait_log("listening to")
        microphone.play(played)
        assert node.stop() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        heard = [json.loads(payload) for payload in recorder.on("serd/test-room/emotion")]
        telemetry = [json.loads(p) for p in recorder.on("serd/test-room/telemetry")]

    assert [event["seq"] for event in heard] == list(range(1, len(heard) + 1))
    assert telemetry[-1]["overflows"] == 0
    emotions = [event.get("utterance", event)["emotion"] for event in heard]
    # Aligned as sequences: a difference at one place must not count for all that follow.
    matcher = difflib.SequenceMatcher(a=wanted, b=emotions, autojunk=False)
    equal = sum(block.size for block in matcher.get_matching_blocks())
    assert equal / max(len(wanted), len(emotions)) >= AGREEMENT, (wanted, emotions)

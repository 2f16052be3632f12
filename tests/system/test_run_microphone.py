"""``serd run`` on a microphone: PulseAudio null sink -> ALSA -> PortAudio -> serd -> mosquitto.

The events must match what `serd classify` reads from the file.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf

from serd.audio import SAMPLE
from serd.model.metadata import ORDINARY
from tests.broker import Recorder, mosquitto
from tests.pulse import virtual_microphone
from tests.system.node import Node, json_lines, run_serd

if TYPE_CHECKING:
    from numpy.typing import NDArray

pytestmark = [pytest.mark.pulse, pytest.mark.broker, pytest.mark.slow]

DIFFERENCE = 0.15
"""Mean total variation between the scores of `serd classify` and those of the microphone.

Where an utterance begins depends on where in the detector's 30 ms frames the playback happens to
start, which moves the scores by 0.02 to 0.06 on average.
"""


def _corpora() -> Path:
    root = Path(__file__).parents[2]
    found = Path(os.environ.get("SERD_CORPORA", root.parent / "shared" / "corpora"))
    if not (found / "ravdess").is_dir():
        pytest.skip("the speech corpora are not available; see docs/training.md")
    return found


def _real_speech(path: Path) -> Path:
    """Half a minute of acted speech by men and women, with half a second between the clips."""
    clips = sorted((_corpora() / "ravdess").glob("Actor_*/03-01-0[1-8]-01-01-01-*.flac"))[::18]
    parts: list[NDArray[np.float32]] = []
    for clip in clips:
        samples, rate = sf.read(clip, dtype="float32")
        # Amplified to the level of a speaker in the room; these recordings are very quiet.
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
def test_microphone_events_match_classify(
    rate: int, channels: int, material: str, tmp_path: Path
) -> None:
    # Not every paplay reads Vorbis, so the sample is played as WAV.
    played = tmp_path / "played.wav"
    if material == "corpus":
        _real_speech(played)
    else:
        samples, sample_rate = sf.read(SAMPLE, dtype="float32")
        sf.write(played, samples, sample_rate)
    expected = [
        row["scores"]
        for row in json_lines(run_serd("classify", "--json", str(played), home=tmp_path).stdout)
    ]
    assert len(expected) >= 8

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
        events = [json.loads(payload) for payload in recorder.on("serd/test-room/emotion")]
        telemetry = [json.loads(p) for p in recorder.on("serd/test-room/telemetry")]

    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert telemetry[-1]["overflows"] == 0
    scores = [_even(event) for event in events]
    assert _difference(expected, scores) <= DIFFERENCE, (expected, scores)
    # The limit is meaningful: the same utterances in reverse order exceed it.
    assert _difference(expected, scores[::-1]) > DIFFERENCE


def _even(event: dict[str, Any]) -> dict[str, float]:
    """The utterance's own scores as `serd classify` states them: every class equally frequent."""
    scores: dict[str, float] = event["utterance"]["scores"]
    shares = {
        name: event["prior"] / len(ORDINARY)
        if name in ORDINARY
        else (1 - event["prior"]) / (len(scores) - len(ORDINARY))
        for name in scores
    }
    total = sum(scores[name] / shares[name] for name in scores)
    return {name: scores[name] / shares[name] / total for name in scores}


def _difference(expected: list[dict[str, float]], events: list[dict[str, float]]) -> float:
    """Mean total variation of the best alignment of two sequences of scores, 0..1.

    An utterance without a counterpart counts as 1.
    """
    costs = np.zeros((len(expected) + 1, len(events) + 1))
    costs[:, 0] = np.arange(len(expected) + 1)
    costs[0] = np.arange(len(events) + 1)
    for i, one in enumerate(expected):
        for j, other in enumerate(events):
            apart = sum(abs(one[name] - other[name]) for name in one) / 2
            costs[i + 1, j + 1] = min(costs[i, j] + apart, costs[i, j + 1] + 1, costs[i + 1, j] + 1)
    return float(costs[-1, -1]) / max(len(expected), len(events))

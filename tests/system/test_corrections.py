"""Correcting a running node over MQTT and by command, across restarts and model changes."""

from __future__ import annotations

import json
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import soundfile as sf

from serd.audio import SAMPLE
from serd.events.corrections import CorrectionStore
from serd.events.event import model_ref, uuid7
from serd.model.emotions import EMOTIONS
from serd.model.model_file import ModelFile
from tests.broker import Mosquitto, Recorder, mosquitto, wait_until
from tests.system.node import Node, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

EMOTION = "serd/test-room/emotion"
CORRECT = "serd/test-room/correct"
RESULT = "serd/test-room/correct/result"
STATE = "serd/test-room/state"

PATIENCE_S = 120.0
"""How long a test waits for a node; generous, since only a failing test waits that long."""


class Voice:
    """Speech on the standard input of a node, repeated on request."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        samples, rate = sf.read(SAMPLE, dtype="float32")
        wanted = round(len(samples) * 16_000 / rate)
        places = np.linspace(0, len(samples) - 1, wanted)
        resampled = np.interp(places, np.arange(len(samples)), samples)
        self._speech = (resampled * 32767).astype("<i2").tobytes() + bytes(2 * 16_000)

    def speak(self) -> None:
        """Send all of the speech once; returns at once."""
        threading.Thread(target=self._write, daemon=True).start()

    def _write(self) -> None:
        view = memoryview(self._speech)
        try:
            while view:
                view = view[os.write(self._writer, view) :]
        except OSError:
            return

    def close(self) -> None:
        for handle in (self.reader, self._writer):
            os.close(handle)


@contextmanager
def listening_node(home: Path, port: int, *settings: str) -> Iterator[tuple[Node, Voice]]:
    """A node, and a voice on its standard input."""
    voice = Voice()
    options = [part for setting in settings for part in ("--set", setting)]
    try:
        with Node(home, port, "--source", "-", *options, stdin=voice.reader) as node:
            yield node, voice
    finally:
        voice.close()


def decoded(recorder: Recorder, topic: str = EMOTION) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in recorder.on(topic)]


def play_and_wait(recorder: Recorder, voice: Voice, at_least: int = 8) -> list[dict[str, Any]]:
    """Play the speech once and return its events, without redeliveries of earlier ones."""
    before = {event["id"] for event in decoded(recorder)}

    def fresh() -> list[dict[str, Any]]:
        return [event for event in decoded(recorder) if event["id"] not in before]

    voice.speak()
    recorder.wait(lambda: len(fresh()) >= at_least, PATIENCE_S)
    return fresh()


def send_correction(recorder: Recorder, content: object) -> dict[str, Any]:
    """Send a correction and wait for its result."""
    before = len(recorder.on(RESULT))
    recorder.publish(CORRECT, json.dumps(content).encode())
    recorder.wait(lambda: len(recorder.on(RESULT)) > before, PATIENCE_S)
    return decoded(recorder, RESULT)[before]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def recorder(broker: Mosquitto) -> Iterator[Recorder]:
    with Recorder(broker.port) as running:
        yield running


def own_scores(event: dict[str, Any]) -> dict[str, float]:
    """The model's own scores of the single utterance."""
    scores: dict[str, float] = event.get("model_scores") or event.get("utterance", event)["scores"]
    return scores


def unlikely_emotion(event: dict[str, Any]) -> str:
    """The emotion with the lowest score above a minimum."""
    scores = own_scores(event)
    return min((name for name in EMOTIONS if scores[name] > 0.002), key=lambda name: scores[name])


def test_corrections_change_later_events_and_survive_a_restart(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening_node(tmp_path, broker.port) as (node, voice):
        first = play_and_wait(recorder, voice)
        assert not any("adapted" in event for event in first)
        wanted = unlikely_emotion(first[0])
        for number, event in enumerate(first, 1):
            result = send_correction(
                recorder, {"id": event["id"].upper(), "emotion": f" {wanted.upper()} "}
            )
            assert result["ok"], result
            assert result["corrections"] == number
            assert result["emotion"] == wanted
            assert wanted in result["message"]
        result = send_correction(recorder, {"id": "last", "emotion": None})
        if result["ok"]:  # it is rejected for an uncertain event
            assert result["emotion"] == "not"
        result = send_correction(recorder, {"id": "last", "emotion": wanted})
        recorder.wait(lambda: last_correction(recorder) == (result["id"], wanted))
        count = result["corrections"]
        second = play_and_wait(recorder, voice)
        for after in second:
            assert after["adapted"] == count
            assert after["model_confidence"] == max(after["model_scores"].values())
            single = after.get("utterance", after)
            assert single["scores"][wanted] > after["model_scores"][wanted]
        assert last_correction(recorder)[1] is None

        # Repeated, then after a restart; the last correction counts.
        result = send_correction(recorder, {"id": first[0]["id"], "emotion": wanted})
        assert result["ok"]
        assert result["message"].startswith("already noted")
        assert result["corrections"] == count
        node.send(signal.SIGKILL)
        node.wait()
    with listening_node(tmp_path, broker.port) as (node, voice):
        node.wait_log(f"adapted to this household by {count} corrections")
        third = play_and_wait(recorder, voice)
        assert [event["adapted"] for event in third] == [count] * len(third)
        result = send_correction(recorder, {"id": "last", "emotion": "calm"})
        assert result["ok"]
        assert result["id"] in {event["id"] for event in decoded(recorder)}
        assert result["corrections"] == count + 1
        forgotten = run_serd(*node_settings(tmp_path), "personal", "forget", "all", home=tmp_path)
        assert forgotten.returncode == 0, forgotten.stderr
        assert f"{count + 1} corrections forgotten, 0 left" in forgotten.stdout
        wait_until(lambda: "adapted" not in play_and_wait(recorder, voice)[-1], timeout=PATIENCE_S)


def last_correction(recorder: Recorder) -> tuple[str | None, str | None]:
    """The latest utterance in the retained state, and its correction."""
    state = json.loads(recorder.last(STATE) or b"{}")
    return state.get("event_id"), state.get("corrected")


def node_settings(home: Path) -> list[str]:
    return ["--set", f"journal.path={home / 'journal.db'}", "--set", "node=test-room"]


def test_the_correct_command(tmp_path: Path, broker: Mosquitto, recorder: Recorder) -> None:
    settings = [
        *node_settings(tmp_path),
        "--set",
        "mqtt.host=127.0.0.1",
        "--set",
        f"mqtt.port={broker.port}",
    ]

    def correct(*words: str) -> tuple[int, str, str]:
        done = run_serd(*settings, "correct", *words, home=tmp_path)
        return done.returncode, done.stdout, done.stderr

    with listening_node(tmp_path, broker.port) as (node, voice):
        events = play_and_wait(recorder, voice)
        named = [event for event in events if event["emotion"] != "uncertain"]
        code, out, err = correct(events[0]["id"], "Happy")
        assert (code, err) == (0, "")
        assert out.startswith("noted: happy")
        assert "learns from 1 correction" in out
        if named:
            code, out, _ = correct(named[-1]["id"], "not")
            assert code == 0
            assert f"not {named[-1]['emotion']}" in out
        assert correct("last", "sad")[0] == 0
        code, out, _ = correct(events[0]["id"], "forget")
        assert code == 0
        assert out.startswith("forgotten: happy")
        code, _, err = correct(str(uuid7()), "sad")
        assert code == 2
        assert "knows no utterance with the id" in err
        code, _, err = correct("hungry")
        assert code == 2
        assert "'hungry' is not an emotion" in err
        assert "Traceback" not in err
        shown = run_serd(*settings, "personal", "show", "--json", home=tmp_path)
        summary = json.loads(shown.stdout)
        assert summary["corrections"] == len(CorrectionStore(tmp_path / "journal.db").all())
        assert summary["enabled"] is True
        assert node.stop() == 0
    code, _, err = correct("sad")
    assert code == 69
    assert "test-room is offline" in err
    broker.stop()
    code, _, err = correct("sad")
    assert code == 69
    assert "Traceback" not in err


REJECTED = [
    ({"id": "0190", "emotion": "sad"}, "'0190' is not the id of an event"),
    ({"id": str(uuid7()), "emotion": "sad"}, "knows no utterance with the id"),
    ({"id": "last", "emotion": "hungry"}, "'hungry' is no emotion"),
    ({"id": "last", "emotion": 7}, "'7' is no emotion"),
    ({"id": "last", "emotion": "sad"}, "has heard nothing yet"),
]


def test_invalid_corrections_are_rejected_with_a_reason(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening_node(tmp_path, broker.port):
        recorder.wait_for("serd/test-room/mute", b"OFF")  # it subscribes before that
        for content, sentence in REJECTED:
            result = send_correction(recorder, content)
            assert result["ok"] is False
            assert sentence in result["message"]
            assert result["corrections"] == 0


def test_malformed_commands_are_ignored_and_corrections_can_be_disabled(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    recorder.publish(CORRECT, b'{"id": "last", "emotion": "sad"}', retain=True)
    with listening_node(tmp_path, broker.port, "personal.enabled=false") as (node, voice):
        play_and_wait(recorder, voice)
        node.wait_log("a retained command is not obeyed")
        for payload in (b"sad", b"[]", b"{}", b'{"id": 3}', b'{"id": "last"}', b"\xff" * 4000):
            recorder.publish(CORRECT, payload)
        result = send_correction(recorder, {"id": "last", "emotion": "sad"})
        assert result["ok"] is False
        assert "personal.enabled" in result["message"]
        assert CorrectionStore(tmp_path / "journal.db").all() == []
        recorder.publish("serd/test-room/mute/set", b"ON")
        recorder.wait_for("serd/test-room/mute", b"ON")
        assert len(decoded(recorder, RESULT)) == 1


def test_corrections_of_another_model_are_set_aside(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening_node(tmp_path, broker.port) as (node, voice):
        events = play_and_wait(recorder, voice)
        assert send_correction(recorder, {"id": events[0]["id"], "emotion": "sad"})["ok"]
        assert node.stop() == 0
    other = ModelFile.load("permissive")
    with listening_node(tmp_path, broker.port, "model.path=permissive") as (node, voice):
        node.wait_log("1 corrections are set aside")
        fresh = play_and_wait(recorder, voice)
        assert fresh[0]["model"]["sha256"] == model_ref("", "", other.sha256).sha256
        assert not any("adapted" in event for event in fresh)
        result = send_correction(recorder, {"id": events[1]["id"], "emotion": "happy"})
        assert result["ok"]
        assert "another model is in use now" in result["message"]
        assert result["corrections"] == 0
        result = send_correction(recorder, {"id": fresh[0]["id"], "emotion": "calm"})
        assert "cannot tell calm" in result["message"]
        shown = run_serd(
            *node_settings(tmp_path),
            "--set",
            "model.path=permissive",
            "personal",
            "show",
            home=tmp_path,
        )
        assert "2 corrections set aside: made with another model" in shown.stdout
        assert "1 correction set aside: the current model has no such emotion" in shown.stdout


def test_corrections_can_be_exported_and_imported(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening_node(tmp_path, broker.port) as (node, voice):
        for event in play_and_wait(recorder, voice):
            assert send_correction(recorder, {"id": event["id"], "emotion": "calm"})["ok"]
        assert node.stop() == 0
    store = CorrectionStore(tmp_path / "journal.db")
    kept = store.all()
    done = run_serd(*node_settings(tmp_path), "personal", "export", "mine.json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.json").stat().st_mode & 0o077 == 0
    assert store.forget() == len(kept)
    for _ in range(2):  # importing is idempotent
        done = run_serd(*node_settings(tmp_path), "personal", "import", "mine.json", home=tmp_path)
        assert done.returncode == 0, done.stderr
        assert store.all() == kept
    (tmp_path / "mine.json").write_text('{"format": "serd-corrections", "version": 1, '
                                        '"corrections": [{"id": "x"}]}')  # fmt: skip
    done = run_serd(*node_settings(tmp_path), "personal", "import", "mine.json", home=tmp_path)
    assert done.returncode == 66
    assert "mine.json is not an export of" in done.stderr
    assert "Traceback" not in done.stderr


def test_corrections_work_again_after_a_broker_restart(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening_node(tmp_path, broker.port) as (node, voice):
        events = play_and_wait(recorder, voice)
        assert send_correction(recorder, {"id": events[0]["id"], "emotion": "sad"})["ok"]
        recorder.publish(CORRECT, json.dumps({"id": events[1]["id"], "emotion": "sad"}).encode())
        broker.kill()
        node.wait_log("no broker:")
        broker.start()
        recorder.wait_count("serd/test-room/mute", 2)
        result = send_correction(recorder, {"id": events[2]["id"], "emotion": "sad"})
        assert result["ok"]
        assert result["corrections"] in {2, 3}

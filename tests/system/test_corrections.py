"""People correct a running node: over MQTT and by the command, through restarts and new models."""

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

from serd.events.corrections import CorrectionStore
from serd.events.event import model_ref, uuid7
from serd.model.emotions import EMOTIONS
from serd.model.model_file import ModelFile
from tests.broker import Mosquitto, Recorder, mosquitto, wait_until
from tests.system.node import SAMPLE, Node, run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.broker

EMOTION = "serd/test-room/emotion"
CORRECT = "serd/test-room/correct"
RESULT = "serd/test-room/correct/result"
STATE = "serd/test-room/state"

PATIENCE_S = 120.0
"""How long a test waits for a node; generous, since it only costs when it fails."""


class Voice:
    """Speech that a node hears through its standard input, as often as wanted."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()
        samples, rate = sf.read(SAMPLE, dtype="float32")
        wanted = round(len(samples) * 16_000 / rate)
        places = np.linspace(0, len(samples) - 1, wanted)
        resampled = np.interp(places, np.arange(len(samples)), samples)
        self._speech = (resampled * 32767).astype("<i2").tobytes() + bytes(2 * 16_000)

    def speak(self) -> None:
        """Say everything once; returns at once."""
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
def listening(home: Path, port: int, *settings: str) -> Iterator[tuple[Node, Voice]]:
    """A node that hears what a voice says to it."""
    voice = Voice()
    options = [part for setting in settings for part in ("--set", setting)]
    try:
        with Node(home, port, "--source", "-", *options, stdin=voice.reader) as node:
            yield node, voice
    finally:
        voice.close()


def heard(recorder: Recorder, topic: str = EMOTION) -> list[dict[str, Any]]:
    return [json.loads(payload) for payload in recorder.on(topic)]


def hear(recorder: Recorder, voice: Voice, at_least: int = 8) -> list[dict[str, Any]]:
    """Events of what the voice says once; none that came before, and comes again."""
    before = {event["id"] for event in heard(recorder)}

    def fresh() -> list[dict[str, Any]]:
        return [event for event in heard(recorder) if event["id"] not in before]

    voice.speak()
    recorder.wait(lambda: len(fresh()) >= at_least, PATIENCE_S)
    return fresh()


def ask(recorder: Recorder, content: object) -> dict[str, Any]:
    """Send a correction, and wait for its answer."""
    before = len(recorder.on(RESULT))
    recorder.publish(CORRECT, json.dumps(content).encode())
    recorder.wait(lambda: len(recorder.on(RESULT)) > before, PATIENCE_S)
    return heard(recorder, RESULT)[before]


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with mosquitto(tmp_path) as running:
        yield running


@pytest.fixture
def recorder(broker: Mosquitto) -> Iterator[Recorder]:
    with Recorder(broker.port) as running:
        yield running


def own(event: dict[str, Any]) -> dict[str, float]:
    """The model's own scores of the single utterance."""
    scores: dict[str, float] = event.get("model_scores") or event.get("utterance", event)["scores"]
    return scores


def other_than(event: dict[str, Any]) -> str:
    """An emotion that an event does not name, and hardly thinks of."""
    scores = own(event)
    return min((name for name in EMOTIONS if scores[name] > 0.002), key=lambda name: scores[name])


def test_what_is_corrected_is_heard_differently_from_then_on(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening(tmp_path, broker.port) as (node, voice):
        first = hear(recorder, voice)
        assert not any("adapted" in event for event in first)
        wanted = other_than(first[0])
        for number, event in enumerate(first, 1):
            answer = ask(recorder, {"id": event["id"].upper(), "emotion": f" {wanted.upper()} "})
            assert answer["ok"], answer
            assert answer["corrections"] == number
            assert answer["emotion"] == wanted
            assert wanted in answer["message"]
        answer = ask(recorder, {"id": "last", "emotion": None})
        if answer["ok"]:  # it is refused of an uncertain one
            assert answer["emotion"] == "not"
        answer = ask(recorder, {"id": "last", "emotion": wanted})
        recorder.wait(lambda: shown_last(recorder) == (answer["id"], wanted))
        taught = answer["corrections"]
        second = hear(recorder, voice)
        for after in second:
            assert after["adapted"] == taught
            assert after["model_confidence"] == max(after["model_scores"].values())
            single = after.get("utterance", after)
            assert single["scores"][wanted] > after["model_scores"][wanted]
        assert shown_last(recorder)[1] is None

        # The same again, and over a restart; the last word counts.
        answer = ask(recorder, {"id": first[0]["id"], "emotion": wanted})
        assert answer["ok"]
        assert answer["message"].startswith("already noted")
        assert answer["corrections"] == taught
        node.send(signal.SIGKILL)
        node.wait()
    with listening(tmp_path, broker.port) as (node, voice):
        node.wait_log(f"adapted to this household by {taught} corrections")
        third = hear(recorder, voice)
        assert [event["adapted"] for event in third] == [taught] * len(third)
        answer = ask(recorder, {"id": "last", "emotion": "calm"})
        assert answer["ok"]
        assert answer["id"] in {event["id"] for event in heard(recorder)}
        assert answer["corrections"] == taught + 1
        forgotten = run_serd(*here(tmp_path), "personal", "forget", "all", home=tmp_path)
        assert forgotten.returncode == 0, forgotten.stderr
        assert f"{taught + 1} corrections forgotten, 0 left" in forgotten.stdout
        wait_until(lambda: "adapted" not in hear(recorder, voice)[-1], timeout=PATIENCE_S)


def shown_last(recorder: Recorder) -> tuple[str | None, str | None]:
    """The latest utterance by the retained state, and what it was said to be."""
    state = json.loads(recorder.last(STATE) or b"{}")
    return state.get("event_id"), state.get("corrected")


def here(home: Path) -> list[str]:
    return ["--set", f"journal.path={home / 'journal.db'}", "--set", "node=test-room"]


def test_the_command_asks_the_node(tmp_path: Path, broker: Mosquitto, recorder: Recorder) -> None:
    there = [*here(tmp_path), "--set", "mqtt.host=127.0.0.1", "--set", f"mqtt.port={broker.port}"]

    def correct(*words: str) -> tuple[int, str, str]:
        done = run_serd(*there, "correct", *words, home=tmp_path)
        return done.returncode, done.stdout, done.stderr

    with listening(tmp_path, broker.port) as (node, voice):
        events = hear(recorder, voice)
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
        shown = run_serd(*there, "personal", "show", "--json", home=tmp_path)
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


REFUSED = [
    ({"id": "0190", "emotion": "sad"}, "'0190' is not the id of an event"),
    ({"id": str(uuid7()), "emotion": "sad"}, "knows no utterance with the id"),
    ({"id": "last", "emotion": "hungry"}, "'hungry' is no emotion"),
    ({"id": "last", "emotion": 7}, "'7' is no emotion"),
    ({"id": "last", "emotion": "sad"}, "has heard nothing yet"),
]


def test_what_makes_no_sense_is_refused_in_a_sentence(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening(tmp_path, broker.port):
        recorder.wait_for("serd/test-room/mute", b"OFF")  # it has subscribed before that
        for content, sentence in REFUSED:
            answer = ask(recorder, content)
            assert answer["ok"] is False
            assert sentence in answer["message"]
            assert answer["corrections"] == 0


def test_what_is_no_command_is_ignored_and_corrections_can_be_switched_off(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    recorder.publish(CORRECT, b'{"id": "last", "emotion": "sad"}', retain=True)
    with listening(tmp_path, broker.port, "personal.enabled=false") as (node, voice):
        hear(recorder, voice)
        node.wait_log("a retained command is not obeyed")
        for payload in (b"sad", b"[]", b"{}", b'{"id": 3}', b'{"id": "last"}', b"\xff" * 4000):
            recorder.publish(CORRECT, payload)
        answer = ask(recorder, {"id": "last", "emotion": "sad"})
        assert answer["ok"] is False
        assert "personal.enabled" in answer["message"]
        assert CorrectionStore(tmp_path / "journal.db").all() == []
        recorder.publish("serd/test-room/mute/set", b"ON")
        recorder.wait_for("serd/test-room/mute", b"ON")
        assert len(heard(recorder, RESULT)) == 1


def test_corrections_of_another_model_are_set_aside(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening(tmp_path, broker.port) as (node, voice):
        events = hear(recorder, voice)
        assert ask(recorder, {"id": events[0]["id"], "emotion": "sad"})["ok"]
        assert node.stop() == 0
    other = ModelFile.load("permissive")
    with listening(tmp_path, broker.port, "model.path=permissive") as (node, voice):
        node.wait_log("1 corrections are set aside")
        fresh = hear(recorder, voice)
        assert fresh[0]["model"]["sha256"] == model_ref("", "", other.sha256).sha256
        assert not any("adapted" in event for event in fresh)
        answer = ask(recorder, {"id": events[1]["id"], "emotion": "happy"})
        assert answer["ok"]
        assert "another model is in use now" in answer["message"]
        assert answer["corrections"] == 0
        answer = ask(recorder, {"id": fresh[0]["id"], "emotion": "calm"})
        assert "cannot tell calm" in answer["message"]
        shown = run_serd(
            *here(tmp_path), "--set", "model.path=permissive", "personal", "show", home=tmp_path
        )
        assert "2 corrections set aside: made with another model" in shown.stdout
        assert "1 correction set aside: the current model has no such emotion" in shown.stdout


def test_corrections_are_taken_to_another_machine(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening(tmp_path, broker.port) as (node, voice):
        for event in hear(recorder, voice):
            assert ask(recorder, {"id": event["id"], "emotion": "calm"})["ok"]
        assert node.stop() == 0
    store = CorrectionStore(tmp_path / "journal.db")
    kept = store.all()
    done = run_serd(*here(tmp_path), "personal", "export", "mine.json", home=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.json").stat().st_mode & 0o077 == 0
    assert store.forget() == len(kept)
    for _ in range(2):  # twice is as good as once
        done = run_serd(*here(tmp_path), "personal", "import", "mine.json", home=tmp_path)
        assert done.returncode == 0, done.stderr
        assert store.all() == kept
    (tmp_path / "mine.json").write_text('{"format": "serd-corrections", "version": 1, '
                                        '"corrections": [{"id": "x"}]}')  # fmt: skip
    done = run_serd(*here(tmp_path), "personal", "import", "mine.json", home=tmp_path)
    assert done.returncode == 66
    assert "mine.json is not an export of" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_broker_that_goes_while_corrections_come(
    tmp_path: Path, broker: Mosquitto, recorder: Recorder
) -> None:
    with listening(tmp_path, broker.port) as (node, voice):
        events = hear(recorder, voice)
        assert ask(recorder, {"id": events[0]["id"], "emotion": "sad"})["ok"]
        recorder.publish(CORRECT, json.dumps({"id": events[1]["id"], "emotion": "sad"}).encode())
        broker.kill()
        node.wait_log("no broker:")
        broker.start()
        recorder.wait_count("serd/test-room/mute", 2)
        answer = ask(recorder, {"id": events[2]["id"], "emotion": "sad"})
        assert answer["ok"]
        assert answer["corrections"] in {2, 3}

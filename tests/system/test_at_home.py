"""A model with home settings in the real daemon: evidence over utterances, and what resets it."""

from __future__ import annotations

import json
import os
import threading
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import jsonschema
import msgspec
import numpy as np
import pytest

from serd.audio import SAMPLE
from serd.audio.source import Block, EndOfSource, SourceStats
from serd.backoff import Backoff
from serd.daemon.event_writer import EventWriter
from serd.daemon.pipeline import Pipeline
from serd.events.clock import parse_rfc3339
from serd.events.event import Event, ModelRef
from serd.events.state import Mood
from serd.model.classifier import Recognition
from serd.model.decision import Decision
from serd.model.emotions import EMOTIONS
from serd.model.gathering import Gatherer
from serd.model.metadata import SENSITIVITIES, Usual
from serd.model.model_file import ModelFile
from serd.speech.utterance import Utterance
from tests.broker import Recorder, mosquitto, wait_until
from tests.models import HOME, as_at_home, at_home
from tests.mqtt.memory import MemoryPublisher
from tests.system.node import Node, json_lines, run_serd
from tools.docs.json_schema import event_schema

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.broker
def test_events_combine_the_evidence_of_several_utterances(
    tmp_path: Path, home_model_path: Path
) -> None:
    """Events can be recomputed from the results of the single utterances."""
    settings = ("--set", f"model.path={home_model_path}", "--set", "decision.agree=2")
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with Node(
            tmp_path, broker.port, "--source", str(SAMPLE), "--pace", "fast", "--keep", *settings
        ) as node:
            assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        events = [json.loads(payload) for payload in recorder.on("serd/test-room/emotion")]
        state = json.loads(recorder.on("serd/test-room/state")[-1])
    single = json_lines(
        run_serd("classify", "--json", str(SAMPLE), *settings, home=tmp_path).stdout
    )
    past = json_lines(
        run_serd("history", "--json", "--set", f"journal.path={tmp_path / 'journal.db'}",
                 home=tmp_path).stdout
    )  # fmt: skip
    assert past == events

    validator = jsonschema.Draft202012Validator(event_schema())
    file = ModelFile.load(home_model_path)
    assert len(events) >= 8
    gatherer = Gatherer(Decision(file.labels, file.info), agree=2)
    for event, row in zip(events, single, strict=True):
        validator.validate(event)
        assert event["prior"] == 0.9
        # `serd classify` judges each utterance by itself.
        assert event["utterance"]["emotion"] == row["emotion"]
        scores = as_at_home(row["scores"], home_model_path)
        assert event["utterance"]["scores"] == pytest.approx(scores, abs=1.1e-4)
        prediction: Any = SimpleNamespace(emotion=row["emotion"], scores=scores)
        start, end = (parse_rfc3339(event[name]) / 1000 for name in ("started_at", "ended_at"))
        combined = gatherer.add(prediction, start, end)
        assert event["gathered"] == combined.utterances
        if combined.utterances > 1:
            assert event["scores"] == pytest.approx(combined.prediction.scores, abs=2e-3)
    assert max(event["gathered"] for event in events) > 1
    assert state["emotion"] == events[-1]["emotion"]


@pytest.mark.broker
@pytest.mark.parametrize("habituation", [True, False])
def test_a_room_gets_used_to_its_own_sound(tmp_path: Path, habituation: bool) -> None:
    """With a model to which ordinary speech elsewhere hardly ever sounds sad."""
    odds = {"happy": 0.0, "surprised": 0.0, "angry": 0.0, "fearful": 0.0, "disgust": 0.0}
    usual = Usual(odds={**odds, "sad": -20.0}, remembered=50, half_after=1)
    home = msgspec.structs.replace(HOME, usual=usual, ordinary_share=0.05)
    path = tmp_path / "familiar.tflite"
    path.write_bytes(at_home(home=home))
    settings = ("--set", f"model.path={path}", "--set", f"decision.habituation={habituation}")
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with Node(
            tmp_path, broker.port, "--source", str(SAMPLE), "--pace", "fast", *settings
        ) as node:
            assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        events = [json.loads(payload) for payload in recorder.on("serd/test-room/emotion")]
    file = ModelFile.load(path)
    gatherer = Gatherer(Decision(file.labels, file.info), habituation=habituation)
    other = Gatherer(Decision(file.labels, file.info), habituation=not habituation)
    difference = 0.0
    for event in events:
        start, end = (parse_rfc3339(event[name]) / 1000 for name in ("started_at", "ended_at"))
        single: Any = SimpleNamespace(**event["utterance"])
        combined = gatherer.add(single, start, end).prediction.scores
        assert event["scores"] == pytest.approx(combined, abs=5e-3)
        unlike = other.add(single, start, end).prediction.scores
        difference = max(difference, abs(unlike["sad"] - combined["sad"]))
    assert len(events) >= 8
    # Otherwise this would not show which of the two the daemon does.
    assert difference > 0.02
    assert bool(gatherer.excess) is habituation


@pytest.mark.broker
def test_the_sensitivity_is_set_over_mqtt_and_survives_a_restart(
    tmp_path: Path, home_model_path: Path
) -> None:
    topic = "serd/test-room/sensitivity"
    # A pipe that nobody writes to: the node listens and receives nothing.
    silence, unused = os.pipe()

    def node(configured: str) -> Node:
        settings: tuple[str, ...] = ("--set", f"model.path={home_model_path}")
        settings += ("--set", f"decision.sensitivity={configured}")
        return Node(tmp_path, broker.port, "--source", "-", *settings, stdin=silence)

    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with node("normal") as running:
            recorder.wait_for(topic, b"normal")
            config = recorder.last("homeassistant/device/serd_test-room/config")
            assert config is not None
            select = json.loads(config)["cmps"]["sensitivity"]
            assert (select["p"], select["command_topic"]) == ("select", f"{topic}/set")
            recorder.publish(f"{topic}/set", b"bold")
            recorder.publish(f"{topic}/set", b" High\n")
            recorder.wait_for(topic, b"high")
            assert running.stop() == 0, running.log
            assert any("'bold' is none of low, normal and high" in line for line in running.log)
        # It survives a restart ...
        with node("normal") as running:
            recorder.wait_for(topic, b"high", times=2)
            assert running.stop() == 0, running.log
        # ... until the configuration changes.
        with node("low") as running:
            recorder.wait_for(topic, b"low")
            assert running.stop() == 0, running.log
        with Recorder(broker.port) as late:
            late.wait_for(topic, b"low")
            assert [m.retained for m in late.messages if m.topic == topic] == [True]
    os.close(silence)
    os.close(unused)


@pytest.mark.broker
@pytest.mark.parametrize("settings", [(), ("--set", "model.min_confidence=0.5")])
def test_no_sensitivity_entity_where_it_has_no_effect(
    tmp_path: Path, home_model_path: Path, settings: tuple[str, ...]
) -> None:
    model = home_model_path
    if not settings:
        model = tmp_path / "plain.tflite"
        model.write_bytes(at_home(home=None))
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        with Node(
            *(tmp_path, broker.port, "--source", str(SAMPLE), "--pace", "fast"),
            *("--set", f"model.path={model}", *settings),
        ) as node:
            assert node.wait() == 0, node.log
        recorder.wait_for("serd/test-room/status", b"offline")
        # A recording's discovery message is removed at its end.
        configs = [c for c in recorder.on("homeassistant/device/serd_test-room/config") if c]
        assert json.loads(configs[0])["cmps"]["sensitivity"] == {"p": "select"}
        assert recorder.on("serd/test-room/sensitivity") == []


class Script:
    """A live source that delivers the blocks given to it."""

    name = "script"
    live = True
    steady = False
    stats = SourceStats(rate=16_000)

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._blocks: list[Block] = []
        self._open = False

    def give(self, block: Block) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._open)
            self._blocks.append(block)
            self._changed.notify_all()

    def open(self) -> None:
        with self._changed:
            self._open = True
            self._changed.notify_all()

    def read(self, timeout: float, batch: int = 0) -> Block | None:
        with self._changed:
            self._changed.wait_for(lambda: self._blocks or not self._open, timeout)
            if not self._open:
                raise EndOfSource
            return self._blocks.pop(0) if self._blocks else None

    def close(self) -> None:
        with self._changed:
            self._open = False
            self._changed.notify_all()


class OneUtterancePerBlock:
    """Recognises each block of audio as an utterance with the same prediction."""

    speaking = False
    batch_samples = 480

    def __init__(self, decision: Decision) -> None:
        logits = np.log([0.4 if name == "angry" else 0.6 / 7 for name in EMOTIONS])
        self._prediction = decision.predict(logits)
        self._position = 0

    def reset(self, position: int) -> list[Recognition]:
        self._position = position
        return []

    def flush(self) -> list[Recognition]:
        return []

    def feed(self, samples: Any) -> list[Recognition]:
        start, self._position = self._position, self._position + len(samples)
        utterance = Utterance(
            start=start, end=self._position, level_dbfs=-20.0, voiced_share=1.0, cut=False
        )
        return [Recognition(utterance=utterance, prediction=self._prediction)]


def test_mute_and_lost_audio_reset_the_evidence(home_model_path: Path) -> None:
    file = ModelFile.load(home_model_path)
    decision = Decision(file.labels, file.info)
    source, publisher = Script(), MemoryPublisher()
    numbers = iter(range(1, 100))
    journal: Any = SimpleNamespace(
        append_many=lambda events, arrived: [
            msgspec.structs.replace(event, seq=next(numbers)) for event in events
        ]
    )
    writer = EventWriter(journal)
    writer.start()
    recogniser: Any = OneUtterancePerBlock(decision)
    pipeline = Pipeline(
        node="attic",
        source=source,
        recogniser=recogniser,
        writer=writer,
        publisher=publisher,
        mood=Mood(),
        model=ModelRef(name="none", version="0", sha256="0" * 12),
        gatherer=Gatherer(decision),
        muted=False,
        retry=Backoff(),
    )
    thread = threading.Thread(target=pipeline.run)
    thread.start()
    position = 0

    def say(arrived: float, *, lost: int = 0) -> Event:
        """One second of speech that has just ended, after ``lost`` samples that were lost."""
        nonlocal position
        position += lost
        count = len(publisher.events)
        samples = np.full(16_000, 0.1, np.float32)
        source.give(Block(samples=samples, position=position, arrived=arrived, lost=lost))
        position += len(samples)
        wait_until(lambda: len(publisher.events) > count)
        return publisher.events[-1]

    try:
        assert say(101.0).gathered == 1
        assert say(102.0).gathered == 2
        # A short loss counts as silence, a long one as a pause; HOME's pause is 60 s.
        assert say(104.0, lost=16_000).gathered == 3
        assert say(180.0, lost=75 * 16_000).gathered == 1
        assert say(181.0).gathered == 2
        pipeline.mute(True)
        wait_until(lambda: pipeline.condition.name == "MUTED")
        pipeline.mute(False)
        wait_until(lambda: pipeline.condition.name == "LISTENING")
        assert say(182.0).gathered == 1
        assert say(183.0).gathered == 2
        pipeline.quiet(True)
        wait_until(lambda: pipeline.condition.name == "QUIET")
        pipeline.quiet(False)
        wait_until(lambda: pipeline.condition.name == "LISTENING")
        assert say(184.0).gathered == 1
    finally:
        pipeline.stop()
        thread.join()
        writer.stop(20)


@pytest.mark.slow
def test_a_higher_sensitivity_reports_more_emotions(tmp_path: Path) -> None:
    # A home with little neutral speech, so that emotions are reported for synthesised speech.
    path = tmp_path / "lively.tflite"
    path.write_bytes(at_home(home=msgspec.structs.replace(HOME, ordinary_share=0.1)))
    counts = []
    for sensitivity in SENSITIVITIES:
        done = run_serd(
            *("classify", "--json", str(SAMPLE), "--set", f"model.path={path}"),
            *("--set", f"decision.sensitivity={sensitivity}"),
            home=tmp_path,
        )
        rows = json_lines(done.stdout)
        counts.append(sum(row["emotion"] not in {"neutral", "calm", "uncertain"} for row in rows))
    assert counts == sorted(counts)
    assert counts[0] < counts[-1]

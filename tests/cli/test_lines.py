from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.cli.terminal import STYLES, EventFormatter, bar, height
from serd.events.event import Event, make, model_ref
from serd.model.decision import Prediction
from serd.model.emotions import EMOTIONS, UNCERTAIN

if TYPE_CHECKING:
    from collections.abc import Iterator

MODEL = model_ref("default", "1", "0" * 64)


@pytest.fixture(autouse=True, scope="module")
def utc() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", "UTC")
        time.tzset()
        yield
    time.tzset()


def event(
    node: str = "den", emotion: str = "angry", share: float = 0.83, level: float = -23.4
) -> Event:
    rest = (1 - share) / 7
    top = emotion if emotion in EMOTIONS else "sad"
    scores = {name: share if name == top else rest for name in EMOTIONS}
    prediction = Prediction(emotion=emotion, confidence=share, scores=scores, valence=0, arousal=0)
    start = 1_772_352_900_250
    return make(
        node=node, started_ms=start, ended_ms=start + 2000, duration_s=2.0, prediction=prediction,
        level_dbfs=level, model=MODEL,
    )  # fmt: skip


def test_line_on_a_narrow_terminal() -> None:
    line = EventFormatter().format_event(event(), 80)
    assert line.plain == (
        "08:15:00  angry      83% █████   neutral    2  calm       2               -23 dB"
    )
    assert line.cell_len == 80


def test_line_on_a_wide_terminal() -> None:
    line = EventFormatter(dates=True).format_event(event(), 110)
    assert line.plain == (
        "2026-03-01 08:15:00  angry      83% ██████████    neutral   ▏      2  calm      ▏      2"
        "             ▅  -23 dB"
    )


def test_line_on_an_ascii_terminal() -> None:
    for width in (80, 140):
        line = EventFormatter(ascii_only=True).format_event(event(), width)
        assert line.plain.isascii()
        assert line.cell_len == width
    assert (
        EventFormatter(ascii_only=True)
        .format_event(event(), 80)
        .plain.startswith("08:15:00  angry      83% #####   neutral ")
    )


def test_runners_up_do_not_repeat_the_emotion() -> None:
    assert EventFormatter().format_event(event(), 140).plain.count("angry") == 1
    # In an uncertain event every emotion is a runner-up.
    assert " sad " in EventFormatter().format_event(event(emotion="uncertain"), 80).plain


@pytest.mark.parametrize(
    ("level", "drawn"), [(-120, "▁"), (-53, "▁"), (-52, "▂"), (-8, "▇"), (-7, "█"), (0, "█")]
)  # fmt: skip
def test_height_of_the_level_bar(level: float, drawn: str) -> None:
    assert height(level) == drawn


def test_nodes_are_shown_if_there_are_several() -> None:
    lines = EventFormatter()
    lines.add_node("den")
    assert "den" not in lines.format_event(event(), 80).plain
    lines.add_node("kitchen")
    assert lines.format_event(event(), 80).plain.startswith("08:15:00  den      angry ")


def test_every_emotion_has_its_own_colour() -> None:
    assert tuple(STYLES) == (*EMOTIONS, UNCERTAIN)
    assert len(set(STYLES.values())) == len(STYLES)


@pytest.mark.parametrize(
    ("share", "drawn"), [(0, "    "), (1, "████"), (2, "████"), (-1, "    "), (0.5, "██  "),
                         (0.53, "██▏ "), (0.999, "████")],
)  # fmt: skip
def test_bar(share: float, drawn: str) -> None:
    assert bar(share, 4) == drawn


@given(
    width=st.integers(20, 200),
    share=st.floats(0.2, 1),
    emotion=st.sampled_from([*EMOTIONS, UNCERTAIN]),
    node=st.text("abc-_", min_size=1, max_size=64),
    level=st.floats(-120, 0),
)
def test_lines_fit_the_width_and_align(
    width: int, share: float, emotion: str, node: str, level: float
) -> None:
    lines = EventFormatter()
    lines.add_node("another")
    one = lines.format_event(event(node, emotion, share, level), width)
    two = lines.format_event(event("another", "sad", 0.9), width)
    assert one.cell_len <= width
    assert one.plain.count("\n") == 0
    if width >= 60:
        assert one.cell_len == two.cell_len == width
        assert one.plain.index(f"  {emotion}") == two.plain.index("  sad")

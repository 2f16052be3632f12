from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
import soundfile as sf
from hypothesis import given
from hypothesis import strategies as st

from serd.audio import SAMPLE
from serd.audio.level import LevelMeter, Reading
from serd.cli.meter import picture
from serd.doctor.sound import advise
from tests.terminal import terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]


def reading(
    rms: float = -23.0, held: float = -12.0, room: float = -58.0, clipped: float = 0.0
) -> Reading:
    return Reading(
        seconds=10, rms_dbfs=rms, peak_dbfs=held, held_dbfs=held, loudest_dbfs=held,
        room_dbfs=room, clipped_share=clipped, flat=False, offset=0,
    )  # fmt: skip


def test_picture_at_80_columns() -> None:
    lines = picture(reading(), None, 80, voice=True).plain.splitlines()
    assert lines == [
        "██████████████████████████████·········┃·········  -23 dBFS  peak  -12  voice",
        "-60  -50     -40     -30      -20     -10       0 room  -58  clipped  0.00%",
        "good",
    ]


def test_picture_includes_the_advice() -> None:
    loud = reading(-2, 0, -40, 0.05)
    lines = picture(loud, advise(loud), 80, voice=False).plain.splitlines()
    assert "clipped  5.00%" in lines[1]
    assert lines[2].startswith("too loud: 5.0% of the samples are clipped: turn the capture level")
    assert lines[2].endswith("…")


@given(
    width=st.integers(1, 300),
    rms=st.floats(-120, 0),
    held=st.floats(-120, 0),
    clipped=st.floats(0, 1),
    voice=st.booleans(),
)
def test_picture_fits_the_width(
    width: int, rms: float, held: float, clipped: float, voice: bool
) -> None:
    shown = reading(rms, held, -50, clipped)
    text = picture(shown, advise(shown), width, voice=voice)
    assert all(line.cell_len <= width for line in text.split("\n"))
    assert len(text.plain.split("\n")) == 3


def test_a_pipe_gets_plain_lines(serd: Serd) -> None:
    code, out, err = serd("meter", "--source", SAMPLE, "--set", "audio.pace=fast")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) > 10
    shape = (
        r" *[\d.]+ s  level +-[\d.]+  peak +-?[\d.]+  room +-[\d.]+ dBFS  clipped +[\d.]+%  "
        r"(voice|-).*"
    )
    assert all(re.fullmatch(shape, line) for line in lines), lines
    assert any(" voice" in line for line in lines)


def test_seconds_limits_the_run(serd: Serd) -> None:
    code, out, _ = serd("meter", "--source", SAMPLE, "--set", "audio.pace=fast", "--seconds", "3")
    assert code == 0
    assert float(out.splitlines()[-1].split()[0]) < 6


def test_a_dead_input_is_reported(serd: Serd, tmp_path: Path) -> None:
    path = tmp_path / "dead.wav"
    sf.write(path, np.zeros(48_000), 16_000)
    _, out, _ = serd("meter", "--source", path, "--set", "audio.pace=fast")
    assert "every sample has the same value" in out.splitlines()[-1]


def test_a_missing_source_is_an_error(serd: Serd) -> None:
    code, out, err = serd("meter", "--source", "/no/such.wav")
    assert (code, out) == (66, "")
    assert "/no/such.wav" in err


@pytest.mark.slow
@pytest.mark.parametrize("columns", [80, 140])
def test_on_a_real_terminal(columns: int, tmp_path: Path) -> None:
    with terminal(tmp_path, columns, "meter", "--source", str(SAMPLE)) as window:
        screen = window.wait("voice")
        bar = next(line for line in screen if "dBFS" in line)
        assert re.fullmatch(r"[█·┃]+ +-\d+ dBFS  peak +-?\d+(  voice)?", bar)
        assert len(re.match("[█·┃]+", bar)[0]) == columns - 31  # type: ignore[index]
        assert all(len(line) <= columns for line in screen)
        # It redraws in place: there is one bar, however long it runs.
        window.wait(lambda lines: lines[0] != bar)
        assert sum("dBFS" in line for line in window.screen()) == 1
        window.press("C-c")
        screen = window.wait("exit 0")
        assert "Traceback" not in "\n".join(screen)


@pytest.mark.slow
@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"NO_COLOR": "1"}])
def test_on_a_terminal_without_colour(env: dict[str, str], tmp_path: Path) -> None:
    with terminal(tmp_path, 100, "meter", "--source", str(SAMPLE), env=env) as window:
        window.wait("voice")
        assert not re.search(r"\x1b\[[0-9;]*3[0-7]m", "\n".join(window.screen(colours=True)))
        window.press("C-c")
        window.wait("exit 0")


def test_picture_shows_the_measured_level() -> None:
    meter = LevelMeter()
    meter.feed(np.full(16_000, 0.5, np.float32))
    assert "-6 dBFS" in picture(meter.read(), None, 80, voice=False).plain

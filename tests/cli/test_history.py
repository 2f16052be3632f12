from __future__ import annotations

import csv
import io
import json
import math
import time
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest

from serd.cli.plot import _smoothed
from serd.events.clock import Clock
from serd.events.event import make, model_ref
from serd.events.journal import Journal
from serd.model.decision import Prediction
from serd.model.emotions import EMOTIONS
from serd.style import COLOURS
from tests.mqtt.samples import journalled
from tools.docs.json_schema import event_schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]

HOUR_MS = 3_600_000


@pytest.fixture
def journal(home: Path) -> Path:
    """A journal with an event 1, 2, ... 50 hours ago, alternating between two nodes."""
    path = home / ".local" / "state" / "serd" / "journal.db"
    now = time.time_ns() // 1_000_000
    with Journal(path, clock=Clock()) as journal:
        for hours in range(50, 0, -1):
            start = now - hours * HOUR_MS
            share = 0.5 + hours / 1000
            scores = {name: share if name == "sad" else (1 - share) / 7 for name in EMOTIONS}
            prediction = Prediction(
                emotion="sad", confidence=share, scores=scores, valence=-0.5, arousal=-0.25
            )
            event = make(
                node="den" if hours % 2 else "hall",
                started_ms=start,
                ended_ms=start + 1500,
                duration_s=1.5,
                prediction=prediction,
                level_dbfs=-30.5,
                model=model_ref("default", "1.0", "a" * 64),
            )
            journal.append(event)
    return path


def test_default_output_covers_the_last_24_hours(serd: Serd, journal: Path) -> None:
    code, out, err = serd("history")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    # The event of exactly 24 hours ago is older than that by now.
    assert len(lines) == 23
    assert all(" sad " in line and line.endswith(" dB") for line in lines)
    assert [line.split()[2] for line in lines[:2]] == ["den", "hall"]
    assert lines == sorted(lines)
    assert "\x1b" not in out


def test_since_and_until(serd: Serd, journal: Path) -> None:
    assert len(serd("history", "--since", "2d").out.splitlines()) == 47
    assert len(serd("history", "--since", "2d", "--until", "90m").out.splitlines()) == 46
    code, out, err = serd("history", "--since", "10m")
    assert (code, out, err) == (0, "", "serd: no events in that time\n")


def test_json_is_the_event_as_published(serd: Serd, journal: Path) -> None:
    import jsonschema

    code, out, err = serd("history", "--json", "--since", "3h")
    assert (code, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert [event["node"] for event in events] == ["hall", "den"]
    assert [event["seq"] for event in events] == [25, 25]
    for event in events:
        # Not yet delivered, so there is no latency.
        event["latency_ms"] = 1.0
        jsonschema.validate(event, event_schema())


def test_csv_has_a_column_for_each_score(serd: Serd, journal: Path) -> None:
    code, out, err = serd("history", "--csv", "--since", "3h")
    assert (code, err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == [
        "id", "node", "seq", "started_at", "ended_at", "duration_s", "emotion", "confidence",
        "valence", "arousal", "level_dbfs", "latency_ms", *EMOTIONS,
        "model_name", "model_version", "model_sha256",
        "gathered", "prior", "adapted", "model_emotion", "model_confidence",
        "utterance_emotion", "utterance_confidence", "cut",
    ]  # fmt: skip
    assert [row["node"] for row in rows] == ["hall", "den"]
    assert rows[0]["sad"] == rows[0]["confidence"] == "0.502"
    assert rows[0]["model_sha256"] == "a" * 12
    empty = serd("history", "--csv", "--since", "1m").out
    assert empty == out.splitlines()[0] + "\n"


def test_a_missing_journal_is_an_error(serd: Serd, home: Path) -> None:
    code, out, err = serd("history")
    assert (code, out) == (69, "")
    assert err.startswith(f"serd: there is no journal at {home}/.local/state/serd/journal.db\n")


def test_a_file_that_is_not_a_journal_is_an_error(serd: Serd, home: Path) -> None:
    (home / "x.db").write_text("not a journal, but long enough to be something" * 50)
    code, out, err = serd("history", "--set", "journal.path=x.db")
    assert code in (69, 78)
    assert out == ""
    assert err.startswith("serd: ")
    assert "Traceback" not in err


def seqs(out: str) -> list[int]:
    return [json.loads(line)["seq"] for line in out.splitlines()]


def test_filters(serd: Serd, journal: Path) -> None:
    everything = ("history", "--json", "--since", "7d")
    assert len(seqs(serd(*everything).out)) == 50
    den = [json.loads(line) for line in serd(*everything, "--node", "den").out.splitlines()]
    assert len(den) == 25
    assert {event["node"] for event in den} == {"den"}
    assert serd(*everything, "--emotion", "happy").out == ""
    assert len(seqs(serd(*everything, "--emotion", "happy", "--emotion", "sad").out)) == 50
    # The confidence falls from 0.55 to 0.501 as time goes by.
    assert len(seqs(serd(*everything, "--min-confidence", "0.52").out)) == 31


def test_limit_gives_the_latest_events_in_order(serd: Serd, journal: Path) -> None:
    arguments = ("history", "--json", "--since", "7d", "--node", "hall")
    whole = seqs(serd(*arguments).out)
    assert seqs(serd(*arguments, "--limit", "3").out) == whole[-3:]
    both = seqs(serd(*arguments, "--limit", "3", "--emotion", "sad", "--emotion", "calm").out)
    assert both == whole[-3:]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("--emotion", "hapy"), "hapy"),
        (("--min-confidence", "2"), "0<=x<=1"),
        (("--limit", "0"), "x>=1"),
        (("--plot", "a.png", "--json"), "exclude each other"),
        (("--plot", "a.gif"), "cannot draw .gif"),
        (("--plot", "noending"), "a file without an ending"),
    ],
)
def test_usage_errors(wrong: tuple[str, ...], message: str, serd: Serd, journal: Path) -> None:
    code, out, err = serd("history", *wrong)
    assert (code, out) == (2, "")
    assert message in err


@pytest.mark.parametrize(
    ("name", "signature"), [("a.png", b"\x89PNG"), ("b.svg", b"<?xml"), ("c.PDF", b"%PDF")]
)
def test_plot(name: str, signature: bytes, serd: Serd, journal: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, out, err = serd("history", "--since", "7d", "--plot", tmp_path / name)
    assert (code, out) == (0, "")
    assert err.endswith(f"{name} shows 50 events\n")
    drawn = (tmp_path / name).read_bytes()
    assert drawn.startswith(signature)
    assert len(drawn) > 5000
    if name == "b.svg":
        assert b"den: 25 utterances" in drawn or drawn.count(b"<use") > 100


def test_plot_of_one_event_and_of_none(serd: Serd, journal: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    assert serd("history", "--limit", "1", "--plot", tmp_path / "one.png").code == 0
    assert (tmp_path / "one.png").stat().st_size > 5000
    code, _, err = serd("history", "--emotion", "angry", "--plot", tmp_path / "none.png")
    assert code == 0
    assert err == "serd: no events in that time, so there is nothing to draw\n"
    assert not (tmp_path / "none.png").exists()


def test_plot_to_an_unwritable_path(serd: Serd, journal: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    code, _, err = serd("history", "--plot", tmp_path / "no" / "such" / "folder" / "a.png")
    assert code == 69
    assert "cannot be written: No such file or directory" in err


def test_plot_without_matplotlib(
    serd: Serd, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    code, _, err = serd("history", "--plot", "a.png")
    assert code == 69
    assert err == (
        "serd: --plot needs matplotlib, which is not installed\n"
        "      pip install 'serd-emotion[plot]'\n"
    )


def test_the_line_of_a_plot_is_smoothed_and_breaks_at_gaps() -> None:
    start = datetime(2026, 3, 1, tzinfo=UTC)
    moments = [start + timedelta(seconds=seconds) for seconds in (0, 60, 120, 10_000, 10_060)]
    line = _smoothed(moments, [1, 1, -1, -1, -1], 60)
    assert line[:3] == pytest.approx([1, 1, (0.25 + 0.5 - 1) / 1.75])
    assert math.isnan(line[3])  # a gap in the data
    assert line[4] == pytest.approx(-1)


def test_an_unknown_room_gets_a_suggestion(serd: Serd, home: Path) -> None:
    with Journal(home / "j.db") as journal:
        journalled(journal, 1, node="kitchen")
    own = ("--set", f"journal.path={home / 'j.db'}", "--set", "node=kitchen")
    code, out, err = serd("history", "--node", "kitchn", *own)
    assert (code, out) == (2, "")
    assert "there is no room called 'kitchn'" in err
    assert "did you mean kitchen?" in err
    titled = serd(
        "history", "--json", "--node", "Küche", "--set", "name=Küche", "--since", "1999-01-01", *own
    )
    assert titled.code == 0
    assert '"node":"kitchen"' in titled.out


def test_plot_and_dashboard_use_the_same_colours() -> None:
    style = (files("serd.dashboard") / "static" / "style.css").read_text(encoding="utf-8")
    light = style[: style.index("color-scheme: light")]
    assert set(COLOURS) == {*EMOTIONS, "uncertain"}
    other = {name for name, colour in COLOURS.items() if f"--{name}: {colour};" not in light}
    assert not other

"""The format of log messages: text, JSON and the journal."""

from __future__ import annotations

import io
import json
import logging
import os
import re
from typing import TYPE_CHECKING

import pytest

from serd.config import LogConfig
from serd.logs import configure, connected_to_journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

log = logging.getLogger("serd.somewhere")


@pytest.fixture(autouse=True)
def restore_logging() -> Iterator[None]:
    root, ours = logging.getLogger(), logging.getLogger("serd")
    handlers, levels, raising = root.handlers[:], (root.level, ours.level), logging.raiseExceptions
    yield
    root.handlers[:] = handlers
    root.setLevel(levels[0])
    ours.setLevel(levels[1])
    logging.raiseExceptions = raising


def configured(settings: LogConfig | None = None, *, debug: bool = False) -> io.StringIO:
    stream = io.StringIO()
    configure(settings or LogConfig(), debug=debug, stream=stream, env={})
    return stream


def test_text_lines_have_a_time_and_level() -> None:
    stream = configured()
    log.info("heard %d", 3)
    log.warning("careful")
    first, second = stream.getvalue().splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d info    heard 3", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d warning careful", second)


@pytest.mark.parametrize(
    ("level", "count"),
    [("debug", 4), ("info", 3), ("warning", 2), ("error", 1)],
)
def test_the_level_applies_only_to_serds_loggers(level: str, count: int) -> None:
    stream = configured(LogConfig(level=level))  # type: ignore[arg-type]
    other = logging.getLogger("library")
    for number in (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR):
        log.log(number, "ours")
    other.info("chatter")
    other.warning("theirs")
    lines = stream.getvalue().splitlines()
    assert sum("ours" in line for line in lines) == count
    assert sum("theirs" in line for line in lines) == 1
    assert "chatter" not in stream.getvalue()


def test_json_is_one_object_per_line() -> None:
    stream = configured(LogConfig(format="json"))
    log.warning("two\nlines: %s", "ü")
    (line,) = stream.getvalue().splitlines()
    entry = json.loads(line)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", entry.pop("time"))
    assert entry == {"level": "warning", "logger": "serd.somewhere", "message": "two\nlines: ü"}


def test_exceptions_are_one_line_unless_debug_is_on() -> None:
    for debug in (False, True):
        stream = configured(debug=debug)
        try:
            int("odd")
        except ValueError:
            log.exception("failed")
        text = stream.getvalue()
        assert ("Traceback" in text) is debug
        assert debug or text.endswith(
            " error   failed: ValueError: invalid literal for int() with base 10: 'odd'\n"
        )


def test_the_journal_gets_priorities_but_no_timestamps(tmp_path: Path) -> None:
    path = tmp_path / "stderr"
    with path.open("w") as stream:
        status = os.fstat(stream.fileno())
        env = {"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"}
        assert connected_to_journal(stream, env)
        configure(LogConfig(level="debug"), stream=stream, env=env)
        log.debug("a")
        log.info("b")
        log.warning("c\nd")
        log.error("e")
        log.critical("f")
    assert path.read_text() == "<7>a\n<6>b\n<4>c\n<4>  d\n<3>e\n<2>f\n"


def test_the_journal_is_recognised_by_its_inode(tmp_path: Path) -> None:
    with (tmp_path / "a").open("w") as stream:
        assert not connected_to_journal(stream, {"JOURNAL_STREAM": "1:2"})
        assert not connected_to_journal(stream, {})
    assert not connected_to_journal(io.StringIO(), {"JOURNAL_STREAM": "1:2"})


def test_logging_to_a_closed_stream_is_silent(capfd: pytest.CaptureFixture[str]) -> None:
    configured().close()
    log.error("not written anywhere")
    assert capfd.readouterr() == ("", "")

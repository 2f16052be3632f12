"""No command opens a microphone that is muted or in quiet hours, unless asked to."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from serd.config import Config, JournalConfig
from serd.daemon.mute import why_closed
from serd.errors import UnavailableError
from serd.events.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

QUIET = "quiet_hours=[{from: '00:00', to: '00:00'}]"


@pytest.mark.parametrize(
    ("settings", "reason"), [((QUIET,), "quiet hours"), (("mute=true",), "muted")]
)
def test_commands_open_a_closed_microphone_only_with_listen(
    serd: Callable[..., Outcome],
    monkeypatch: pytest.MonkeyPatch,
    settings: tuple[str, ...],
    reason: str,
) -> None:
    opened = []

    def open_(_: object) -> None:
        opened.append(1)
        raise UnavailableError("there is no microphone")

    monkeypatch.setattr("serd.audio.microphone.Microphone.open", open_)
    monkeypatch.setattr("serd.doctor.examination.check_device", lambda _: ())
    options = [part for setting in ("mqtt.port=1", *settings) for part in ("--set", setting)]
    report = serd("check", *options).out
    level = next(line for line in report.splitlines() if "level" in line)
    assert level.startswith("skip")
    assert reason in level
    code, out, err = serd("meter", *options)
    assert (code, out) == (69, "")
    assert reason in err
    assert "--listen" in err
    assert opened == []
    serd("check", "--listen", "1", *options)
    serd("meter", "--listen", *options)
    assert len(opened) == 2


@pytest.mark.skipif(os.getuid() != 0, reason="needs root, to switch to another user")
def test_an_unreadable_mute_switch_counts_as_muted(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with Journal(closed / "journal.db"):
        pass
    config = Config(node="den", journal=JournalConfig(path=str(closed / "journal.db")))
    assert why_closed(config) is None
    tmp_path.chmod(0o755)
    os.seteuid(65534)
    try:
        reason = why_closed(config)
    finally:
        os.seteuid(0)
    assert reason is not None
    assert "cannot read" in reason

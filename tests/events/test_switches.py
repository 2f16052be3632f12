"""Switches in the journal: what cannot be written at the moment counts, and is written later."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING, Any

import pytest

from serd.config import Config
from serd.daemon.mute import MUTE_KEY, remembered_mute
from serd.errors import UnavailableError
from serd.events.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path


class FullDisk:
    """As long as it is full, the file beside the journal cannot be written."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.full = True
        opened = os.open

        def refuse(path: Any, flags: int, *rest: int) -> int:
            if self.full and str(path).endswith("-mark.new"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return opened(path, flags, *rest)

        monkeypatch.setattr("serd.events.recovery.os.open", refuse)


def test_a_switch_is_saved_once_the_disk_has_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        disk = FullDisk(monkeypatch)
        with pytest.raises(UnavailableError, match="No space left"):
            journal.set_meta(MUTE_KEY, "ON")
        assert journal.get_meta(MUTE_KEY) == "ON"
        assert journal.unsaved == {MUTE_KEY: "ON"}
        disk.full = False
        journal.maintain(keep_days=1, max_events=100)
        assert '"mute":"ON"' in (tmp_path / "journal.db-mark").read_text()
        assert not journal.unsaved
    with Journal(path) as journal:
        assert journal.get_meta(MUTE_KEY) == "ON"


def test_a_switch_that_could_not_be_saved_is_handed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = FullDisk(monkeypatch)
    with Journal(tmp_path / "journal.db", unsaved={MUTE_KEY: "ON"}) as journal:
        assert journal.get_meta(MUTE_KEY) == "ON"
        disk.full = False
    with Journal(tmp_path / "journal.db") as journal:
        assert journal.get_meta(MUTE_KEY) == "ON"


@pytest.mark.parametrize(
    ("kept", "alone", "muted"),
    [
        ({}, True, False),
        ({"mute": "ON"}, True, True),
        ({"mute": "ON", "mute:den": "OFF"}, True, True),  # muted under another name since
        ({"mute": "OFF", "mute:den": "ON"}, True, True),  # or when it was one of several
        ({"mute": "OFF", "mute:den": "OFF"}, True, False),
        ({"mute": "ON"}, False, True),
        ({"mute": "OFF"}, False, False),
        ({"mute": "ON", "mute:den": "OFF"}, False, False),
    ],
)
def test_in_doubt_a_node_is_muted(kept: dict[str, str], alone: bool, muted: bool) -> None:
    assert remembered_mute(kept.get, Config(node="den"), alone=alone) is muted

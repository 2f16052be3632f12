"""Corrections that cannot be read at the moment are read later."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serd.config import PersonalConfig
from serd.daemon.corrections import CorrectionHandler
from serd.errors import UnavailableError
from serd.events.corrections import CorrectionStore
from serd.events.journal import Journal
from serd.model.decision import Decision
from serd.model.model_file import ModelFile
from serd.mqtt.commands import LAST, CorrectRequest
from tests.events.making import event

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_correction_is_used_once_the_journal_can_be_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelFile.load()
    decision = Decision(model.labels, model.info)
    latest = event(1)
    read = CorrectionStore.all

    def locked(_: CorrectionStore) -> Any:
        raise UnavailableError("the journal is locked")

    with Journal(tmp_path / "journal.db") as journal:
        handler = CorrectionHandler(PersonalConfig(), journal, model)
        handler.attach(latest.node, decision)
        handler.start()
        monkeypatch.setattr(CorrectionStore, "all", locked)
        request = CorrectRequest(id=LAST, emotion="happy")
        answer = handler.correct(latest.node, request, latest)
        assert answer.ok, answer.message
        assert len(handler._known) == 0
        monkeypatch.setattr(CorrectionStore, "all", read)
        handler.refresh()
        assert [one.emotion for one in handler._known] == ["happy"]

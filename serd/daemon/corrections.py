"""Corrections in the running daemon: takes them, stores them, and adapts the nodes' decisions."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING
from uuid import UUID

import msgspec

from serd.errors import SerdError
from serd.events.clock import Clock
from serd.events.corrections import NOT, REVISION_KEY, Correction, CorrectionStore
from serd.events.personalisation import is_of, learn
from serd.model.emotions import UNCERTAIN
from serd.mqtt.commands import LAST, CorrectRequest, CorrectResult, check_emotion

if TYPE_CHECKING:
    from serd.config import PersonalConfig
    from serd.events.event import Event
    from serd.events.journal import Journal
    from serd.model.decision import Decision
    from serd.model.model_file import ModelFile

log = logging.getLogger(__name__)


class CorrectionHandler:
    """Handles the corrections of all nodes of a daemon, and adapts their decisions accordingly.

    Shared by the main thread and the threads that execute commands.

    Args:
        settings: The configuration's ``personal`` section.
        journal: The journal whose file holds the corrections.
        model: The model in use.
        clock: Injectable for tests.
    """

    def __init__(
        self,
        settings: PersonalConfig,
        journal: Journal,
        model: ModelFile,
        *,
        clock: Clock | None = None,
    ) -> None:
        self._settings = settings
        self._journal = journal
        self._store = CorrectionStore(journal.path)
        self._model = model
        self._clock = clock or Clock()
        self._decisions: dict[str, Decision] = {}
        self._lock = threading.Lock()
        self._revision: str | None = None
        self._known: list[Correction] = []

    def attach(self, node: str, decision: Decision) -> None:
        """Adapt a node's decision from now on."""
        self._decisions[node] = decision

    def start(self) -> None:
        """Learn from the stored corrections, and log how many are used and set aside."""
        if not self._settings.enabled:
            return
        self.refresh()
        found = learn(self._known, self._model)
        if found.used:
            log.info("adapted to this household by %d corrections", len(found.used))
        if found.other_model:
            log.warning("%d corrections are set aside: they were made when another model than "
                        "%s %s was in use", found.other_model, self._model.info.name,
                        self._model.info.version)  # fmt: skip

    def refresh(self) -> None:
        """Learn again if another process has changed the corrections; cheap if none has."""
        if not self._settings.enabled:
            return
        try:
            revision = self._journal.get_meta(REVISION_KEY)
            if revision == self._revision:
                return
            with self._lock:
                self._read()
        except SerdError as error:
            log.warning("corrections cannot be read: %s", error.message)

    def count(self, node: str) -> int:
        """Number of corrections behind a node's answers."""
        adaptation = self._decisions[node].adaptation
        return 0 if adaptation is None else adaptation.corrections

    def correct(self, node: str, request: CorrectRequest, latest: Event | None) -> CorrectResult:
        """Carry out a correction command.

        Args:
            node: The node that received it.
            request: The command.
            latest: The node's latest event since the daemon started, if any.

        Returns:
            The answer to publish.
        """
        try:
            with self._lock:
                event, message, changed, noted = self._take(node, request, latest)
        except (ValueError, SerdError) as error:
            text = error.message if isinstance(error, SerdError) else str(error)
            return CorrectResult(
                id=request.id, ok=False, message=text, corrections=self.count(node)
            )
        if changed:
            self.refresh()  # stored it is, even if it cannot be read now
        return CorrectResult(
            id=event, ok=True, message=message, corrections=self.count(node), emotion=noted
        )

    def _take(
        self, node: str, request: CorrectRequest, latest: Event | None
    ) -> tuple[str, str, bool, str | None]:
        """Carry out a request: the event's id, a message, whether anything changed, the emotion."""
        if not self._settings.enabled:
            raise ValueError("corrections are switched off here (personal.enabled)")
        check_emotion(request.emotion)
        identifier = self._identifier(node, request, latest)
        before = self._store.of(identifier)
        if before is not None and before.node != node:
            raise ValueError(f"{node} has heard no utterance with the id {identifier}")
        if request.forget:
            if before is None:
                return identifier, "nothing was noted of that utterance", False, None
            self._store.forget(identifiers=[identifier])
            return identifier, f"forgotten: {_described(before)}", True, None
        wanted = before or self._noted(node, identifier, latest)
        if request.emotion is None and wanted.told == UNCERTAIN:
            raise ValueError(
                "serd was uncertain of that utterance and named no emotion; say which it was"
            )
        wanted = msgspec.structs.replace(
            wanted, emotion=request.emotion, corrected_at=self._clock.timestamp()
        )
        word = wanted.emotion or NOT
        if before is not None and before.emotion == wanted.emotion:
            return identifier, f"already noted: {_described(before)}", False, word
        self._store.put([wanted])
        aside = self._aside(wanted)
        return identifier, f"noted: {_described(wanted)}{aside}", True, word

    def _identifier(self, node: str, request: CorrectRequest, latest: Event | None) -> str:
        if request.id == LAST:
            latest = latest or self._store.latest(node)
            if latest is None:
                raise ValueError(f"{node} has heard nothing yet")
            return latest.id
        try:
            return str(UUID(request.id))
        except ValueError:
            raise ValueError(f"{request.id!a} is not the id of an event") from None

    def _noted(self, node: str, identifier: str, latest: Event | None) -> Correction:
        event = latest if latest is not None and latest.id == identifier else None
        event = event or self._store.event(node, identifier)
        if event is None:
            raise ValueError(
                f"{node} knows no utterance with the id {identifier}: it was heard elsewhere, or "
                "so long ago that the journal has forgotten it"
            )
        return Correction(
            id=event.id,
            node=event.node,
            seq=event.seq,
            heard_at=event.started_at,
            told=event.emotion,
            # Overwritten at once; an uncertain answer with no emotion would be refused as such.
            emotion=event.emotion if event.emotion != UNCERTAIN else "neutral",
            scores=event.own_scores,
            corrected_at=self._clock.timestamp(),
            model=event.model,
        )

    def _aside(self, one: Correction) -> str:
        if not is_of(one, self._model):
            return "; it is set aside, for another model is in use now"
        if (one.emotion or one.told) not in self._model.labels:
            return f"; it is set aside, for the model in use cannot tell {one.emotion or one.told}"
        return ""

    def _read(self) -> None:
        """Learn from all stored corrections."""
        revision = self._journal.get_meta(REVISION_KEY)
        self._known = self._store.all()
        house = None if self._settings.scope == "node" else learn(self._known, self._model)
        for node, decision in self._decisions.items():
            found = house or learn(self._known, self._model, node=node)
            decision.adaptation = found.adaptation
        # Last: if anything failed, the next refresh tries again.
        self._revision = revision


def _described(one: Correction) -> str:
    """Describe a correction, such as ``sad instead of angry, kitchen, 2026-03-01T08:15:00Z``."""
    if one.emotion is None:
        what = f"not {one.told}"
    elif one.emotion == one.told:
        what = f"{one.emotion}, as serd said"
    else:
        what = f"{one.emotion} instead of {one.told}"
    return f"{what} ({one.node}, {one.heard_at})"

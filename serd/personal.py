"""What the running daemon learns from corrections: notes them, and lets its nodes hear by them."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import TYPE_CHECKING, Final
from uuid import UUID

import msgspec

from serd.errors import SerdError
from serd.events.clock import Clock, parse_rfc3339
from serd.events.corrections import NOT, REVISION_KEY, Correction, CorrectionStore
from serd.model.emotions import UNCERTAIN
from serd.model.personal import PASSED_MOST, Adaptation, Lesson, fit
from serd.mqtt.commands import LAST, CorrectRequest, CorrectResult, check_emotion

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serd.config import PersonalConfig
    from serd.events.event import Event
    from serd.events.journal import Journal
    from serd.model.decision import Decision
    from serd.model.model_file import ModelFile

log = logging.getLogger(__name__)

_DIGEST: Final = 12


class Learned(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a household's corrections."""

    adaptation: Adaptation | None
    """None: nothing was to be learned from."""
    used: tuple[Correction, ...]
    """Those that were learned from."""
    other_model: int = 0
    """Those set aside because another model heard these utterances."""
    other_class: int = 0
    """Those set aside because the model has no such class."""


def learn(
    corrections: Sequence[Correction], model: ModelFile, *, node: str | None = None
) -> Learned:
    """Learn from corrections.

    Args:
        corrections: In the order in which the utterances were heard.
        model: The model that they are for; those of another are set aside.
        node: Only those of this node; None: all.
    """
    places = {label: place for place, label in enumerate(model.labels)}
    own = [
        one
        for one in corrections
        if node in (None, one.node) and one.model.sha256 == model.sha256[:_DIGEST]
    ]
    used = [one for one in own if (one.emotion or one.told) in places]
    return Learned(
        adaptation=fit(lessons(used, model.labels), model.labels, model.info.personal),
        used=tuple(used),
        other_model=sum(node in (None, one.node) for one in corrections) - len(own),
        other_class=len(own) - len(used),
    )


def lessons(corrections: Sequence[Correction], labels: Sequence[str]) -> list[Lesson]:
    """Corrections as learning wants them; each of a class that the model has."""
    places = {label: place for place, label in enumerate(labels)}
    latest: dict[str, int] = {}
    found = []
    for one in corrections:
        passed = one.seq - latest.get(one.node, one.seq - 1) - 1
        latest[one.node] = one.seq
        found.append(
            Lesson(
                scores=tuple(one.scores[label] for label in labels),
                emotion=None if one.emotion is None else places[one.emotion],
                denied=places.get(one.told),
                passed=min(PASSED_MOST, max(0, passed)),
            )
        )
    return found


class Personal:
    """Takes corrections for the nodes of a daemon, and lets their decisions follow.

    Shared by the threads on which commands are carried out and the main thread.

    Args:
        settings: The configuration's ``personal`` section.
        journal: The journal in whose file they are kept.
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
        """Let a node's decision follow the corrections from now on."""
        self._decisions[node] = decision

    def begin(self) -> None:
        """Learn from what is kept; say so, and what is set aside."""
        if not self._settings.enabled:
            return
        self.look()
        found = learn(self._known, self._model)
        if found.used:
            log.info("adapted to this household by %d corrections", len(found.used))
        if found.other_model:
            log.warning("%d corrections are set aside: they were made when another model than "
                        "%s %s was in use", found.other_model, self._model.info.name,
                        self._model.info.version)  # fmt: skip

    def look(self) -> None:
        """Follow changes that somebody else made in the file; cheap if there are none."""
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
        """How many corrections stand behind what a node says."""
        adaptation = self._decisions[node].adaptation
        return 0 if adaptation is None else adaptation.corrections

    def correct(self, node: str, request: CorrectRequest, latest: Event | None) -> CorrectResult:
        """Take what somebody says of an utterance.

        Args:
            node: Which node was told.
            request: What it was told.
            latest: Its latest event, if it has had one since the start.

        Returns:
            The answer.
        """
        try:
            with self._lock:
                event, message, changed, noted = self._take(node, request, latest)
                if changed:
                    self._read()
        except (ValueError, SerdError) as error:
            text = error.message if isinstance(error, SerdError) else str(error)
            return CorrectResult(
                id=request.id, ok=False, message=text, corrections=self.count(node)
            )
        return CorrectResult(
            id=event, ok=True, message=message, corrections=self.count(node), emotion=noted
        )

    def _take(
        self, node: str, request: CorrectRequest, latest: Event | None
    ) -> tuple[str, str, bool, str | None]:
        """Carry a request out: event id, what was understood, whether it changed anything, word."""
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
        if one.model.sha256 != self._model.sha256[:_DIGEST]:
            return "; it is set aside, for another model is in use now"
        if (one.emotion or one.told) not in self._model.labels:
            return f"; it is set aside, for the model in use cannot tell {one.emotion or one.told}"
        return ""

    def _read(self) -> None:
        """Learn anew from all that is kept."""
        self._revision = self._journal.get_meta(REVISION_KEY)
        self._known = self._store.all()
        house = None if self._settings.scope == "node" else learn(self._known, self._model)
        for node, decision in self._decisions.items():
            found = house or learn(self._known, self._model, node=node)
            decision.adaptation = found.adaptation


def _described(one: Correction) -> str:
    """A correction in words, such as ``sad instead of angry, kitchen, 2026-03-01T08:15:00Z``."""
    if one.emotion is None:
        what = f"not {one.told}"
    elif one.emotion == one.told:
        what = f"{one.emotion}, as serd said"
    else:
        what = f"{one.emotion} instead of {one.told}"
    return f"{what} ({one.node}, {one.heard_at})"


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """What `serd personal show` says."""

    corrections: int
    """All that are kept."""
    used: int
    """Those that the model in use learns from."""
    other_model: int
    """Those set aside because another model heard these utterances."""
    other_class: int
    """Those set aside because the model has no such class."""
    emotions: dict[str, int]
    """How many of each: an emotion, or ``not angry`` and the like."""
    nodes: dict[str, int]
    """How many of each node."""
    first_at: str | None
    """When the first was made."""
    last_at: str | None
    """When the last was made."""
    changed: int
    """Of the utterances that nobody corrected and the journal still has: those that would now be
    told otherwise than by the model alone."""
    uncorrected: int
    """How many of these there are."""
    right_alone: int
    """Of the corrected utterances used, those that the model alone tells as people did."""
    right_adapted: int
    """Those that it tells so when it has learned from the other corrections, not from this one."""
    low: float
    """With nine chances in ten, the share that corrections mend lies between this ..."""
    high: float
    """... and this (0 to 1)."""


def summarise(
    corrections: Sequence[Correction], model: ModelFile, events: Sequence[Event]
) -> Summary:
    """What was learned, and what good it does as far as the corrections themselves can tell.

    Corrected utterances are told anew, each by what the others teach (in ten parts). They are the
    ones that the model got wrong, so what they show is how much of that is mended; what is spoilt
    elsewhere shows only in how many of the other answers change.

    Args:
        corrections: In the order in which the utterances were heard.
        model: The model in use.
        events: Past events.
    """
    import numpy as np  # noqa: PLC0415 - for this alone

    found = learn(corrections, model)
    known = {one.id for one in corrections}
    labels = model.labels

    def scores_of(scores: dict[str, float]) -> list[float]:
        return [max(scores[label], 1e-6) for label in labels]

    rest = [
        event
        for event in events
        if event.id not in known and event.model.sha256 == model.sha256[:_DIGEST]
    ]
    changed = 0
    if rest and found.adaptation is not None:
        alone = np.log([scores_of(event.own_scores) for event in rest])
        changed = int((found.adaptation.shift(alone).argmax(1) != alone.argmax(1)).sum())
    used = found.used
    teach = lessons(used, labels)
    right_alone = right_adapted = 0
    for part in range(min(10, len(used))):
        out = range(part, len(used), 10)
        taught = [one for place, one in enumerate(teach) if place % 10 != part]
        adaptation = fit(taught, labels, model.info.personal)
        for place in out:
            alone = np.log(scores_of(used[place].scores))
            after = alone if adaptation is None else adaptation.shift(alone)
            right_alone += _fits(used[place], labels[int(alone.argmax())])
            right_adapted += _fits(used[place], labels[int(after.argmax())])
    wrong = len(used) - right_alone
    low, high = interval(max(0, right_adapted - right_alone), wrong)
    moments = sorted(one.corrected_at for one in corrections)
    return Summary(
        corrections=len(corrections),
        used=len(used),
        other_model=found.other_model,
        other_class=found.other_class,
        emotions=dict(Counter(one.words for one in corrections).most_common()),
        nodes=dict(Counter(one.node for one in corrections).most_common()),
        first_at=moments[0] if moments else None,
        last_at=moments[-1] if moments else None,
        changed=changed,
        uncorrected=len(rest),
        right_alone=right_alone,
        right_adapted=right_adapted,
        low=low,
        high=high,
    )


def _fits(one: Correction, said: str) -> bool:
    return said != one.told if one.emotion is None else said == one.emotion


def interval(successes: int, trials: int, z: float = 1.645) -> tuple[float, float]:
    """Wilson's interval of a share, nine chances in ten by default; 0 to 1 of no trials."""
    if trials == 0:
        return 0.0, 1.0
    share = successes / trials
    middle = (share + z * z / (2 * trials)) / (1 + z * z / trials)
    half = (
        z * (share * (1 - share) / trials + z * z / (4 * trials * trials)) ** 0.5
        / (1 + z * z / trials)
    )  # fmt: skip
    return round(max(0.0, middle - half), 3), round(min(1.0, middle + half), 3)


def milliseconds(one: Correction) -> int:
    """When a correction was made, milliseconds since 1970."""
    return parse_rfc3339(one.corrected_at)

"""Events as a table for spreadsheets: CSV, a row for each."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any, Final

from msgspec import UNSET

from serd.events.event import Event
from serd.model.emotions import EMOTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_NESTED: Final = frozenset({"schema", "scores", "model", "utterance", "model_scores"})
_OPTIONAL: Final = ("gathered", "prior", "adapted", "model_emotion", "model_confidence")
"""Fields that not every event has."""


def csv_lines(events: Iterable[Event]) -> Iterator[str]:
    """The head, and then a line for each event; each ends with a line feed."""
    row = io.StringIO()
    writer = csv.writer(row, lineterminator="\n")
    for cells in _rows(events):
        writer.writerow(cells)
        yield row.getvalue()
        row.seek(0)
        row.truncate()


def _rows(events: Iterable[Event]) -> Iterator[list[Any]]:
    fields = [name for name in Event.__struct_fields__ if name not in _NESTED]
    simple = [name for name in fields if name not in _OPTIONAL]
    models = ("name", "version", "sha256")
    head = [*simple, *EMOTIONS, *(f"model_{name}" for name in models)]
    # New columns come last, so that what reads the table by place goes on working.
    yield [*head, *_OPTIONAL, "utterance_emotion", "utterance_confidence"]
    for event in events:
        cells = [getattr(event, name) for name in simple]
        scores = [event.scores[name] for name in EMOTIONS]
        optional = [getattr(event, name) for name in _OPTIONAL]
        single = event.utterance
        optional += [UNSET, UNSET] if single is UNSET else [single.emotion, single.confidence]
        extra = [None if value is UNSET else value for value in optional]
        yield [*cells, *scores, *(getattr(event.model, name) for name in models), *extra]

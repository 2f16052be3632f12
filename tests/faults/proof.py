"""What must hold after any fault: every event is delivered, in order, under one number."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from serd.events.history import History

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

EMOTION = "serd/test-room/emotion"


def journalled(home: Path, node: str = "test-room") -> dict[str, int]:
    """The ``seq`` of every event in the journal by its ``id``."""
    with History(home / "journal.db") as history:
        return {event.id: event.seq for event in history.query(node=node)}


def check_delivery(payloads: Iterable[bytes], home: Path, *, at_least: int = 1) -> None:
    """Compare what a subscriber received with the journal.

    - Every event of the journal has arrived, and no other.
    - Each ``id`` has one ``seq``, and there are no gaps.
    - First deliveries are in order.
    - Redeliveries have the same bytes.
    """
    first: dict[str, tuple[int, bytes]] = {}
    for payload in payloads:
        event: dict[str, Any] = json.loads(payload)
        _, before = first.setdefault(event["id"], (event["seq"], payload))
        assert before == payload, "a redelivery differs"
    seqs = [seq for seq, _ in first.values()]
    assert {identifier: seq for identifier, (seq, _) in first.items()} == journalled(home)
    assert all(after == before + 1 for before, after in pairwise(seqs)), seqs
    assert seqs[0] == 1
    assert len(seqs) >= at_least

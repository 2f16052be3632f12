"""``serd personal``: what it says of what was learned, and files that cannot be written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.cli.personal import _benefit
from serd.events.journal import Journal
from serd.events.personalisation import Summary

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome


def summary(*, used: int, right_alone: int, uncorrected: int) -> Summary:
    return Summary(
        corrections=used,
        used=used,
        other_model=0,
        other_class=0,
        emotions={},
        nodes={},
        first_at=None,
        last_at=None,
        changed=0,
        uncorrected=uncorrected,
        right_alone=right_alone,
        right_adapted=right_alone,
        low=0.1,
        high=0.4,
    )


def test_one_corrected_utterance_is_described_in_the_singular() -> None:
    lines = _benefit(summary(used=1, right_alone=0, uncorrected=1))
    assert lines[0] == "One corrected utterance counts; the model alone gets it wrong."
    assert lines[1].startswith("Of 1 other utterance in the journal, 0 (0%) would be")


def test_several_corrected_utterances_show_a_share_of_fixed_mistakes() -> None:
    lines = _benefit(summary(used=8, right_alone=3, uncorrected=20))
    assert lines[0].startswith("Of the 8 corrected utterances that count, the model alone gets 3")
    assert lines[1].startswith("So the corrections fix 10% to 40% of its mistakes")
    assert lines[2].startswith("Of 20 other utterances in the journal")


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("/nowhere/mine.json", "No such file or directory"),
        ("/dev/full", "No space left on device"),
        ("no\nwhere/mine.json", "No such file or directory"),
    ],
)
def test_an_export_that_cannot_be_written(
    serd: Callable[..., Outcome], home: Path, target: str, reason: str
) -> None:
    with Journal(home / "journal.db"):
        pass
    code, out, err = serd("personal", "export", target, "--set", "journal.path=journal.db")
    assert (code, out) == (69, "")
    name = target.replace("\n", "\\u000a")
    assert err == f"serd: {name} cannot be written: {reason}\n      choose another file\n"

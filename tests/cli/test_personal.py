"""What ``serd personal show`` says of what was learned."""

from __future__ import annotations

from serd.cli.personal import _benefit
from serd.events.personalisation import Summary


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

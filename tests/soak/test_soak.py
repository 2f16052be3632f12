"""A short soak run; `make soak` is the long one, and SOAK_HOURS sets another length."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.soak.soak import soak

if TYPE_CHECKING:
    from pathlib import Path

HOURS = float(os.environ.get("SOAK_HOURS", "3"))


@pytest.mark.broker
@pytest.mark.slow
@pytest.mark.timeout(max(300, HOURS * 300))
def test_hours_of_audio_with_a_failing_broker(tmp_path: Path) -> None:
    report = soak(HOURS, tmp_path)
    print(report.table())
    assert report.problems() == []
    assert report.expected > 300 * HOURS
    assert sum(report.failures.values()) >= 2

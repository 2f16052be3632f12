"""Which result `make bench-report` uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

import benchmarks.__main__ as command

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_the_newest_run_is_used_and_other_benchmarks_are_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(command, "RESULTS", tmp_path)
    for name in ("20261121T090000", "20261120T230000", "fleet"):
        (tmp_path / f"{name}.json").write_text("{}")
    assert command.newest().stem == "20261121T090000"

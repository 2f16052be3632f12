"""Each injected fault is found with its remedy; a healthy installation has no findings."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

import tests.doctor.broker_faults  # noqa: F401 - registers its faults
from tests.doctor.faults import FAULTS, Fault, Installation

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with ExitStack() as stack:
        yield Installation(tmp_path, stack)


def test_a_healthy_installation(installation: Installation) -> None:
    installation.broker(password="hush")
    path = installation.file("password", "hush\n")
    installation.mqtt.update(username="serd", password_file=str(path))
    installation.settings["hooks"] = [{"command": ["sh", "-c", "true"]}]
    code, findings, stderr = installation.check()
    reported = {(row["check"], row["status"]) for row in findings}
    # The state of the machine that runs the test (its clock, a service) does not count.
    assert {row for row in reported if row[1] in {"warn", "fail"}} <= {("clock", "warn")}
    assert (code, stderr) == (0, "")
    assert {
        ("configuration", "ok"), ("hooks", "ok"), ("model", "ok"), ("speech", "ok"),
        ("speed", "ok"), ("level", "ok"), ("voice", "ok"), ("disk", "ok"), ("broker name", "ok"),
        ("broker TCP", "ok"), ("broker login", "ok"), ("broker publish", "ok"), ("node", "skip"),
    } <= reported  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_each_fault_is_found(fault: Fault, installation: Installation) -> None:
    fault.inject(installation)
    code, findings, stderr = installation.check()
    about = [row for row in findings if row["check"] == fault.check]
    found = [
        row for row in about if row["status"] == fault.status and fault.message in row["message"]
    ]
    assert found, findings
    assert fault.remedy in (found[0]["remedy"] or ""), found
    assert code == fault.code, findings
    assert "Traceback" not in stderr
    # No other check fails, unless as a consequence.
    others = {row["check"] for row in findings if row["status"] == "fail"} - {fault.check}
    assert others <= CONSEQUENCES.get(fault.name, set()), findings


CONSEQUENCES = {
    "a missing password file": {"broker"},
    "an invalid ca file": {"broker"},
    "a dead channel": {"level"},
    "a full disk": set(),
}
"""Other checks that these faults make fail."""


def test_there_are_at_least_40_faults() -> None:
    assert len({fault.name for fault in FAULTS}) >= 40

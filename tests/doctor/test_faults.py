"""Every planted fault is found, and its remedy named; a sound installation has none."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

import tests.doctor.planting_broker  # noqa: F401 - enters its faults into the table
from tests.doctor.planting import FAULTS, Fault, Garden

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.broker, pytest.mark.slow]


@pytest.fixture
def garden(tmp_path: Path) -> Iterator[Garden]:
    with ExitStack() as stack:
        yield Garden(tmp_path, stack)


def test_a_sound_installation(garden: Garden) -> None:
    garden.broker(password="hush")
    path = garden.file("password", "hush\n")
    garden.mqtt.update(username="serd", password_file=str(path))
    garden.settings["hooks"] = [{"command": ["sh", "-c", "true"]}]
    code, findings, stderr = garden.check()
    told = {(row["check"], row["status"]) for row in findings}
    # What the machine that runs the test is like (its clock, a service) is not the test's affair.
    assert {row for row in told if row[1] in {"warn", "fail"}} <= {("clock", "warn")}
    assert (code, stderr) == (0, "")
    assert {
        ("configuration", "ok"), ("hooks", "ok"), ("model", "ok"), ("speech", "ok"),
        ("speed", "ok"), ("level", "ok"), ("voice", "ok"), ("disk", "ok"), ("broker name", "ok"),
        ("broker TCP", "ok"), ("broker login", "ok"), ("broker publish", "ok"), ("node", "skip"),
    } <= told  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=[fault.name for fault in FAULTS])
def test_faults(fault: Fault, garden: Garden) -> None:
    fault.plant(garden)
    code, findings, stderr = garden.check()
    about = [row for row in findings if row["check"] == fault.check]
    found = [row for row in about if row["status"] == fault.status and fault.says in row["message"]]
    assert found, findings
    assert fault.remedy in (found[0]["remedy"] or ""), found
    assert code == fault.code, findings
    assert "Traceback" not in stderr
    # It is found, and nothing else is blamed for it: at most what follows from it.
    others = {row["check"] for row in findings if row["status"] == "fail"} - {fault.check}
    assert others <= CONSEQUENCES.get(fault.name, set()), findings


CONSEQUENCES = {
    "no password file": {"broker"},
    "an authority that is no certificate": {"broker"},
    "a dead channel": {"level"},
    "a full disk": set(),
}
"""What else must fail then."""


def test_there_are_enough() -> None:
    assert len({fault.name for fault in FAULTS}) >= 40

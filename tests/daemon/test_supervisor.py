"""The supervisor with a fake part and a fake clock."""

from __future__ import annotations

import pytest

from serd.daemon.supervisor import STALL_S, Part, PartFailedError, Supervisor


class Machine:
    """One part, and a clock."""

    def __init__(
        self, *, timeout_s: float = 30.0, unwell_s: float = STALL_S, restartable: bool = True
    ) -> None:
        self.now = 1000.0
        self.alive = True
        self.beat = 0.0
        self.restarts = 0
        self.restartable = restartable
        self.supervisor = Supervisor(
            [
                Part(
                    name="pipeline",
                    alive=lambda: self.alive,
                    heartbeat=lambda: self.beat,
                    timeout_s=timeout_s,
                    unwell_s=unwell_s,
                    restart=self._restart,
                )
            ],
            clock=lambda: self.now,
        )

    def _restart(self) -> bool:
        self.restarts += 1
        self.alive = self.restartable
        return self.restartable

    def look(self, seconds: float = 1.0, *, beating: bool = False) -> bool:
        self.now += seconds
        self.beat += beating
        return self.supervisor.look()


def test_a_part_with_a_heartbeat_stays_healthy() -> None:
    machine = Machine()
    assert all(machine.look(beating=True) for _ in range(10_000))


def test_a_hanging_part_stops_the_watchdog_first_and_then_the_process() -> None:
    machine = Machine(timeout_s=30.0)
    assert [machine.look() for _ in range(29)] == [True] * 9 + [False] * 20
    with pytest.raises(PartFailedError, match="pipeline hangs: no sign of life for 30 s") as caught:
        machine.look()
    assert caught.value.exit_code == 70


def test_one_heartbeat_resets_the_timeout() -> None:
    machine = Machine(timeout_s=30.0)
    for _ in range(29):
        machine.look()
    assert machine.look(beating=True)
    assert [machine.look() for _ in range(29)] == [True] * 9 + [False] * 20


def test_a_suspended_process_does_not_blame_its_parts() -> None:
    machine = Machine(timeout_s=30.0)
    assert machine.look(3600.0)  # suspended for an hour; the others have not run yet either
    assert machine.look(3600.0, beating=True)


def test_a_dead_part_is_restarted_once() -> None:
    machine = Machine()
    machine.alive = False
    assert machine.look()
    assert (machine.restarts, machine.alive) == (1, True)
    machine.alive = False
    with pytest.raises(PartFailedError, match="pipeline has died again"):
        machine.look()
    assert machine.restarts == 1


def test_a_part_that_has_since_worked_for_an_hour_may_be_restarted_again() -> None:
    machine = Machine()
    machine.alive = False
    machine.look()
    for _ in range(3600):
        machine.look(beating=True)
    machine.alive = False
    assert machine.look()
    assert machine.restarts == 2


def test_a_part_that_cannot_be_restarted_ends_the_process() -> None:
    machine = Machine(restartable=False)
    machine.alive = False
    with pytest.raises(PartFailedError, match="pipeline has died"):
        machine.look()


def test_a_part_that_may_take_longer_does_not_stop_the_watchdog() -> None:
    machine = Machine(timeout_s=180.0, unwell_s=180.0)
    assert all(machine.look() for _ in range(179))
    with pytest.raises(PartFailedError):
        machine.look()

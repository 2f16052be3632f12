"""The supervisor on parts made of plain values, with a clock of its own."""

from __future__ import annotations

import pytest

from serd.daemon.supervisor import Part, PartFailedError, Supervisor


class Machine:
    """One part, and time."""

    def __init__(self, *, timeout_s: float = 30.0, restartable: bool = True) -> None:
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


def test_a_part_that_goes_on_is_well_for_ever() -> None:
    machine = Machine()
    assert all(machine.look(beating=True) for _ in range(10_000))


def test_standing_still_ends_the_watchdog_first_and_the_process_then() -> None:
    machine = Machine(timeout_s=30.0)
    assert [machine.look() for _ in range(29)] == [True] * 9 + [False] * 20
    with pytest.raises(PartFailedError, match="pipeline hangs: no sign of life for 30 s") as caught:
        machine.look()
    assert caught.value.exit_code == 70


def test_one_beat_makes_all_good_again() -> None:
    machine = Machine(timeout_s=30.0)
    for _ in range(29):
        machine.look()
    assert machine.look(beating=True)
    assert [machine.look() for _ in range(29)] == [True] * 9 + [False] * 20


def test_a_process_that_was_held_up_does_not_blame_its_parts() -> None:
    machine = Machine(timeout_s=30.0)
    assert machine.look(3600.0)  # suspended for an hour; the others have not run yet either
    assert machine.look(3600.0, beating=True)


def test_a_dead_part_is_started_again_once() -> None:
    machine = Machine()
    machine.alive = False
    assert machine.look()
    assert (machine.restarts, machine.alive) == (1, True)
    machine.alive = False
    with pytest.raises(PartFailedError, match="pipeline has died again"):
        machine.look()
    assert machine.restarts == 1


def test_a_part_that_worked_for_long_since_may_be_started_once_more() -> None:
    machine = Machine()
    machine.alive = False
    machine.look()
    for _ in range(3600):
        machine.look(beating=True)
    machine.alive = False
    assert machine.look()
    assert machine.restarts == 2


def test_a_part_that_cannot_be_started_ends_the_process() -> None:
    machine = Machine(restartable=False)
    machine.alive = False
    with pytest.raises(PartFailedError, match="pipeline has died"):
        machine.look()

"""Delays grow with jitter up to a limit, and are reset by a connection that lasted."""

from __future__ import annotations

import random

from serd.backoff import Backoff


class FakeClock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_delays_double_up_to_the_maximum() -> None:
    backoff = Backoff(first_s=1, longest_s=60, rng=random.Random(1))
    delays = [backoff.next() for _ in range(2000)]
    for number, delay in enumerate(delays):
        widest = min(60.0, 2.0 ** min(number, 10))
        assert widest / 2 <= delay <= widest


def test_two_nodes_do_not_retry_in_step() -> None:
    one, other = (Backoff(rng=random.Random(seed)) for seed in (1, 2))
    assert [one.next() for _ in range(5)] != [other.next() for _ in range(5)]


def test_a_connection_that_lasted_resets_the_delay() -> None:
    clock = FakeClock()
    backoff = Backoff(first_s=1, stable_s=30, clock=clock)
    for _ in range(10):
        backoff.next()
    backoff.connected()
    clock.now += 30
    assert backoff.next() <= 1


def test_a_short_connection_does_not_reset_the_delay() -> None:
    clock = FakeClock()
    backoff = Backoff(first_s=1, longest_s=60, stable_s=30, clock=clock)
    for _ in range(10):
        backoff.connected()
        clock.now += 29.9
        last = backoff.next()
    assert last >= 30

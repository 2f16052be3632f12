from __future__ import annotations

import threading
import time
from uuid import RFC_4122, UUID

from hypothesis import given
from hypothesis import strategies as st

from serd.events.event import Uuid7Factory, uuid7


def test_the_example_in_the_rfc() -> None:
    # RFC 9562, appendix A.6: 2022-02-22 19:22:22 UTC, rand_a CC3, rand_b 18C4DC0C0C07398F. Its
    # rand_a is above our largest initial counter, so it is the counter's value here.
    drawn = {11: 0xCC3, 62: 0x18C4DC0C0C07398F}
    factory = Uuid7Factory(lambda: 0x017F22E279B0, drawn.__getitem__)
    assert str(factory()) == "017f22e2-79b0-7cc3-98c4-dc0c0c07398f"


@given(
    st.integers(min_value=0, max_value=2**48 - 1),
    st.integers(min_value=0, max_value=2**11 - 1),
    st.integers(min_value=0, max_value=2**62 - 1),
)
def test_every_bit_is_where_the_rfc_puts_it(ms: int, counter: int, rand_b: int) -> None:
    made = Uuid7Factory(lambda: ms, {11: counter, 62: rand_b}.__getitem__)()
    assert made.int >> 80 == ms
    assert made.int >> 76 & 0xF == 7 == made.version
    assert made.int >> 64 & 0xFFF == counter
    assert made.int >> 62 & 0b11 == 0b10
    assert made.variant == RFC_4122
    assert made.int & (1 << 62) - 1 == rand_b


@given(st.lists(st.integers(min_value=0, max_value=5), min_size=2, max_size=50))
def test_identifiers_increase_whatever_the_clock_does(readings: list[int]) -> None:
    clock = iter(readings)
    factory = Uuid7Factory(lambda: next(clock))
    made = [factory() for _ in readings]
    assert made == sorted(set(made))


def test_a_counter_overflow_borrows_from_the_next_millisecond() -> None:
    factory = Uuid7Factory(lambda: 1000, lambda bits: (1 << bits) - 1)
    made = [factory() for _ in range(5000)]
    assert made == sorted(set(made))
    assert {m.int >> 80 for m in made} == {1000, 1001, 1002}


def test_threads_get_different_ids() -> None:
    factory = Uuid7Factory(lambda: 1000)
    made: list[UUID] = []

    def work() -> None:
        made.extend(factory() for _ in range(2000))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(made)) == 8000


def test_the_default_factory_uses_the_current_time() -> None:
    before = time.time_ns() // 1_000_000
    made = uuid7()
    assert before <= made.int >> 80 <= time.time_ns() // 1_000_000 + 1

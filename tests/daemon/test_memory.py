from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from serd.daemon import memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_what_start_up_left_is_out_of_the_collectors_sight() -> None:
    kept = [[number] for number in range(10_000)]
    memory.freeze()
    assert gc.get_freeze_count() >= len(kept)
    memory.freeze()  # a reload: what the first daemon left can be collected again
    assert gc.get_freeze_count() >= len(kept)


def test_giving_back_frees_circles_and_harms_nothing() -> None:
    class Thing:
        pass

    circle = Thing()
    circle.itself = circle  # type: ignore[attr-defined]
    alive = weakref.ref(circle)
    gc.disable()  # or a collection by chance could free it first
    try:
        del circle
        assert alive() is not None
        memory.release()
        assert alive() is None
    finally:
        gc.enable()

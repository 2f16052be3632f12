from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING

import pytest

from serd.daemon import memory

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _unfreeze_afterwards() -> Iterator[None]:
    yield
    gc.unfreeze()


def test_objects_left_by_startup_are_frozen_for_the_garbage_collector() -> None:
    kept = [[number] for number in range(10_000)]
    memory.freeze()
    assert gc.get_freeze_count() >= len(kept)
    memory.freeze()  # a reload: objects of the first daemon can be collected again
    assert gc.get_freeze_count() >= len(kept)


def test_release_frees_reference_cycles() -> None:
    class Thing:
        pass

    cycle = Thing()
    cycle.itself = cycle  # type: ignore[attr-defined]
    alive = weakref.ref(cycle)
    gc.disable()  # or an automatic collection could free it first
    try:
        del cycle
        assert alive() is not None
        memory.release()
        assert alive() is None
    finally:
        gc.enable()

"""What happens when the journal's file turns out to be damaged: it is put aside, not deleted."""

from __future__ import annotations

import functools
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Concatenate, ParamSpec, Protocol, TypeVar

from serd.errors import UnavailableError
from serd.events.journal.file import JournalDamagedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

log = logging.getLogger(__name__)

P = ParamSpec("P")
R = TypeVar("R")


class Mendable(Protocol):
    """A journal that can begin anew."""

    generation: int

    def mend(self, error: JournalDamagedError, generation: int) -> None:
        """Begin anew, unless another thread has done so since ``generation``."""


M = TypeVar("M", bound=Mendable)


def mending(
    method: Callable[Concatenate[M, P], R],
) -> Callable[Concatenate[M, P], R]:
    """Make a method of a journal survive damage: the journal begins anew, and it runs again."""

    @functools.wraps(method)
    def run(self: M, /, *args: P.args, **kwargs: P.kwargs) -> R:
        generation = self.generation
        try:
            return method(self, *args, **kwargs)
        except JournalDamagedError as error:
            self.mend(error, generation)
            return method(self, *args, **kwargs)

    return run


def quarantine(path: Path, error: JournalDamagedError) -> Path:
    """Rename a damaged journal and its log to ``JOURNAL.corrupt-TIME``.

    Args:
        path: The journal's file; nobody has it open.
        error: What is wrong with it.

    Returns:
        Its new path.

    Raises:
        UnavailableError: It cannot be renamed.
    """
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    aside = path.with_name(f"{path.name}.corrupt-{stamp}")
    try:
        for suffix in ("-wal", "-shm"):
            log_file = path.with_name(path.name + suffix)
            if log_file.exists():
                log_file.rename(aside.with_name(aside.name + suffix))
        path.rename(aside)
    except OSError as refusal:
        raise UnavailableError(
            f"{error.message}, and cannot be put aside: {refusal.strerror or refusal}",
            remedy="move it away by hand",
        ) from refusal
    log.error(
        "%s; it was put aside as %s and a new one is begun. Events in it that the broker had not "
        "yet are lost to subscribers, and the numbering goes on after a gap; corrections are "
        "brought over as far as they can be read", error.message, aside,
    )  # fmt: skip
    return aside

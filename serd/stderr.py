"""Standard error of the whole process, to which native libraries write by themselves."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_lock = threading.Lock()


@contextlib.contextmanager
def filtered(is_noise: Callable[[bytes], bool]) -> Iterator[None]:
    """Hold back what is written to file descriptor 2, then pass on all but the noise.

    Lines that other threads write at the same time are passed on, too.

    Args:
        is_noise: Called with each line, after the block has ended.
    """
    if not hasattr(os, "memfd_create"):  # not on Linux: some noise does no harm
        yield
        return
    with _lock:
        try:
            stderr = os.dup(2)
        except OSError:  # it is closed
            yield
            return
        with os.fdopen(os.memfd_create("stderr"), "w+b", buffering=0) as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(stderr, 2)
                held.seek(0)
                if rest := b"".join(line for line in held if not is_noise(line)):
                    os.write(stderr, rest)
                os.close(stderr)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Restore standard error after a library that redirects it."""
    try:
        stderr = os.dup(2)
    except OSError:  # it is closed
        yield
        return
    try:
        yield
        os.dup2(stderr, 2)
    finally:
        os.close(stderr)

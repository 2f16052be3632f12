"""TensorFlow without its chatter."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

# Native code announces, on file descriptor 2 and past every setting that Python could reach, which
# instructions it uses and how many operations it has counted.
_CHATTER = re.compile(
    rb"[IW]\d{4} \d\d:|\d{4}-\d\d-\d\d \S+ [IW] |WARNING: All log messages before absl|"
    rb"INFO: |To enable the following instructions|fully_quantize: "
)


@contextlib.contextmanager
def without_chatter() -> Iterator[None]:
    """Keep native code's notes off stderr; anything else comes out when the block ends."""
    sys.stderr.flush()
    stderr = os.dup(2)
    with tempfile.TemporaryFile() as caught:
        os.dup2(caught.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(stderr, 2)
            os.close(stderr)
            caught.seek(0)
            rest = b"".join(line for line in caught if not _CHATTER.match(line))
            os.write(2, rest)

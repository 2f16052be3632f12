"""What was sent, acknowledged and received, in files that processes hand to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SENT: Final = np.dtype([("id", "V16"), ("sent_ns", "i8"), ("acked_ns", "i8"), ("wall_ns", "i8")])
"""An event that a node has published: identifier, monotonic times (0: not acknowledged), date."""

CAME: Final = np.dtype([("id", "V16"), ("came_ns", "i8")])
"""An event as a subscriber got it: identifier and monotonic time."""


def key(identifier: str) -> bytes:
    """The 16 bytes of an event's id."""
    return UUID(identifier).bytes


def write(path: Path, records: list[Any], kind: np.dtype[Any]) -> None:
    """Write records of one kind."""
    np.save(path, np.array(records, dtype=kind))


def read(path: Path, kind: np.dtype[Any]) -> NDArray[Any]:
    """Read them again.

    Raises:
        ValueError: They are of another kind.
    """
    found = np.load(path)
    if found.dtype != kind:
        raise ValueError(f"{path}: not records of this kind")
    return np.asarray(found)


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and the greatest, to 2 decimals; zeros if there is none."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(max(values), 2)}

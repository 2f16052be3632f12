"""Records of what was sent, acknowledged and received, exchanged between processes as files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

SENT: Final = np.dtype([("id", "V16"), ("sent_ns", "i8"), ("acked_ns", "i8"), ("wall_ns", "i8")])
"""A published event: id, monotonic times (0: not acknowledged), wall-clock time."""

CAME: Final = np.dtype([("id", "V16"), ("came_ns", "i8")])
"""A received event: id and monotonic time."""


def key(identifier: str) -> bytes:
    """The 16 bytes of an event's id."""
    return UUID(identifier).bytes


def write(path: Path, records: list[Any], kind: np.dtype[Any]) -> None:
    """Write records of one kind."""
    np.save(path, np.array(records, dtype=kind))


def read(path: Path, kind: np.dtype[Any]) -> NDArray[Any]:
    """Read records of one kind.

    Raises:
        ValueError: They are of a different kind.
    """
    found = np.load(path)
    if found.dtype != kind:
        raise ValueError(f"{path}: not records of this kind")
    return np.asarray(found)


def percentiles(values: list[float]) -> dict[str, float]:
    """p50, p99 and maximum, rounded to 2 decimals; zeros without values."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    p50, p99 = np.percentile(values, (50, 99))
    return {"p50": round(float(p50), 2), "p99": round(float(p99), 2), "max": round(max(values), 2)}

"""Compares two results: is each median within the spread of the other run?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from benchmarks.goals import rows
from benchmarks.report import number, spread

if TYPE_CHECKING:
    from benchmarks.goals import Row, Value

TOLERANCE: Final = 0.01
"""Share of a figure by which it may lie outside a spread: three digits are printed, and anything
measured only once, such as a size, has no spread."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """One row of both results."""

    first: Row
    """The row of the first result."""
    second: Row
    """The row of the second result."""

    @property
    def inside(self) -> bool:
        """Whether each median lies between the other's lowest and highest round."""
        a, b = self.first.value, self.second.value
        return within(b.median, a) and within(a.median, b)


def within(figure: float, value: Value) -> bool:
    """Whether a figure lies within a spread."""
    slack = TOLERANCE * abs(figure)
    return value.low - slack <= figure <= value.high + slack


def pairs(first: dict[str, Any], second: dict[str, Any]) -> list[Pair]:
    """The rows that both results have.

    Args:
        first: A result file's content, as `benchmarks.__main__` writes it.
        second: Another one.
    """
    others = {row.what: row for row in rows(second)}
    return [Pair(first=row, second=others[row.what]) for row in rows(first) if row.what in others]


def text(found: list[Pair]) -> str:
    """The table for a terminal, and how many rows agree."""
    lines = [f"{'':46} {'first':>9} {'spread':>18} {'second':>9} {'spread':>18}"]
    lines += [
        f"{pair.first.what:46} {number(pair.first.value.median):>9} {spread(pair.first):>18} "
        f"{number(pair.second.value.median):>9} {spread(pair.second):>18}  "
        f"{'inside' if pair.inside else 'OUTSIDE':7} {pair.first.unit}"
        for pair in found
    ]
    agree = sum(pair.inside for pair in found)
    lines.append(f"{agree} of {len(found)} rows lie inside each other's spread")
    return "\n".join(lines)

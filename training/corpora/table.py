"""Tables that lie beside the recordings of a corpus: CSV files with a line of column names."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING, TypeVar

from serd.errors import InputError, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

T = TypeVar("T")


def read_table(file: Path, columns: Sequence[str], read: Callable[[dict[str, str]], T]) -> list[T]:
    """Read a table.

    Args:
        file: A CSV file in UTF-8, with or without a byte order mark.
        columns: Those that it must have; it may have others.
        read: Makes something of a line, given by column; a ``ValueError`` says what is wrong.

    Raises:
        InputError: It cannot be read, lacks a column, or a line is wrong; the message names it.
    """
    found: list[T] = []
    try:
        with file.open(encoding="utf-8-sig", newline="") as opened:
            rows = csv.DictReader(opened)
            if missing := [name for name in columns if name not in (rows.fieldnames or ())]:
                raise InputError(
                    f"{shown(file)} lacks the column {missing[0]}",
                    remedy="its first line must name, separated by commas: " + ", ".join(columns),
                )
            for row in rows:
                if any(row[name] is None for name in columns):
                    raise InputError(
                        f"{shown(file)}, line {rows.line_num}: there are fewer values than columns"
                    )
                try:
                    found.append(read(row))
                except ValueError as error:
                    raise InputError(f"{shown(file)}, line {rows.line_num}: {error}") from error
    except UnicodeDecodeError as error:
        raise InputError(
            f"{shown(file)} is not UTF-8", remedy="save it as CSV with UTF-8"
        ) from error
    except csv.Error as error:
        raise InputError(f"{shown(file)}, line {rows.line_num}: {error}") from error
    except OSError as error:
        raise InputError(f"Cannot read {shown(file)}: {error.strerror}") from error
    return found


def number(row: dict[str, str], column: str, kind: type[int | float]) -> float:
    """A value that must be a number.

    Raises:
        ValueError: It is not one.
    """
    try:
        return kind(row[column])
    except ValueError:
        raise ValueError(f"{column} is {row[column]!r}, which is not a number") from None

"""Files that training writes, whole or not at all, and reads again."""

from __future__ import annotations

import zipfile
import zlib
from typing import IO, TYPE_CHECKING, Any, TypeVar, overload

import msgspec
import numpy as np

from serd.errors import InputError, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

T = TypeVar("T")

_AGAIN = "remove it, or the whole folder of the run, and call again"


def write_whole(file: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Write a file, whole or not at all: one that was cut off would pass for a finished result.

    Args:
        file: The file.
        write: Writes its content into the opened file.
    """
    part = file.with_name(f"{file.name}.part")
    with part.open("wb") as opened:
        write(opened)
    part.replace(file)


def write_json(file: Path, content: Any) -> None:
    """Write something as JSON, one value to a line, whole or not at all."""
    text = msgspec.json.format(msgspec.json.encode(content))
    write_whole(file, lambda opened: opened.write(text + b"\n"))


@overload
def read_json(file: Path) -> Any: ...
@overload
def read_json(file: Path, kind: type[T]) -> T: ...
def read_json(file: Path, kind: type[Any] = object) -> Any:
    """What :func:`write_json` wrote.

    Raises:
        InputError: The file is damaged.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=Any if kind is object else kind)
    except msgspec.DecodeError as error:
        raise InputError(f"{shown(file)} is damaged: {error}", remedy=_AGAIN) from error


def read_arrays(file: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an ``.npz`` file.

    Raises:
        InputError: The file is damaged.
    """
    try:
        with file.open("rb") as opened, np.load(opened) as kept:
            return {name: kept[name] for name in kept.files}
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError, ValueError) as error:
        raise InputError(f"{shown(file)} is damaged: {error}", remedy=_AGAIN) from error

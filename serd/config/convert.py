"""Values of a document by the schema: what ``no`` or ``1883`` means depends on the key."""

from __future__ import annotations

import math
import re
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec.inspect as mi

from serd.config.document import List, Mapping, Node, Scalar
from serd.config.keys import bare
from serd.config.problems import allowed, not_allowed, quoted, unknown_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_TRUTH: Final = {
    word: truth
    for truth, words in {True: ("true", "yes", "on"), False: ("false", "no", "off")}.items()
    for word in words
}

INVALID: Final = object()
"""Stands for a value about which a problem has been reported."""


class Converter:
    """Turns nodes into values, and says what is wrong with those it cannot turn.

    Args:
        report: Called with the line and the sentence of each problem.
    """

    def __init__(self, report: Callable[[int, str], None]) -> None:
        self._report = report

    def value(self, name: str, node: Node, kind: mi.Type) -> Any:
        """Convert one value.

        Args:
            name: The dotted key, for sentences.
            node: What was written.
            kind: What the schema wants there.

        Returns:
            The value in plain Python types, or ``INVALID`` after a report.
        """
        inner, _, extra = bare(kind)
        if isinstance(inner, mi.StructType):
            return self._struct(name, node, inner)
        if isinstance(inner, mi.VarTupleType):
            return self._list(name, node, inner)
        if isinstance(node, Scalar):
            for member in _members(inner):
                converted = _scalar(node, member)
                if converted is not INVALID:
                    expand = extra.get("path") and isinstance(converted, str)
                    return _expanded(converted) if expand else converted
        self._report(node.line, not_allowed(name, node, inner, extra))
        return INVALID

    def _list(self, name: str, node: Node, kind: mi.VarTupleType) -> Any:
        if isinstance(node, Scalar) and node.null:
            node = List((), node.line)
        if not isinstance(node, List):
            self._report(node.line, not_allowed(name, node, kind, {}))
            return INVALID
        if len(node.items) < (kind.min_length or 0):
            self._report(node.line, f"{name} is empty; allowed: {allowed(kind)}")
            return INVALID
        values = [
            self.value(f"{name}[{index}]", item, kind.item_type)
            for index, item in enumerate(node.items)
        ]
        return INVALID if INVALID in values else values

    def _struct(self, name: str, node: Node, kind: mi.StructType) -> Any:
        if not isinstance(node, Mapping):
            self._report(
                node.line, f"{name} = {quoted(node)} is not allowed; allowed: {allowed(kind)}"
            )
            return INVALID
        fields = {field.encode_name: field for field in kind.fields}
        values: dict[str, Any] = {}
        for key, item, line in node.items:
            if key not in fields:
                self._report(line, unknown_key(name, key, list(fields)))
            elif key in values:
                self._report(line, f"{name}.{key} is given twice")
            else:
                values[key] = self.value(f"{name}.{key}", item, fields[key].type)
        for key, field in fields.items():
            if field.required and key not in values:
                self._report(node.line, f"{name} lacks {key} ({allowed(field.type)})")
                return INVALID
        return INVALID if INVALID in values.values() else values


def _members(kind: mi.Type) -> Iterator[mi.Type]:
    """The alternatives of a type, text last because anything can be read as text."""
    if isinstance(kind, mi.Metadata):
        yield from _members(kind.type)
    elif isinstance(kind, mi.UnionType):
        members = [inner for member in kind.types for inner in _members(member)]
        yield from sorted(members, key=lambda member: isinstance(member, mi.StrType))
    else:
        yield kind


def _scalar(node: Scalar, kind: mi.Type) -> Any:
    """One scalar as one type, or ``INVALID``."""
    value: Any = INVALID
    match kind:
        case mi.NoneType():
            value = None if node.null else INVALID
        case _ if node.null:
            pass
        case mi.LiteralType() if node.text in kind.values:
            value = node.text
        case mi.StrType() if _fits(node.text, kind):
            value = node.text
        case mi.BoolType() if node.plain:
            value = _TRUTH.get(node.text.casefold(), INVALID)
        case mi.IntType() if node.plain and _INTEGER.fullmatch(node.text):
            value = _within(int(node.text), kind)
        case mi.FloatType() if node.plain and _NUMBER.fullmatch(node.text):
            value = _within(float(node.text), kind)
        case _:
            pass
    return value


def _within(number: float, kind: mi.IntType | mi.FloatType) -> Any:
    low = -math.inf if kind.ge is None else kind.ge
    high = math.inf if kind.le is None else kind.le
    return number if math.isfinite(number) and low <= number <= high else INVALID


def _fits(text: str, kind: mi.StrType) -> bool:
    # Control characters and halves of surrogate pairs have no place in names, topics or paths.
    return (
        not any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)
        and (kind.min_length or 0) <= len(text) <= (kind.max_length or math.inf)
        and (kind.pattern is None or re.fullmatch(kind.pattern, text) is not None)
    )


def _expanded(path: str) -> str:
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:  # no such user: let whoever opens the file say so
        return path

"""Reads the YAML files of training, with errors that name file, line, key and remedy."""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
import yaml

from serd.config.document import DocumentError, line_of, parse
from serd.errors import ConfigError, InputError, shown

if TYPE_CHECKING:
    from pathlib import Path

T = TypeVar("T", bound=msgspec.Struct)

_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+|\.\.\.)\]")


def read_document(file: Path, kind: type[T], what: str) -> T:
    """Read a YAML file as a struct.

    Args:
        file: The file; an empty one has all defaults.
        kind: The struct.
        what: What the file is, for messages: ``a recipe``.

    Raises:
        InputError: It cannot be read.
        ConfigError: It is not YAML, or not such a struct; the message names line and key.
    """
    name = shown(file)
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{name}, line {line}: this is not UTF-8", remedy="save the file as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror}") from error
    try:
        tree = parse(text)
    except DocumentError as error:
        raise ConfigError(_said(name, error.line, error.reason)) from None
    try:
        return msgspec.yaml.decode(text or "{}", type=kind)
    except msgspec.ValidationError as error:
        raise _wrong(name, kind, what, tree, str(error)) from None
    except msgspec.DecodeError as error:
        raise ConfigError(f"{name} is not {what}: {error}") from error


def _wrong(
    name: str, kind: type[msgspec.Struct], what: str, tree: yaml.Node, error: str
) -> ConfigError:
    reason, _, path = error.partition(" - at `")
    of_key = path.startswith("key in ")
    path = path.removeprefix("key in ").strip("`")
    steps = [step or f"[{place}]" for step, place in _STEP.findall(path)]
    unknown = re.search(r"unknown field `([^`]+)`", reason)
    missing = re.search(r"required field `([^`]+)`", reason)
    if unknown is not None:
        steps.append(unknown[1])
    line, written, value = _place(tree, steps, reason)
    key = ".".join(written).replace(".[", "[")
    if unknown is not None:
        known = _fields(kind, steps[:-1])
        close = difflib.get_close_matches(unknown[1], known, n=1)
        remedy = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
        return ConfigError(_said(name, line, f"there is no key {key} in {what}"), remedy=remedy)
    if missing is not None:
        inside = f" in {key}" if key else ""
        return ConfigError(
            _said(name, line, f"{what} needs the key {missing[1]}{inside}"),
            remedy=f"add {missing[1]}",
        )
    # The checks of a whole document begin with the key that they are about.
    about = reason.partition(" ")[0].split(".")
    if not key and about[0] in _fields(kind, []):
        return ConfigError(_said(name, _place(tree, about, reason)[0], _plain(reason)))
    if not key:
        return ConfigError(_said(name, line, f"this is not {what}: {_plain(reason)}"))
    words = f"{key}{' has a key' if of_key else ''} is not valid"
    if value is not None:
        words = f"{key} is {value!r}, which is not valid"
    return ConfigError(_said(name, line, words), remedy=_plain(reason))


def _plain(reason: str) -> str:
    """An error message of msgspec in plain words."""
    if (found := re.search(r"matching regex '\^\((.+)\)\$'", reason)) is not None:
        return f"allowed are {found[1].replace('|', ', ')}"
    if (found := re.search(r"Invalid enum value '(.*)'", reason)) is not None:
        return f"{found[1]} is none of the words that are allowed here"
    said = reason.replace("`", "").replace("Expected", "expected")
    for word, plain in (("str", "text"), ("object", "keys and values"), ("array", "a list")):
        said = re.sub(rf"\b{word}\b", plain, said)
    return said


def _place(tree: yaml.Node, steps: list[str], reason: str) -> tuple[int, list[str], str | None]:
    """Line, path as written, and value for a path of msgspec."""
    node: yaml.Node | None = tree
    line, written = line_of(tree), []
    for at, step in enumerate(steps):
        if (
            isinstance(node, yaml.SequenceNode)
            and step[1:-1].isdigit()
            and int(step[1:-1]) < len(node.value)
        ):
            node = node.value[int(step[1:-1])]
            written.append(step)
            line = line_of(node) or line
            continue
        if not isinstance(node, yaml.MappingNode):
            written.append(step)
            break
        found = _entry(node, step, reason, last=at == len(steps) - 1)
        if found is None:
            written.append(step)
            node = None
            break
        key, node, line = found
        written.append(key)
    return line, written, _text(node)


def _entry(
    node: yaml.MappingNode, step: str, reason: str, *, last: bool
) -> tuple[str, yaml.Node, int] | None:
    """The entry of a mapping for a step; for ``[...]`` msgspec does not name the key."""
    entries = [(str(key.value), value, line_of(key)) for key, value in node.value]
    if step != "[...]":
        return next((entry for entry in entries if entry[0] == step), None)
    if not last or not entries:
        return entries[0] if len(entries) == 1 else None
    pattern = re.search(r"matching regex '(.+)'", reason)
    words = re.search(r"Invalid enum value '(.*)'", reason)
    for entry in entries:
        text = _text(entry[1])
        if pattern is not None and text is not None and not re.search(pattern[1], text):
            return entry
        if words is not None and text == words[1]:
            return entry
    return entries[0] if len(entries) == 1 else None


def _text(node: yaml.Node | None) -> str | None:
    return str(node.value) if isinstance(node, yaml.ScalarNode) else None


def _fields(kind: type[Any], steps: list[str]) -> list[str]:
    """The keys of the struct at the end of a path."""
    import msgspec.inspect as mi

    def inner(one: Any) -> Any:
        if isinstance(one, mi.Metadata):
            return inner(one.type)
        if isinstance(one, mi.UnionType):
            return inner(next(part for part in one.types if not isinstance(part, mi.NoneType)))
        return one

    now: Any = mi.type_info(kind)
    for step in steps:
        if isinstance(now, mi.StructType):
            now = inner(next((one.type for one in now.fields if one.encode_name == step), now))
        elif isinstance(now, mi.DictType):
            now = inner(now.value_type)
    return [one.encode_name for one in now.fields] if isinstance(now, mi.StructType) else []


def _said(name: str, line: int, words: str) -> str:
    return f"{name}, line {line}: {words}" if line else f"{name}: {words}"

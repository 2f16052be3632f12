"""docs/recipe.md, generated from the schema of recipes: ``serd-train schema``."""

from __future__ import annotations

import inspect
import json
import re
from typing import TYPE_CHECKING, Any

import msgspec
import msgspec.inspect as mi

from training.recipe import Recipe

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD = """\
# Recipes

<!-- Generated from the schema by `make docs`; changes here are overwritten. -->

A recipe is a YAML file that determines a training run completely. The recipes of the models that
come with serd are in [`training/recipes`](../training/recipes); `serd-train new` writes one for
[your own recordings](training.md#a-model-of-your-own). `--recipe` takes a file, a folder that
contains `recipe.yaml`, or the name of a recipe in `training/recipes`.

An unknown key or an invalid value is an error that names the line and what is allowed. Units are in
the names: `_s` seconds, `_db` decibels, `_hz` hertz. A pair of numbers is `[lowest, highest]`: for
each clip a value between them is drawn.
"""


def markdown() -> str:
    """The page, Markdown, with every key."""
    return "\n".join([_HEAD, *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    waiting: list[tuple[str, type[Any]]] = [("", Recipe)]
    done: set[type[Any]] = set()
    while waiting:
        name, kind = waiting.pop(0)
        if kind in done:
            continue
        done.add(kind)
        yield f"## `{name}`\n" if name else "## At the top\n"
        yield f"{_plain(inspect.cleandoc(kind.__doc__ or '').split(chr(10) * 2)[0])}\n"
        yield "| key | default | allowed | meaning |"
        yield "|---|---|---|---|"
        info = mi.type_info(kind)
        assert isinstance(info, mi.StructType)
        for field in info.fields:
            words, inner = _allowed(field.type)
            key = f"{name}.{field.encode_name}" if name else field.encode_name
            if inner is not None:
                place = f"{key}.NAME" if _is_dict(field.type) else key
                waiting.append((place, inner))
                words = _linked(place, inner, done, waiting)
            cells = (f"`{key}`", _default(field), words, _plain(_description(field)))
            yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
        yield ""


def _linked(place: str, inner: type[Any], done: set[type[Any]], waiting: list[Any]) -> str:
    first = next((name for name, kind in waiting if kind is inner), place)
    if inner in done:
        return "as above"
    anchor = re.sub(r"[^\w\- ]", "", first.lower())
    return f"[keys of its own](#{anchor})"


def _description(field: mi.Field) -> str:
    assert isinstance(field.type, mi.Metadata), field.name
    return str((field.type.extra_json_schema or {})["description"])


def _plain(text: str) -> str:
    """Docstring text as Markdown in one line."""
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", " ".join(text.split()))
    return text.replace("``", "`")


def _default(field: mi.Field) -> str:
    if field.required:
        return "must be given"
    value = field.default if field.default is not msgspec.NODEFAULT else None
    if field.default is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if hasattr(value, "__struct_fields__"):
        return "its defaults"
    if value is None:
        return "none"
    return f"`{json.dumps(list(value) if isinstance(value, tuple) else value)}`"


def _is_dict(kind: mi.Type) -> bool:
    return isinstance(kind.type if isinstance(kind, mi.Metadata) else kind, mi.DictType)


def _allowed(kind: mi.Type) -> tuple[str, type[Any] | None]:
    """The allowed values of a key in words, and the struct if it has keys of its own."""
    if isinstance(kind, mi.Metadata):
        return _allowed(kind.type)
    if isinstance(kind, mi.UnionType):
        found = [_allowed(one) for one in kind.types if not isinstance(one, mi.NoneType)]
        return ", or ".join(words for words, _ in found), found[0][1]
    if isinstance(kind, mi.StructType):
        return "keys", kind.cls
    if isinstance(kind, mi.DictType):
        words, inner = _allowed(kind.value_type)
        return f"names, each with: {words}", inner
    if isinstance(kind, mi.VarTupleType | mi.ListType):
        words, inner = _allowed(kind.item_type)
        return f"a list of: {words}", inner
    return _simple(kind), None


def _simple(kind: mi.Type) -> str:
    """The allowed values of a key without keys of its own."""
    if isinstance(kind, mi.TupleType):
        return f"{len(kind.item_types)} of: {_allowed(kind.item_types[0])[0]}"
    if isinstance(kind, mi.LiteralType):
        return ", ".join(f"`{value}`" for value in kind.values)
    if isinstance(kind, mi.IntType | mi.FloatType):
        return _range("a whole number" if isinstance(kind, mi.IntType) else "a number", kind)
    if isinstance(kind, mi.BoolType):
        return "`true`, `false`"
    pattern = kind.pattern if isinstance(kind, mi.StrType) else None
    if found := re.fullmatch(r"\^\(([\w|]+)\)\$", pattern or ""):
        return ", ".join(f"`{word}`" for word in found[1].split("|"))
    return "small letters, digits, hyphens" if pattern else "text"


def _range(words: str, kind: mi.IntType | mi.FloatType) -> str:
    if kind.ge is not None and kind.le is not None:
        return f"{words} from {kind.ge:g} to {kind.le:g}"
    if kind.ge is not None:
        return f"{words} from {kind.ge:g}"
    if kind.gt is not None:
        return f"{words} above {kind.gt:g}"
    return words

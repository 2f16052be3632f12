"""Judges what was written for a key: msgspec decides; this says what is wrong with it.

A problem is a sentence such as ``mqtt.port = 0 is not allowed; allowed: a whole number from 1 to
65535``. Secrets are never repeated in it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args, get_origin

import yaml
from msgspec import Struct, ValidationError
from msgspec import convert as msgspec_convert
from msgspec.structs import fields

from serd.config.document import is_null
from serd.config.fields import node_name_from
from serd.config.keys import (
    KEYS,
    SECTIONS,
    allowed,
    alternatives,
    bare,
    choices,
    extra,
    is_section,
    join,
    notes,
)
from serd.config.secrets import MASK, scrubbed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

INVALID: Final = object()
"""The result of a conversion that was reported as a problem."""

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_TRUTH: Final = dict.fromkeys(("true", "yes", "on"), True) | dict.fromkeys(
    ("false", "no", "off"), False
)
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Has no place in names, topics or paths: control characters, and halves of surrogate pairs."""

CREDENTIAL_STORE: Final = Path("/etc/credstore")
"""Where systemd keeps the secrets of its services."""

_MAX_SHOWN: Final = 60


def convert(
    name: str, node: yaml.Node, annotation: Any, report: Callable[[yaml.Node, str], None]
) -> Any:
    """Convert one value.

    Args:
        name: The dotted key.
        node: What was written.
        annotation: Its type in the schema.
        report: Called with the node and a sentence for each problem.

    Returns:
        The value in plain Python types, or ``INVALID`` after a report.
    """
    inner = bare(annotation)
    if is_section(inner):
        return _entry(name, node, inner, report)
    if get_origin(inner) is tuple:
        return _list(name, node, annotation, report)
    for reading in _readings(node):
        try:
            value = msgspec_convert(reading, annotation)
        except ValidationError:
            continue
        return _resolved(value) if isinstance(value, str) and extra(annotation, "path") else value
    report(node, not_allowed(name, node, annotation))
    return INVALID


def _readings(node: yaml.Node) -> Iterator[object]:
    """All that a scalar may mean, in order of preference; anything can be text."""
    if is_null(node):
        yield None
    elif isinstance(node, yaml.ScalarNode) and not _CONTROL.search(node.value):
        if node.style is None:
            if (truth := _TRUTH.get(node.value.casefold())) is not None:
                yield truth
            if _INTEGER.fullmatch(node.value):
                yield int(node.value)
            elif _NUMBER.fullmatch(node.value):
                yield float(node.value)
        yield node.value


def _list(
    name: str, node: yaml.Node, annotation: Any, report: Callable[[yaml.Node, str], None]
) -> Any:
    items = [] if is_null(node) else node.value
    if not (is_null(node) or isinstance(node, yaml.SequenceNode)):
        report(node, not_allowed(name, node, annotation))
        return INVALID
    if len(items) < (notes(annotation).min_length or 0):
        report(node, f"{name} is empty; allowed: {allowed(annotation)}")
        return INVALID
    kind = get_args(bare(annotation))[0]
    values = [convert(f"{name}[{place}]", item, kind, report) for place, item in enumerate(items)]
    return INVALID if INVALID in values else values


def _entry(
    name: str, node: yaml.Node, kind: type[Struct], report: Callable[[yaml.Node, str], None]
) -> Any:
    """Convert a section within a list."""
    if not isinstance(node, yaml.MappingNode):
        report(node, not_allowed(name, node, kind))
        return INVALID
    known = {field.encode_name: field for field in fields(kind)}
    values: dict[str, Any] = {}
    for key, item in node.value:
        if key.value not in known:
            report(key, unknown_key(name, key.value, list(known)))
        elif key.value in values:
            report(key, f"{name}.{key.value} is given twice")
        else:
            annotation = known[key.value].type
            values[key.value] = convert(f"{name}.{key.value}", item, annotation, report)
    for key, field in known.items():
        if field.required and key not in values:
            report(node, f"{name} lacks {key} ({allowed(field.type)})")
            return INVALID
    return INVALID if INVALID in values.values() else values


def _resolved(path: str) -> str:
    """A path with ``~`` expanded; one in systemd's credential store becomes this service's copy.

    A service's user cannot read ``/etc/credstore``. systemd copies each file that the unit names
    (``LoadCredential=``) into ``$CREDENTIALS_DIRECTORY``, readable for that service only
    (systemd.exec(5)). The configuration names the file in the store, so that it also works for a
    command that root runs.
    """
    copies = os.environ.get("CREDENTIALS_DIRECTORY")
    if copies and Path(path).parent == CREDENTIAL_STORE:
        copy = Path(copies) / Path(path).name
        return str(copy) if copy.exists() else path
    try:
        return str(Path(path).expanduser()) if path.startswith("~") else path
    except RuntimeError:  # no such user: whoever opens the file will say so
        return path


# ---------------------------------------------------------------------- sentences


def not_allowed(name: str, node: yaml.Node, annotation: Any) -> str:
    """Sentence about a value that its key does not accept."""
    shown = MASK if extra(annotation, "secret") else shown_value(node)
    sentence = f"{name} = {shown} is not allowed; allowed: {allowed(annotation)}"
    if not isinstance(node, yaml.ScalarNode) or is_null(node):
        return sentence
    if name.rpartition(".")[2] == "node":
        short = node.value.isprintable() and len(node.value) <= 64
        if suggestion := node_name_from(node.value) if short else "":
            sentence += f"; write node: {suggestion}, and name: {shown} for people"
    elif meant := nearest(node.value, choices(annotation)):
        sentence += f"; did you mean {meant}?"
    return sentence


def unknown_key(section: str, name: str, siblings: Sequence[str] | None = None) -> str:
    """Sentence about a key that does not exist, with the nearest one or all that do.

    Args:
        section: Dotted name of the section in which it was found, empty for the top.
        name: The key, possibly dotted.
        siblings: The keys that exist there; from the schema if None.
    """
    dotted = join(section, name)
    if siblings is None:
        siblings = [field.encode_name for field in fields(SECTIONS[section].type)]
    if dotted in KEYS:
        outer, _, leaf = dotted.rpartition(".")
        return f"unknown key {name}; write {leaf} in a section {outer}, without the dot"
    # Besides misspellings, "host" at the top and "mqtt_host" are the usual mistakes.
    by_shape = {key.replace(".", "_"): key for key in KEYS}
    flat = dotted.replace(".", "_").casefold()
    if flat in by_shape:
        meant = [by_shape[flat]]
    elif not (meant := [key for key in KEYS if key.rpartition(".")[2] == name.casefold()]):
        sibling, close = nearest(name, siblings), nearest(flat, by_shape)
        meant = [join(section, sibling)] if sibling else [by_shape[close]] if close else []
    if meant:
        return f"unknown key {dotted}; did you mean {alternatives(meant)}?"
    within = f"in {section}" if section else "at the top"
    return f"unknown key {dotted}; {within} are: {', '.join(siblings)}"


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that somebody who wrote ``word`` probably meant, if there is one."""
    import difflib  # noqa: PLC0415 - only for mistakes

    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def shown_value(node: yaml.Node) -> str:
    """A value as it was written, shortened, without secrets."""
    if not isinstance(node, yaml.ScalarNode):
        return "a section" if isinstance(node, yaml.MappingNode) else "a list"
    if is_null(node):
        return node.value or "(nothing)"
    text = scrubbed(node.value)
    if not text.isprintable():
        text = text.encode("unicode_escape", "replace").decode("ascii")
    text = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
    return text if node.style is None else f'"{text}"'

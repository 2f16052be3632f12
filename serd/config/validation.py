"""Reads values by the schema: msgspec decides what is valid; this says what is wrong with the rest.

A problem is a sentence such as ``config.yaml, line 12: mqtt.port = 0 is not allowed; allowed: a
whole number from 1 to 65535``. Secrets are never repeated in it.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, get_args

import msgspec
import yaml
from msgspec.structs import fields

from serd.config.document import is_null, line_of
from serd.config.fields import node_name_from
from serd.config.keys import (
    KEYS,
    SECTIONS,
    allowed,
    alternatives,
    bare,
    choices,
    extra,
    is_list,
    is_section,
    join,
    notes,
)
from serd.config.secrets import MASK, masked, masked_host, scrubbed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

CREDENTIAL_STORE: Final = Path("/etc/credstore")
"""Where systemd keeps the secrets of its services."""

_INVALID: Final = object()
"""Stands for a value that was reported as a problem."""

_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,18}")
_NUMBER: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,4})?")
_TRUTH: Final = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
"""Not allowed in a text that somebody wrote: control characters, and halves of surrogate pairs."""

_RUN_ON: Final = re.compile(r"(?i)(passw\w*['\"]?:)\S.*")
"""``password:secret``, which YAML takes for one word."""

_MASKED: Final = rf"\1{MASK}"
_MAX_SHOWN: Final = 60


class Layer:
    """The values from one origin: a file, a variable or an option.

    Args:
        origin: Its name, for messages.
        has_lines: Whether messages name lines.
        verbatim: Whether texts are taken as they are, control characters and a leading ``~``
            included: the shell has expanded what it should.
    """

    def __init__(self, origin: str, *, has_lines: bool = False, verbatim: bool = False) -> None:
        self._origin = origin
        self._has_lines = has_lines
        self._verbatim = verbatim
        self.values: dict[str, Any] = {}
        """Valid values in plain Python types, by dotted key."""
        self.origins: dict[str, str] = {}
        """Where each of them comes from, such as ``config.yaml, line 12``."""
        self.problems: list[str] = []

    def report(self, sentence: str, line: int = 0) -> None:
        """Record a problem."""
        self.problems.append(f"{self._place(line)}: {_RUN_ON.sub(_MASKED, sentence)}")

    def read(self, name: str, node: yaml.Node, annotation: Any) -> Any:
        """Read a key, a section, or a value within a list.

        Args:
            name: Its dotted name; that of the whole file is empty.
            node: What was written.
            annotation: Its type in the schema.
        """
        inner = bare(annotation)
        if is_section(inner):
            value = self._read_section(name, node, inner)
        elif is_list(annotation):
            value = self._read_list(name, node, annotation)
        else:
            value = self._read_scalar(name, node, annotation)
        if name in KEYS and value is not _INVALID:
            self.values[name] = value
            self.origins[name] = self._place(line_of(node))
        return value

    def _read_section(self, name: str, node: yaml.Node, kind: type[msgspec.Struct]) -> Any:
        if is_null(node) and name in SECTIONS:
            return {}  # all of its lines are commented out
        if not isinstance(node, yaml.MappingNode):
            return self._refuse(name, node, kind)
        known = {field.encode_name: field for field in fields(kind)}
        values: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key_node, item in node.value:
            key, line = key_node.value, line_of(key_node)
            if key not in known:
                self.report(unknown_key(name, key, list(known)), line)
            elif key in lines:
                first = f" (first in line {lines[key]})" if self._has_lines else ""
                self.report(f"{join(name, key)} is given twice{first}", line)
            else:
                lines[key] = line
                values[key] = self.read(join(name, key), item, known[key].type)
        for key, field in known.items():
            if field.required and key not in values:
                values[key] = _INVALID
                self.report(f"{name} lacks {key} ({allowed(field.type)})", line_of(node))
        return _INVALID if _INVALID in values.values() else values

    def _read_list(self, name: str, node: yaml.Node, annotation: Any) -> Any:
        if not (is_null(node) or isinstance(node, yaml.SequenceNode)):
            return self._refuse(name, node, annotation)
        items = [] if is_null(node) else node.value
        if len(items) < (notes(annotation).min_length or 0):
            self.report(f"{name} is empty; allowed: {allowed(annotation)}", line_of(node))
            return _INVALID
        kind = get_args(bare(annotation))[0]
        values = [self.read(f"{name}[{place}]", item, kind) for place, item in enumerate(items)]
        return _INVALID if _INVALID in values else values

    def _read_scalar(self, name: str, node: yaml.Node, annotation: Any) -> Any:
        for reading in _readings(node, verbatim=self._verbatim):
            try:
                value = msgspec.convert(reading, annotation)
            except msgspec.ValidationError:
                continue
            is_path = isinstance(value, str) and extra(annotation, "path")
            return _resolved(value) if is_path and not self._verbatim else value
        return self._refuse(name, node, annotation)

    def _refuse(self, name: str, node: yaml.Node, annotation: Any) -> object:
        self.report(_not_allowed(name, node, annotation), line_of(node))
        return _INVALID

    def _place(self, line: int) -> str:
        return f"{self._origin}, line {line}" if self._has_lines and line else self._origin


def _readings(node: yaml.Node, *, verbatim: bool) -> Iterator[object]:
    """All that a scalar may mean, in order of preference; anything can be text."""
    if is_null(node):
        yield None
    elif isinstance(node, yaml.ScalarNode) and (verbatim or not _CONTROL.search(node.value)):
        if node.style is None:  # without quotes
            if (truth := _TRUTH.get(node.value.casefold())) is not None:
                yield truth
            if _INTEGER.fullmatch(node.value):
                yield int(node.value)
            elif _NUMBER.fullmatch(node.value):
                yield float(node.value)
        yield node.value


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


def _not_allowed(name: str, node: yaml.Node, annotation: Any) -> str:
    """Sentence about a value that its key does not accept."""
    shown = MASK if extra(annotation, "secret") else _shown(node, name)
    value = f"{name} = {shown}" if name else shown
    sentence = f"{value} is not allowed; allowed: {allowed(annotation)}"
    if not isinstance(node, yaml.ScalarNode) or is_null(node):
        return sentence
    if name.rpartition(".")[2] == "node":
        short = node.value.isprintable() and len(node.value) <= 64
        if suggestion := node_name_from(node.value) if short else "":
            sentence += f"; write node: {suggestion}, and name: {shown} for people"
    elif meant := nearest(node.value, choices(annotation)):
        sentence += f"; did you mean {meant}?"
    return sentence


def _shown(node: yaml.Node, name: str) -> str:
    """A value as it was written, shortened, without logins."""
    if not isinstance(node, yaml.ScalarNode):
        return "a section" if isinstance(node, yaml.MappingNode) else "a list"
    if is_null(node):
        return node.value or "(nothing)"
    text = masked_host(node.value) if name == "mqtt.host" else scrubbed(masked(node.value))
    if not text.isprintable():
        text = text.encode("unicode_escape", "replace").decode("ascii")
    text = text if len(text) <= _MAX_SHOWN else text[: _MAX_SHOWN - 3] + "..."
    return text if node.style is None else f'"{text}"'


def unknown_key(section: str, name: str, siblings: Sequence[str]) -> str:
    """Sentence about a key that does not exist, with the nearest one or all that do.

    Args:
        section: Dotted name of the section in which it was found, empty for the top.
        name: The key, possibly dotted.
        siblings: The keys that exist there.
    """
    dotted = join(section, name)
    if dotted in KEYS:
        outer, _, leaf = dotted.rpartition(".")
        return f"unknown key {name}; write {leaf} in a section {outer}, without the dot"
    # Besides misspellings, "mqtt_host" and "host" at the top are the usual mistakes.
    by_shape = {key.replace(".", "_"): key for key in KEYS}
    shape = dotted.replace(".", "_").casefold()
    meant = [key for key in KEYS if key.rpartition(".")[2] == name.casefold()]
    if shape in by_shape:
        meant = [by_shape[shape]]
    elif not meant and (sibling := nearest(name, siblings)):
        meant = [join(section, sibling)]
    elif not meant and (close := nearest(shape, by_shape)):
        meant = [by_shape[close]]
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

"""What is wrong with a configuration, in sentences that name place, key, value and what is allowed.

A sentence looks like ``config.yaml, line 12: mqtt.port = 0 is not allowed; allowed: a whole number
from 1 to 65535``.
"""

from __future__ import annotations

import difflib
import re
from typing import TYPE_CHECKING, Any, Final

import msgspec.inspect as mi

from serd.config.document import Mapping, Node, Scalar
from serd.config.fields import MAX_TEXT, node_name_from
from serd.config.keys import KEYS, SECTIONS, join
from serd.config.secrets import MASK, scrubbed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_LONGEST_SHOWN: Final = 60

_RUN_ON: Final = re.compile(r"(?i)(passw\w*['\"]?:)\S.*")
"""``password:secret``, which YAML takes for one word."""


def place(origin: str, line: int) -> str:
    """Name a place: ``config.yaml, line 12``; without the line where there is none."""
    return f"{origin}, line {line}" if line else origin


def quoted(value: Node, *, secret: bool = False) -> str:
    """Show a value as it was written, shortened, masked if it is secret."""
    if isinstance(value, Scalar):
        if secret:
            return MASK
        if value.null:
            return value.text or "(nothing)"
        shown = scrubbed(value.text)
        text = shown.encode("unicode_escape", "replace").decode("ascii")
        # Escapes are for what cannot be seen; letters beyond ASCII can.
        text = shown if shown.isprintable() else text
        text = text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."
        return text if value.plain else f'"{text}"'
    return "a section" if isinstance(value, Mapping) else "a list"


def without_passwords(sentence: str) -> str:
    """A sentence in which a password stands because its colon has no space, masked."""
    return _RUN_ON.sub(rf"\1{MASK}", sentence)


def alternatives(words: Sequence[str]) -> str:
    """Join words as ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def nearest(word: str, candidates: Iterable[str]) -> str | None:
    """The candidate that somebody who wrote ``word`` probably meant, if there is one."""
    by_folded = {candidate.casefold(): candidate for candidate in candidates}
    close = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=0.6)
    return by_folded[close[0]] if close else None


def unknown_key(section: str, name: str, siblings: Sequence[str] | None = None) -> str:
    """Sentence about a key that does not exist, with the nearest one or all that do.

    Args:
        section: Dotted name of the section in which it was looked for, empty for the top.
        name: The key, possibly dotted.
        siblings: The keys that do exist there; from the schema if None.
    """
    dotted = join(section, name)
    if siblings is None:
        siblings = [field.encode_name for field in SECTIONS[section].type.fields]
    if dotted in KEYS:
        outer, _, leaf = dotted.rpartition(".")
        return f"unknown key {name}; write {leaf} in a section {outer}, without the dot"
    # "host" at the top and "mqtt_host" are the usual slips beside misspelling.
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


def allowed(kind: mi.Type, words: str | None = None) -> str:
    """What a type accepts, in words.

    Args:
        kind: The type.
        words: What its pattern means, where it has one.

    Returns:
        A noun phrase such as ``a number from 0 to 1, or null``.
    """
    match kind:
        case mi.Metadata():
            phrase = allowed(kind.type, (kind.extra or {}).get("allowed", words))
        case mi.UnionType():
            phrase = ", or ".join(allowed(member, words) for member in kind.types)
        case mi.LiteralType():
            phrase = alternatives([str(value) for value in kind.values])
        case mi.IntType() | mi.FloatType():
            phrase = "a whole number" if isinstance(kind, mi.IntType) else "a number"
            if kind.ge is not None:
                phrase += f" from {kind.ge:.9g} to {kind.le:.9g}"
        case mi.StrType():
            phrase = words or "a line of text"
            if kind.max_length is not None and kind.max_length < MAX_TEXT:
                phrase += f", at most {kind.max_length} characters"
        case mi.VarTupleType():
            some = f"at least {kind.min_length}" if kind.min_length else "any number"
            phrase = f"a list with {some} of: {allowed(kind.item_type)}"
        case mi.StructType():
            phrase = "a section with " + ", ".join(field.encode_name for field in kind.fields)
        case _:
            phrase = {"BoolType": "true or false", "NoneType": "null"}[type(kind).__name__]
    return phrase


def choices(kind: mi.Type) -> list[str]:
    """The words that a type accepts, for a "did you mean"."""
    if isinstance(kind, mi.Metadata):
        return choices(kind.type)
    if isinstance(kind, mi.UnionType):
        return [word for member in kind.types for word in choices(member)]
    return [str(value) for value in kind.values] if isinstance(kind, mi.LiteralType) else []


def not_allowed(name: str, value: Node, kind: mi.Type, extra: dict[str, Any]) -> str:
    """Sentence about a value that its key does not accept."""
    shown = quoted(value, secret=bool(extra.get("secret")))
    sentence = f"{name} = {shown} is not allowed; allowed: {allowed(kind, extra.get('allowed'))}"
    if name.rpartition(".")[2] == "node" and isinstance(value, Scalar) and not value.null:
        node = (
            node_name_from(value.text) if value.text.isprintable() and len(value.text) <= 64 else ""
        )
        return f"{sentence}; write node: {node}, and name: {shown} for people" if node else sentence
    meant = nearest(value.text, choices(kind)) if isinstance(value, Scalar) else None
    return f"{sentence}; did you mean {meant}?" if meant else sentence

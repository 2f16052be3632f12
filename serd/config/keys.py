"""The keys of the configuration as a flat table: dotted name, type, default and description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, get_args, get_origin

from msgspec import NODEFAULT, Meta, Struct
from msgspec.structs import fields

from serd.config.fields import MAX_TEXT
from serd.config.schema import Config

if TYPE_CHECKING:
    from collections.abc import Sequence

    import msgspec.inspect as mi


class Key(Struct, frozen=True, kw_only=True):
    """One thing that can be set."""

    name: str
    """Dotted, as in ``mqtt.tls.ca``."""
    type: Any
    """Its annotation in the schema."""
    description: str
    default: Any
    """The value, or a callable without arguments that returns it (see ``has_fixed_default``)."""
    has_fixed_default: bool
    """False where the default depends on the machine."""
    secret: bool
    """Masked wherever it would be shown."""


def variable(name: str) -> str:
    """The environment variable that sets a key or section, such as ``SERD_MQTT__TLS__CA``."""
    return "SERD_" + name.upper().replace(".", "__")


def join(section: str, name: str) -> str:
    """Dotted name of a key within a section (the top's name is empty)."""
    return f"{section}.{name}" if section else name


def value_of(config: Config, name: str) -> Any:
    """The value of a key by its dotted name."""
    value: Any = config
    for step in name.split("."):
        value = getattr(value, step)
    return value


def put(tree: dict[str, Any], name: str, value: Any) -> None:
    """Set a key in a configuration of plain types, by its dotted name."""
    *sections, leaf = name.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[leaf] = value


def bare(annotation: Any) -> Any:
    """An annotation without its metadata."""
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def notes(annotation: Any) -> Meta:
    """The metadata of an annotation; in a union, that of the first alternative that has some."""
    for alternative in (annotation, *get_args(annotation)):
        for note in getattr(alternative, "__metadata__", ()):
            if isinstance(note, Meta):
                return note
    return Meta()


def extra(annotation: Any, name: str) -> Any:
    """An entry of ``Meta.extra`` (see :mod:`serd.config.fields`); None if there is none."""
    return (notes(annotation).extra or {}).get(name)


def inspected(annotation: Any) -> mi.Type:
    """An annotation as msgspec describes it, with its bounds, without description and notes."""
    import msgspec.inspect as mi  # noqa: PLC0415 - not for starting

    kind = mi.type_info(annotation)
    return kind.type if isinstance(kind, mi.Metadata) else kind


def is_list(annotation: Any) -> bool:
    """Whether a key holds several values."""
    return get_origin(bare(annotation)) is tuple


def is_section(annotation: Any) -> bool:
    """Whether a key holds other keys."""
    return isinstance(annotation, type) and issubclass(annotation, Struct)


def allowed(annotation: Any) -> str:
    """What a key accepts, in words.

    Returns:
        A noun phrase such as ``a number from 0 to 1, or null``.
    """
    import msgspec.inspect as mi  # noqa: PLC0415 - not for starting

    return _allowed(mi.type_info(annotation), None)


def _allowed(kind: mi.Type, words: str | None) -> str:
    import msgspec.inspect as mi  # noqa: PLC0415

    match kind:
        case mi.Metadata():
            phrase = _allowed(kind.type, (kind.extra or {}).get("allowed"))
        case mi.UnionType():
            phrase = ", or ".join(_allowed(member, words) for member in kind.types)
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
            phrase = f"a list with {some} of: {_allowed(kind.item_type, None)}"
        case mi.StructType():
            phrase = "a section with " + ", ".join(field.encode_name for field in kind.fields)
        case _:
            phrase = {"BoolType": "true or false", "NoneType": "null"}[type(kind).__name__]
    return phrase


def choices(annotation: Any) -> list[str]:
    """The fixed words that a key accepts."""
    import msgspec.inspect as mi  # noqa: PLC0415 - not for starting

    kind = inspected(annotation)
    members = kind.types if isinstance(kind, mi.UnionType) else (kind,)
    return [str(word) for one in members if isinstance(one, mi.LiteralType) for word in one.values]


def alternatives(words: Sequence[str]) -> str:
    """Join words as ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(words[:-1]), words[-1])))


def _collect(name: str, section: type[Struct]) -> None:
    SECTIONS[name] = section
    for field in fields(section):
        dotted = join(name, field.encode_name)
        if is_section(field.type):
            _collect(dotted, field.type)
            continue
        fixed = field.default is not NODEFAULT
        KEYS[dotted] = Key(
            name=dotted,
            type=field.type,
            description=notes(field.type).description or "",
            default=field.default if fixed else field.default_factory,
            has_fixed_default=fixed,
            secret=bool(extra(field.type, "secret")),
        )


KEYS: Final[dict[str, Key]] = {}
"""Every key by dotted name, in the order of the schema. Lists are one key each."""

SECTIONS: Final[dict[str, type[Struct]]] = {}
"""Every section by dotted name; that of the whole file is empty."""

_collect("", Config)

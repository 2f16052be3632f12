"""The keys of the schema as a flat table: dotted name, type, default, description, marks."""

from __future__ import annotations

from typing import Any, Final

import msgspec.inspect as mi
from msgspec import NODEFAULT, Struct

from serd.config.schema import Config


class Key(Struct, frozen=True, kw_only=True):
    """One thing that can be set."""

    name: str
    """Dotted, as in ``mqtt.tls.ca``."""
    type: mi.Type
    """What it may hold, without metadata."""
    description: str
    default: Any
    """The value, or a callable without arguments that gives it (see ``has_fixed_default``)."""
    has_fixed_default: bool
    """False where the default depends on the machine."""
    path: bool = False
    secret: bool = False
    allowed: str | None = None
    """What its pattern means, in words."""

    @property
    def variable(self) -> str:
        """The environment variable that sets it, such as ``SERD_MQTT__TLS__CA``."""
        return "SERD_" + self.name.upper().replace(".", "__")

    def default_value(self) -> Any:
        """The default on this machine."""
        return self.default if self.has_fixed_default else self.default()


class Section(Struct, frozen=True, kw_only=True):
    """A group of keys, as in ``mqtt.tls``; the whole file has the empty name."""

    name: str
    description: str
    type: mi.StructType


def bare(kind: mi.Type) -> tuple[mi.Type, str, dict[str, Any]]:
    """Take the metadata off a type.

    Args:
        kind: A type as ``msgspec.inspect`` describes it.

    Returns:
        The type itself, its description and its ``extra``; those of the first alternative that
        has them where it is a union.
    """
    if isinstance(kind, mi.Metadata):
        described = (kind.extra_json_schema or {}).get("description", "")
        return kind.type, described, kind.extra or {}
    if isinstance(kind, mi.UnionType):
        for member in kind.types:
            if isinstance(member, mi.Metadata):
                _, described, extra = bare(member)
                return kind, described, extra
    return kind, "", {}


def join(section: str, name: str) -> str:
    """Dotted name of a key within a section (the top's name is empty)."""
    return f"{section}.{name}" if section else name


def _collect(
    name: str, kind: mi.StructType, keys: dict[str, Key], sections: dict[str, Section]
) -> None:
    description = (kind.cls.__doc__ or "").strip().partition("\n")[0]
    sections[name] = Section(name=name, description=description, type=kind)
    for field in kind.fields:
        dotted = join(name, field.encode_name)
        inner, described, extra = bare(field.type)
        if isinstance(inner, mi.StructType):
            _collect(dotted, inner, keys, sections)
            continue
        fixed = field.default is not NODEFAULT
        keys[dotted] = Key(
            name=dotted,
            type=inner,
            description=described,
            default=field.default if fixed else field.default_factory,
            has_fixed_default=fixed,
            path=bool(extra.get("path")),
            secret=bool(extra.get("secret")),
            allowed=extra.get("allowed"),
        )


KEYS: Final[dict[str, Key]] = {}
"""Every key by dotted name, in the order of the schema. Lists are one key each."""

SECTIONS: Final[dict[str, Section]] = {}
"""Every section by dotted name."""

_root = mi.type_info(Config)
assert isinstance(_root, mi.StructType)  # noqa: S101 - for the type checker
_collect("", _root, KEYS, SECTIONS)

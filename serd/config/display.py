"""Shows a configuration: every value with its origin, secrets masked."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import msgspec
import yaml

from serd.config.keys import KEYS, SECTIONS, put, value_of
from serd.config.secrets import MASK, scrubbed
from serd.config.secrets import masked as masked_url

if TYPE_CHECKING:
    from serd.config.loading import Loaded
    from serd.config.schema import Config


def masked(config: Config) -> dict[str, Any]:
    """The configuration in plain types, nested as in the file, secrets masked."""
    tree: dict[str, Any] = _scrubbed(msgspec.to_builtins(config))
    for key in KEYS.values():
        if key.secret and value_of(config, key.name) is not None:
            put(tree, key.name, MASK)
    sections = (tree["audio"], *(source["audio"] for source in tree["sources"]))
    settings = (config.audio, *(source.audio for source in config.sources))
    for own, audio in zip(settings, sections, strict=True):
        audio["source"] = masked_url(own.source)  # all of it is a URL, spaces included
        if audio["password"] is not None:
            audio["password"] = MASK
    return tree


def _scrubbed(value: Any) -> Any:
    """The same with the login masked in every URL: a word of a hook's command may be one."""
    if isinstance(value, dict):
        return {name: _scrubbed(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_scrubbed(inner) for inner in value]
    return scrubbed(value) if isinstance(value, str) else value


def as_yaml(loaded: Loaded) -> str:
    """The configuration as YAML, the origin of each value in a comment.

    Args:
        loaded: The result of :func:`serd.config.loading.load`.

    Returns:
        A document that loads as the same configuration, except for masked secrets.
    """
    lines = [f"# {loaded.path}" if loaded.path else "# no configuration file"]
    _section(lines, masked(loaded.config), "", loaded.origins)
    return "\n".join(lines) + "\n"


def as_json(loaded: Loaded) -> str:
    """The configuration as one JSON object: ``file``, ``config`` and ``origins``."""
    shown = {
        "file": str(loaded.path) if loaded.path else None,
        "config": masked(loaded.config),
        "origins": loaded.origins,
    }
    return json.dumps(shown, ensure_ascii=False, indent=2) + "\n"


def _section(lines: list[str], tree: dict[str, Any], name: str, origins: dict[str, str]) -> None:
    indent = "  " * (name.count(".") + 1) if name else ""
    values = {f"{name}.{leaf}" if name else leaf: value for leaf, value in tree.items()}
    # Keys before sections: after one they would appear to belong to it.
    for dotted, value in values.items():
        if dotted == "sources" and value:
            lines.append(f"{'sources:':<40}  # {origins[dotted]}")
            lines += [f"  - {_flow(source)}" for source in value]
        elif dotted == "node" and tree["sources"]:
            continue  # each source has its own
        elif dotted in KEYS:
            text = f"{indent}{dotted.rpartition('.')[2]}: {_flow(value)}"
            lines.append(f"{text:<40}  # {origins[dotted]}")
    for dotted, value in values.items():
        if dotted in SECTIONS:
            lines.append(f"{indent}{dotted.rpartition('.')[2]}:")
            _section(lines, value, dotted, origins)


def _flow(value: Any) -> str:
    """One value as YAML in one line."""
    text: str = yaml.safe_dump(
        value, default_flow_style=True, width=float("inf"), allow_unicode=True, sort_keys=False
    )
    return text.removesuffix("...\n").strip()

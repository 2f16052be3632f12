"""Several microphones: what each takes over from the top, and what must hold between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from serd.config.relations import problems_between

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from serd.config.schema import Config, SourceConfig

SECTIONS: Final = ("audio", "speech")
"""Taken over key by key."""

VALUES: Final = ("mute", "quiet_hours")
"""Taken over as a whole."""


def inherit(tree: dict[str, Any]) -> None:
    """Give every source what it does not set itself from the top.

    Args:
        tree: The configuration in plain types, with nothing but what was set; changed in place.
    """
    for source in tree.get("sources", ()):
        own = source.get("audio", {})
        for name in SECTIONS:
            source[name] = {**tree.get(name, {}), **source.get(name, {})}
        # Of the two that exclude each other, the source's own one goes before that at the top.
        for name, other in (("source", "command"), ("command", "source")):
            if name in own and other not in own:
                source["audio"].pop(other, None)
        for name in VALUES:
            if name in tree:
                source.setdefault(name, tree[name])


def problems_of_sources(config: Config, origins: Mapping[str, str]) -> Iterator[str]:
    """Say what is wrong between the sources, and within each.

    Args:
        config: The configuration.
        origins: Where each key's value comes from.

    Yields:
        A sentence for each problem.
    """
    if not config.sources:
        return
    where = origins["sources"]
    if origins["node"] != "default":
        yield (
            f"node = {config.node} ({origins['node']}) has no place beside sources ({where}), each "
            "of which has its own node; leave it out"
        )
    seen: dict[tuple[str, str], tuple[str, str]] = {}
    for index, source in enumerate(config.sources):
        for kind, key, value in _unique(source):
            name = f"sources[{index}].{key}"
            # Topics differ in case, but file systems, people and Home Assistant's ids may not.
            place = (kind, value.casefold())
            if place in seen:
                other, first = seen[place]
                yield f"{name} = {value} ({where}) is the same as {other} = {first}"
            seen.setdefault(place, (name, value))
    common = set(problems_between(config, origins))
    within = {
        key: where if key.partition(".")[0] in SECTIONS else origin
        for key, origin in origins.items()
    }
    for index, single in enumerate(config.each()):
        if set(problems_between(single, origins)) <= common:
            continue
        for problem in problems_between(single, within):
            if problem not in common:
                yield f"sources[{index}]: {problem}"


def _unique(source: SourceConfig) -> Iterator[tuple[str, str, str]]:
    """What no other source may have: its kind, its key and its value."""
    yield "node", "node", source.node
    if source.audio.kind == "mic":
        device = source.audio.device
        yield "device", "audio.device", "null" if device is None else str(device).strip()
    elif source.audio.kind == "stdin":
        yield "source", "audio.source", "-"

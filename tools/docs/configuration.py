"""Prints docs/configuration.md, generated from the schema."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final

import msgspec.inspect as mi

from serd.config.keys import KEYS, SECTIONS, Key, bare
from serd.config.problems import allowed
from serd.config.schema import Hook, QuietHours, SourceConfig

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEAD: Final = """\
# Configuration

<!-- Made of the schema by `make docs`; changes here are overwritten. -->

serd reads one YAML file: the one that `--config` names, else the one that `$SERD_CONFIG` names,
else `./config.yaml`, else `/etc/serd/config.yaml`. None is needed: every key has a default. The
[config.yaml](../config.yaml) of the repository has every key with its default.

A `./config.yaml` that nobody has named is obeyed only if it belongs to you or to root and nobody
else can write it, since a configuration can run programs and send files away; else serd says so
and ends with exit code 78.

A value comes from, the later going before the earlier:

1. the default,
2. the file,
3. an environment variable, such as `SERD_MQTT__HOST` for `mqtt.host`,
4. `--set`, as in `serd run --set mqtt.host=broker`, or an option of the command.

`serd config validate` checks all of it and says everything that is wrong at once, with line, key,
value and what is allowed. `serd config show` prints what holds, and where each value comes from;
passwords are masked. `serd config schema` prints a JSON Schema for editors. `serd check` also
looks at what the configuration names: model, microphone, broker, files.

Units are in the names: `_s` seconds, `_db` decibels, `_dbfs` decibels relative to full scale,
`_hz` hertz. File names may begin with `~`; those that are not absolute are taken from the working
directory. YAML anchors and tags are not used, so a password that begins with a sign such as
`!`, `@`, `%`, `*` or `&` has to be put in quotes. What is written for a key is read as that key's
type: `node: no` is a node called "no".

`systemctl reload serd`, or SIGHUP, loads the file again; a wrong one is reported and the old one
stays.
"""

_DEFAULTS: Final = {
    "node": "the host name",
    "journal.path": "see the text",
}
"""What stands for defaults that depend on the machine."""


def markdown() -> str:
    """The page, Markdown, with every key."""
    return "\n".join([_HEAD, *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    for name, section in SECTIONS.items():
        title = f"`{name}`" if name else "At the top"
        about = "" if not name else f"{section.description}\n"
        yield f"## {title}\n\n{about}" if about else f"## {title}\n"
        keys = [key for key in KEYS.values() if key.name.rpartition(".")[0] == name]
        yield "| key | default | allowed | meaning |"
        yield "|---|---|---|---|"
        for key in keys:
            yield _row(key)
        yield ""
        for key in keys:
            inner = _entries(key.type)
            if inner is not None:
                yield from _entry_table(key, inner)


def _row(key: Key) -> str:
    default = _DEFAULTS.get(key.name) or f"`{_yaml(key.default)}`"
    notes = [key.description]
    if key.secret:
        notes.append("Masked wherever it would be shown.")
    cells = (f"`{key.name}`", default, _allowed(key), " ".join(notes))
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _allowed(key: Key) -> str:
    if _entries(key.type) is not None:
        return "a list, see below"
    return allowed(key.type, key.allowed)


def _entries(kind: mi.Type) -> mi.StructType | None:
    """The struct that a list consists of, if it does."""
    if isinstance(kind, mi.VarTupleType) and isinstance(kind.item_type, mi.StructType):
        return kind.item_type
    return None


def _entry_table(key: Key, kind: mi.StructType) -> Iterator[str]:
    yield f"Each entry of `{key.name}`:\n"
    yield "| key | default | allowed | meaning |"
    yield "|---|---|---|---|"
    for field in kind.fields:
        inner, described, extra = bare(field.type)
        default = "must be given" if field.required else _default(kind, field)
        allowed_values = allowed(inner, extra.get("allowed"))
        if isinstance(inner, mi.StructType):
            described = f"What is different from [`{field.encode_name}`](#{field.encode_name})."
            allowed_values = "any of its keys"
        elif _entries(inner) is not None:
            allowed_values = "a list"
        yield f"| `{field.encode_name}` | {default} | {allowed_values} | {described} |"
    yield ""
    yield _EXAMPLES[kind.cls]


def _default(kind: mi.StructType, field: mi.Field) -> str:
    return "as at the top" if kind.cls is SourceConfig else f"`{_yaml(field.default)}`"


_EXAMPLES: Final[dict[type[Any], str]] = {
    SourceConfig: """\
```yaml
sources:
  - node: living-room
    audio: {device: "usb:0d8c:0014"}
  - node: bedroom
    audio: {device: "usb:08bb:2902", gain_db: 6}
    quiet_hours: [{from: "22:00", to: "07:00"}]
```

[Several microphones](several-microphones.md) tells more. `node` at the top has no place beside it,
and no two sources may have the same node, the same device, or standard input. `mqtt.client_id`, if
set, is followed by `-` and the node.
""",
    Hook: """\
```yaml
hooks:
  - command: [/usr/local/bin/lamp, blue]   # no shell: program and arguments
    emotion: [sad, fearful]
    min_confidence: 0.6
    cooldown_s: 300
```

The program gets the event (see [MQTT](mqtt.md#the-event)) as one line of JSON on its standard
input; it need not read it. Its environment has `PATH`, `HOME`, the language and little else: no
setting and no secret of serd. Every hook has its own queue and thread, so that a slow one delays
neither serd nor another hook; if more than 16 events wait for it, the oldest are dropped and
counted (`hooks_dropped` in the telemetry). A program that takes longer than `timeout_s` is ended,
with everything that it started; a second later it is killed. What it prints is in the log at level
debug; a failure is logged once until it changes.

The cooldown begins with a run, so that an emotion which lasts is told once. Hooks run for events
of this process's nodes alone (the event says which), never for anything that comes over MQTT.
""",
    QuietHours: """\
```yaml
quiet_hours:
  - {from: "22:00", to: "07:00"}
```
""",
}
"""An example for each kind of entry."""


def _yaml(value: Any) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)


if __name__ == "__main__":
    sys.stdout.write(markdown())

"""Prints docs/configuration.md, generated from the schema."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any, Final, get_args

from msgspec import NODEFAULT, Struct
from msgspec.structs import FieldInfo, fields

from serd.config.keys import KEYS, SECTIONS, Key, allowed, bare, is_section, notes
from serd.config.schema import Hook, QuietHours, SourceConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HEAD: Final = """\
# Configuration

<!-- Generated from the schema by `make docs`; changes here are overwritten. -->

serd reads one YAML file: the one named by `--config`, or else by `$SERD_CONFIG`, or else
`./config.yaml`, or else `/etc/serd/config.yaml`. None is required: every key has a default. The
repository's [config.yaml](../config.yaml) contains every key with its default.

A `./config.yaml` that was found and not named is used only if it belongs to you or to root and
nobody else can write it, because a configuration can run programs and send files away. Otherwise
serd says so and exits with code 78.

A value is taken from the last of these that sets it:

1. the default,
2. the file,
3. an environment variable, such as `SERD_MQTT__HOST` for `mqtt.host`,
4. `--set`, as in `serd run --set mqtt.host=broker`, or an option of the command.

`serd config validate` checks everything and reports all problems at once, with line, key, value and
what is allowed. `serd config show` prints the settings in effect and where each comes from, with
passwords masked. `serd config schema` prints a JSON Schema for editors. `serd check` also checks
what the configuration refers to: model, microphone, broker, files.

Units are part of the names: `_s` seconds, `_db` decibels, `_dbfs` decibels relative to full scale,
`_hz` hertz. File names may begin with `~`; relative ones refer to the working directory. YAML
anchors and tags are not supported, so a password that begins with a character such as `!`, `@`,
`%`, `*` or `&` must be put in quotes. A value is read as its key's type: `node: no` is a node
called "no".

`systemctl reload serd`, or SIGHUP, loads the file again; if it is invalid, the error is logged and
the old configuration stays in effect.
"""

_DEFAULTS: Final = {
    "node": "the host name",
    "journal.path": "see the text",
}
"""Shown for defaults that depend on the machine."""


def markdown() -> str:
    """The page in Markdown, with every key."""
    return "\n".join([_HEAD, *_sections()]).rstrip() + "\n"


def _sections() -> Iterator[str]:
    for name, section in SECTIONS.items():
        yield f"## `{name}`\n\n{section.__doc__}\n" if name else "## At the top\n"
        keys = [key for key in KEYS.values() if key.name.rpartition(".")[0] == name]
        yield from _table(map(_row, keys))
        for key in keys:
            if entry := _entry_of(key.type):
                yield f"Each entry of `{key.name}`:\n"
                yield from _table(_entry_row(entry, field) for field in fields(entry))
                yield _EXAMPLES[entry]


def _table(rows: Iterable[tuple[str, str, str, str]]) -> Iterator[str]:
    yield "| key | default | allowed | meaning |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in row)} |"
    yield ""


def _row(key: Key) -> tuple[str, str, str, str]:
    meaning = key.description + (" Masked wherever it would be shown." if key.secret else "")
    accepted = "a list, see below" if _entry_of(key.type) else allowed(key.type)
    return f"`{key.name}`", _DEFAULTS.get(key.name) or _yaml(key.default), accepted, meaning


def _entry_of(annotation: Any) -> type[Struct] | None:
    """The struct of the entries, if the type is a list of structs."""
    inner = next(iter(get_args(bare(annotation))), None)
    return inner if is_section(inner) else None


def _entry_row(entry: type[Struct], field: FieldInfo) -> tuple[str, str, str, str]:
    default = "as at the top" if entry is SourceConfig else _yaml(field.default)
    accepted, meaning = allowed(field.type), notes(field.type).description or ""
    if is_section(field.type):
        meaning = f"What is different from [`{field.encode_name}`](#{field.encode_name})."
        accepted = "any of its keys"
    elif _entry_of(field.type):
        accepted = "a list"
    return (
        f"`{field.encode_name}`",
        "must be given" if field.required else default,
        accepted,
        meaning,
    )


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

See [Several microphones](several-microphones.md). With `sources`, `node` cannot be set at the top,
and no two sources may have the same node, the same device, or standard input. If `mqtt.client_id`
is set, `-` and the node are appended to it.
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
input, which it may ignore. Its environment contains `PATH`, `HOME`, the language and little else,
and none of serd's settings or secrets. Every hook has its own queue and thread, so a slow one
delays neither serd nor other hooks; if more than 16 events are queued for it, the oldest are
dropped and counted (`hooks_dropped` in the telemetry). A program that takes longer than `timeout_s`
is terminated, with everything that it started, and killed a second later. Its output is logged at
level debug; a failure is logged once until it changes.

The cooldown starts with a run, so an emotion that lasts runs the hook only once. Hooks run only for
events of this process's own nodes (the event names the node), never for anything received over
MQTT.
""",
    QuietHours: """\
```yaml
quiet_hours:
  - {from: "22:00", to: "07:00"}
```
""",
}
"""An example of each kind of entry."""


def _yaml(value: Any) -> str:
    shown = list(value) if isinstance(value, tuple) else value
    return f"`{'' if value is NODEFAULT else json.dumps(shown)}`"


if __name__ == "__main__":
    sys.stdout.write(markdown())

"""Loads the configuration: defaults, then the file, then the environment, then the command line.

Every value keeps its origin, and all problems are reported at once. What passes is complete and
consistent: whatever is built from a configuration need not check it again.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import fields

from serd.config.checks import contradictions, inherit, warnings
from serd.config.document import DocumentError, parse, read, scalar
from serd.config.fields import default_journal_path
from serd.config.keys import KEYS, SECTIONS, is_list, put, variable
from serd.config.schema import Config
from serd.config.secrets import is_url
from serd.config.validation import Layer, nearest, unknown_key
from serd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import yaml

SYSTEM_FILE: Final = Path("/etc/serd/config.yaml")
LOCAL_FILE: Final = Path("config.yaml")
NOT_SETTINGS: Final = frozenset({"SERD_CONFIG", "SERD_CORPORA", "SERD_DASHBOARD_TOKEN"})
"""Variables that begin like settings but are not."""

DEFAULT: Final = "default"
"""The origin of a value that nobody has set."""


class Override(Struct, frozen=True):
    """One setting from the command line."""

    key: str
    """Dotted."""
    value: str
    origin: str = "--set"
    """The option that set it, for messages."""
    verbatim: bool = False
    """The value is text already, not YAML; the name of a file may hold any characters."""


class Loaded(Struct, frozen=True, kw_only=True):
    """A valid configuration and where it comes from."""

    config: Config
    path: Path | None
    """The file that was read; None if there is none."""
    origins: dict[str, str]
    """For every dotted key: ``default``, ``FILE, line N``, a variable's name, or an option."""
    warnings: tuple[str, ...] = ()
    """What is valid but unwise."""
    hidden: Path | None = None
    """The service's file, if ``./config.yaml`` was found before it."""


def find(env: Mapping[str, str]) -> Path | None:
    """The configuration file to use when none is named on the command line.

    Args:
        env: Environment variables.

    Returns:
        ``$SERD_CONFIG`` if set, whether it exists or not; otherwise ``./config.yaml`` or
        ``/etc/serd/config.yaml``, whichever exists first; otherwise None. A ``./config.yaml`` that
        sets nothing, like the one in serd's source tree, does not hide ``/etc/serd/config.yaml``.
    """
    if named := env.get("SERD_CONFIG"):
        return Path(named)
    there = [path for path in (LOCAL_FILE, SYSTEM_FILE) if os.path.lexists(path)]
    if len(there) > 1 and _sets_nothing(LOCAL_FILE):
        return SYSTEM_FILE
    return there[0] if there else None


def _sets_nothing(path: Path) -> bool:
    """Whether a file leaves every key at its default."""
    try:
        return path.is_file() and load(path, env={}).config == Config()
    except (ConfigError, UsageError):
        return False


def load(
    path: Path | None,
    *,
    env: Mapping[str, str],
    overrides: Sequence[str | Override] = (),
) -> Loaded:
    """Load the configuration.

    Args:
        path: The file, or None to look for one (see :func:`find`).
        env: Environment variables, usually ``os.environ``.
        overrides: ``KEY=VALUE`` as given to ``--set``, in order; the last one wins.

    Returns:
        The configuration and where it comes from.

    Raises:
        ConfigError: Something is wrong; the message has one line for each problem. Also if the
            ``./config.yaml`` that was found could have been written by somebody else.
        UsageError: An override is not of the form ``KEY=VALUE``.
    """
    named = path is not None or bool(env.get("SERD_CONFIG"))
    path = path or find(env)
    layers = [] if path is None else [_file(path, env=env, named=named or path != LOCAL_FILE)]
    layers += _environment(env)
    layers += [_option(_override(one) if isinstance(one, str) else one) for one in overrides]

    tree: dict[str, Any] = {}
    origins = dict.fromkeys(KEYS, DEFAULT)
    put(tree, "journal.path", default_journal_path(env))
    for layer in layers:
        origins |= layer.origins
        for key, value in layer.values.items():
            put(tree, key, value)
    # Wrong values are reported even where a later layer overrides them.
    _refuse([problem for layer in layers for problem in layer.problems])
    inherit(tree)
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:  # the schema has the last word
        raise ConfigError(f"{path or 'configuration'}: {error}") from None
    _refuse(list(contradictions(config, origins)))
    found_local = not named and path == LOCAL_FILE
    return Loaded(
        config=config,
        path=path,
        origins=origins,
        warnings=tuple(warnings(config, path, origins)),
        hidden=SYSTEM_FILE if found_local and os.path.lexists(SYSTEM_FILE) else None,
    )


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems))


def _file(path: Path, *, env: Mapping[str, str], named: bool) -> Layer:
    layer = Layer(str(path), has_lines=True)
    try:
        layer.read("", parse(read(path, env=env, named=named)), Config)
    except DocumentError as error:
        layer.report(error.reason, error.line)
    return layer


def _environment(env: Mapping[str, str]) -> Iterator[Layer]:
    names = {variable(name): name for name in (*KEYS, *SECTIONS) if name}
    for name, text in env.items():
        if name in names:
            yield _words(Layer(name), names[name], text)
        elif _looks_like_setting(name, names):
            layer = Layer("environment")
            meant = nearest(name, names)
            hint = f"; did you mean {meant}?" if meant else ""
            layer.report(f"no setting is called {name}{hint}")
            yield layer


def _option(override: Override) -> Layer:
    # A file has the name it has, whatever bytes that holds; a URL has none of them.
    verbatim = override.verbatim and not is_url(override.value)
    layer, key = Layer(override.origin, verbatim=verbatim), override.key.strip()
    if key not in KEYS and key not in SECTIONS:
        section, _, name = key.rpartition(".")
        if section not in SECTIONS:
            section, name = "", key
        siblings = [field.encode_name for field in fields(SECTIONS[section])]
        layer.report(unknown_key(section, name, siblings))
    elif override.verbatim:
        # Quoted: a file called "null" is a file called "null".
        layer.read(key, scalar(override.value, quoted=True), KEYS[key].type)
    else:
        _words(layer, key, override.value)
    return layer


def _words(layer: Layer, name: str, text: str) -> Layer:
    """Read a value from an option or a variable: YAML, but single words need no quotes.

    Passwords and file names may contain what YAML would read as a comment or an anchor.
    """
    annotation = KEYS[name].type if name in KEYS else SECTIONS[name]
    text = text.strip()
    is_word = name in KEYS and not is_list(annotation)
    node: yaml.Node = scalar(text)
    if not is_word or text[:1] in {'"', "'"}:
        try:
            node = parse(text)
        except DocumentError as error:
            if not is_word:
                layer.report(f"{name}: {error.reason}")
                return layer
    layer.read(name, node, annotation)
    return layer


def _override(text: str) -> Override:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(
            f"--set {text!r} is not of the form KEY=VALUE",
            remedy="for example --set mqtt.port=1884",
        )
    return Override(key, value)


def _looks_like_setting(variable: str, known: Mapping[str, str]) -> bool:
    if not variable.startswith("SERD_") or variable in NOT_SETTINGS:
        return False
    name = variable.removeprefix("SERD_")
    if "__" in name or name.partition("_")[0].lower() in SECTIONS:
        return True
    # Without the common prefix, which would make all names look alike.
    return nearest(name, (other.removeprefix("SERD_") for other in known)) is not None

"""Loads the configuration: defaults, then the file, then the environment, then the command line.

Every value keeps its origin, and all problems are reported at once. What passes is complete and
consistent: whatever is built from a configuration need not check it again.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import yaml
from msgspec import Struct

from serd.config.checks import contradictions, inherit, warnings
from serd.config.document import DocumentError, is_null, line_of, parse, read, scalar
from serd.config.fields import default_journal_path
from serd.config.keys import KEYS, SECTIONS, join, put, variable
from serd.config.schema import Config
from serd.config.secrets import MASK
from serd.config.validation import INVALID, convert, nearest, not_allowed, unknown_key
from serd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SYSTEM_FILE: Final = Path("/etc/serd/config.yaml")
LOCAL_FILE: Final = Path("config.yaml")
NOT_SETTINGS: Final = frozenset({"SERD_CONFIG", "SERD_CORPORA", "SERD_DASHBOARD_TOKEN"})
"""Variables that begin like settings but are not."""

DEFAULT: Final = "default"
"""The origin of a value that nobody has set."""

_RUN_ON: Final = re.compile(r"(?i)(passw\w*['\"]?:)\S.*")
"""``password:secret``, which YAML takes for one word."""

_MASKED: Final = rf"\1{MASK}"


class Override(Struct, frozen=True):
    """One setting from the command line."""

    key: str
    """Dotted."""
    value: str
    origin: str = "--set"
    """The option that set it, for messages."""
    verbatim: bool = False
    """The value is text already, not YAML."""


class Loaded(Struct, frozen=True, kw_only=True):
    """A valid configuration and where it comes from."""

    config: Config
    path: Path | None
    """The file that was read; None if there is none."""
    origins: dict[str, str]
    """For every dotted key: ``default``, ``FILE, line N``, a variable's name, or an option."""
    warnings: tuple[str, ...] = ()
    """What is valid but unwise."""


class _Origin(Struct, frozen=True):
    """A file, a variable or an option."""

    name: str
    has_lines: bool = False

    def at(self, line: int) -> str:
        """A place in it, such as ``config.yaml, line 12``."""
        return f"{self.name}, line {line}" if self.has_lines and line else self.name


class _Layers:
    """Takes values in rising precedence, and collects problems.

    Wrong values are reported even where a later layer overrides them.
    """

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}
        self.origins: dict[str, str] = dict.fromkeys(KEYS, DEFAULT)
        self.problems: list[str] = []

    def add_file(self, path: Path, *, env: Mapping[str, str], named: bool) -> None:
        origin = _Origin(str(path), has_lines=True)
        try:
            document = parse(read(path, env=env, named=named))
        except DocumentError as error:
            self._report(origin, error.line, error.reason)
        else:
            self._add_section("", document, origin)

    def add_environment(self, env: Mapping[str, str]) -> None:
        names = {variable(name): name for name in (*KEYS, *SECTIONS) if name}
        for name, text in env.items():
            if name in names:
                self._add_text(names[name], text, _Origin(name))
            elif _looks_like_setting(name, names):
                meant = nearest(name, names)
                hint = f"; did you mean {meant}?" if meant else ""
                self._report(_Origin("environment"), 0, f"no setting is called {name}{hint}")

    def add_override(self, override: Override) -> None:
        key, origin = override.key.strip(), _Origin(override.origin)
        if key not in KEYS and key not in SECTIONS:
            section, _, name = key.rpartition(".")
            if section not in SECTIONS:
                section, name = "", key
            self._report(origin, 0, unknown_key(section, name))
        elif override.verbatim:
            # Quoted: a file called "null" is a file called "null".
            self._add(key, scalar(override.value, quoted=True), origin)
        else:
            self._add_text(key, override.value, origin)

    def _add_text(self, name: str, text: str, origin: _Origin) -> None:
        """Add a value from an option or a variable: YAML, but single words need no quotes.

        Passwords and file names may contain what YAML would read as a comment or an anchor.
        """
        text = text.strip()
        is_word = name in KEYS and not KEYS[name].is_list
        node: yaml.Node = scalar(text)
        if not is_word or text[:1] in {'"', "'"}:
            try:
                node = parse(text)
            except DocumentError as error:
                if not is_word:
                    self._report(origin, 0, f"{name}: {error.reason}")
                    return
        if name in KEYS:
            self._add(name, node, origin)
        else:
            self._add_section(name, node, origin)

    def _add_section(self, section: str, node: yaml.Node, origin: _Origin) -> None:
        """Add the keys of a section, and of the sections within it."""
        if is_null(node):
            return  # every line of the section is commented out
        if not isinstance(node, yaml.MappingNode):
            sentence = not_allowed(section, node, SECTIONS[section].type)
            self._report(origin, line_of(node), sentence.removeprefix(" = "))
            return
        first_lines: dict[str, int] = {}
        for key, value in node.value:
            name, line = key.value, line_of(key)
            dotted = join(section, name)
            if name in first_lines:
                first = f" (first in line {first_lines[name]})" if origin.has_lines else ""
                self._report(origin, line, f"{dotted} is given twice{first}")
                continue
            first_lines[name] = line
            if "." not in name and dotted in SECTIONS:
                self._add_section(dotted, value, origin)
            elif "." not in name and dotted in KEYS:
                self._add(dotted, value, origin)
            else:
                self._report(origin, line, unknown_key(section, name))

    def _add(self, key: str, node: yaml.Node, origin: _Origin) -> None:
        def report(wrong: yaml.Node, sentence: str) -> None:
            self._report(origin, line_of(wrong), sentence)

        value = convert(key, node, KEYS[key].type, report)
        if value is not INVALID:
            put(self.tree, key, value)
            self.origins[key] = origin.at(line_of(node))

    def _report(self, origin: _Origin, line: int, sentence: str) -> None:
        self.problems.append(f"{origin.at(line)}: {_RUN_ON.sub(_MASKED, sentence)}")


def find(env: Mapping[str, str]) -> Path | None:
    """The configuration file that is used when none is named on the command line.

    Args:
        env: Environment variables.

    Returns:
        ``$SERD_CONFIG`` if set, whether it exists or not; else ``./config.yaml``, else
        ``/etc/serd/config.yaml``, if there; else None. A ``./config.yaml`` that sets nothing does
        not go before ``/etc/serd/config.yaml``: whoever is in a clone means the service.
    """
    if named := env.get("SERD_CONFIG"):
        return Path(named)
    there = [path for path in (LOCAL_FILE, SYSTEM_FILE) if os.path.lexists(path)]
    if len(there) > 1 and _sets_nothing(LOCAL_FILE):
        return SYSTEM_FILE
    return there[0] if there else None


def _sets_nothing(path: Path) -> bool:
    """Whether a file has every key at its default, as the one in serd's source tree."""
    try:
        return path.is_file() and load(path, env={}).config == Config()
    except (ConfigError, UsageError):
        return False


def passed_over(path: Path | None, env: Mapping[str, str]) -> Path | None:
    """The service's file, if one that merely lies in the working directory goes before it.

    Args:
        path: As given to :func:`load`.
        env: Environment variables.
    """
    if path is not None or env.get("SERD_CONFIG") or find(env) != LOCAL_FILE:
        return None
    return SYSTEM_FILE if os.path.lexists(SYSTEM_FILE) else None


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
    layers = _Layers()
    put(layers.tree, "journal.path", default_journal_path(env))
    if path is not None:
        layers.add_file(path, env=env, named=named or path != LOCAL_FILE)
    layers.add_environment(env)
    for override in overrides:
        layers.add_override(_override(override) if isinstance(override, str) else override)
    _refuse(layers.problems)
    inherit(layers.tree)
    try:
        config = msgspec.convert(layers.tree, Config)
    except msgspec.ValidationError as error:  # the schema has the last word
        raise ConfigError(f"{path or 'configuration'}: {error}") from None
    origins = layers.origins
    _refuse(list(contradictions(config, origins)))
    return Loaded(
        config=config, path=path, origins=origins, warnings=tuple(warnings(config, path, origins))
    )


def _refuse(problems: Sequence[str]) -> None:
    if problems:
        raise ConfigError("\n".join(problems))


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
    # Without what all have in common, which would make everything look alike.
    return nearest(name, (other.removeprefix("SERD_") for other in known)) is not None

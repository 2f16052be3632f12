"""Loading: defaults, then the file, then the environment, then the command line.

Every value keeps its origin, and all that is wrong is said at once.
"""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import msgspec.inspect as mi
from msgspec import Struct

from serd.config.checks import inherit, problems_between, problems_of_sources, value_of
from serd.config.convert import INVALID, Converter
from serd.config.document import DocumentError, Mapping, Node, Scalar, parse, read
from serd.config.fields import default_journal_path
from serd.config.keys import KEYS, SECTIONS, Key, Section, join
from serd.config.problems import (
    allowed,
    nearest,
    place,
    quoted,
    unknown_key,
    without_passwords,
)
from serd.config.schema import Config
from serd.config.secrets import holds_secret
from serd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from collections.abc import Mapping as MappingOf

SYSTEM_FILE: Final = Path("/etc/serd/config.yaml")
LOCAL_FILE: Final = Path("config.yaml")
NOT_SETTINGS: Final = frozenset({"SERD_CONFIG", "SERD_CORPORA", "SERD_DASHBOARD_TOKEN"})
"""Variables that begin like settings and are none."""

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


class _Assignment(Struct, frozen=True):
    key: str
    node: Node
    origin: str


class _Sources:
    """Collects assignments in rising precedence, and problems."""

    def __init__(self) -> None:
        self.assignments: list[_Assignment] = []
        self._problems: list[tuple[int, str]] = []

    @property
    def problems(self) -> list[str]:
        """A sentence for each problem, in the order of the file's lines."""
        # Options and the environment have line 0, but are read after the file.
        by_line = sorted(self._problems, key=lambda problem: problem[0] or math.inf)
        return [sentence for _, sentence in by_line]

    def _problem(self, origin: str, line: int, sentence: str) -> None:
        self._problems.append((line, f"{place(origin, line)}: {without_passwords(sentence)}"))

    def file(self, path: Path, *, env: MappingOf[str, str], named: bool) -> None:
        try:
            document = parse(read(path, env=env, named=named))
        except DocumentError as error:
            self._problem(str(path), error.line, error.reason)
            return
        self._spread(SECTIONS[""], document, str(path))

    def environment(self, env: MappingOf[str, str]) -> None:
        known = {key.variable: key.name for key in KEYS.values()}
        known |= {"SERD_" + name.upper().replace(".", "__"): name for name in SECTIONS if name}
        for variable, text in env.items():
            if variable in known:
                self._text(known[variable], text, variable)
            elif _looks_like_setting(variable, known):
                meant = nearest(variable, known)
                hint = f"; did you mean {meant}?" if meant else ""
                self._problem("environment", 0, f"no setting is called {variable}{hint}")

    def override(self, override: Override) -> None:
        key = override.key.strip()
        if key not in KEYS and key not in SECTIONS:
            section, _, name = key.rpartition(".")
            if section not in SECTIONS:
                section, name = "", key
            self._problem(override.origin, 0, unknown_key(section, name))
        elif override.verbatim:
            # Not plain: a file called "null" is a file called "null".
            node = Scalar(override.value, plain=False)
            self.assignments.append(_Assignment(key, node, override.origin))
        else:
            self._text(key, override.value, override.origin)

    def _text(self, name: str, text: str, origin: str) -> None:
        """Take a value from an option or a variable: YAML, but single words need no quoting.

        Passwords and file names may hold what YAML would read as a comment or an anchor.
        """
        text = text.strip()
        key = KEYS.get(name)
        is_word = key is not None and not isinstance(key.type, mi.VarTupleType)
        node: Node = Scalar(text)
        if not is_word or text[:1] in {'"', "'"}:
            try:
                node = _without_lines(parse(text))
            except DocumentError as error:
                if not is_word:
                    self._problem(origin, 0, f"{name}: {error.reason}")
                    return
        if key is None:
            self._spread(SECTIONS[name], node, origin)
        else:
            self.assignments.append(_Assignment(name, node, origin))

    def _spread(self, section: Section, node: Node, origin: str) -> None:
        """Take the keys of a section, and of the sections within it."""
        if isinstance(node, Scalar) and node.null:
            return  # a section whose every line is commented out
        if not isinstance(node, Mapping):
            what = f"{section.name} = {quoted(node)}" if section.name else quoted(node)
            sentence = f"{what} is not allowed; allowed: {allowed(section.type)}"
            self._problem(origin, node.line, sentence)
            return
        first_lines: dict[str, int] = {}
        for name, value, line in node.items:
            dotted = join(section.name, name)
            if name in first_lines:
                first = f" (first in line {first_lines[name]})" if line else ""
                self._problem(origin, line, f"{dotted} is given twice{first}")
                continue
            first_lines[name] = line
            if "." not in name and dotted in SECTIONS:
                self._spread(SECTIONS[dotted], value, origin)
            elif "." not in name and dotted in KEYS:
                self.assignments.append(_Assignment(dotted, value, origin))
            else:
                self._problem(origin, line, unknown_key(section.name, name))

    def values(self) -> Iterator[tuple[Key, Any, str]]:
        """Convert every assignment; wrong ones are reported even where overridden."""
        for assignment in self.assignments:
            key = KEYS[assignment.key]
            origin = assignment.origin

            def report(line: int, sentence: str, origin: str = origin) -> None:
                self._problem(origin, line, sentence)

            kind = mi.Metadata(
                key.type, extra={"path": key.path, "secret": key.secret, "allowed": key.allowed}
            )
            value = Converter(report).value(key.name, assignment.node, kind)
            if value is not INVALID:
                yield key, value, place(origin, assignment.node.line)


def find(env: MappingOf[str, str]) -> Path | None:
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


def passed_over(path: Path | None, env: MappingOf[str, str]) -> Path | None:
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
    env: MappingOf[str, str],
    overrides: Sequence[str | Override] = (),
) -> Loaded:
    """Load the configuration.

    Args:
        path: The file, or None to look for one (see :func:`find`).
        env: Environment variables, usually ``os.environ``.
        overrides: ``KEY=VALUE`` as given to ``--set``, in order, the last one winning.

    Returns:
        The configuration and where it comes from.

    Raises:
        ConfigError: If anything is wrong; the message has one line for each problem. Also if the
            ``./config.yaml`` that was found could have been written by somebody else.
        UsageError: If an override is not of the form ``KEY=VALUE``.
    """
    named = path is not None or bool(env.get("SERD_CONFIG"))
    path = path or find(env)
    sources = _Sources()
    if path is not None:
        sources.file(path, env=env, named=named or path != LOCAL_FILE)
    sources.environment(env)
    for override in overrides:
        sources.override(_override(override) if isinstance(override, str) else override)

    origins = dict.fromkeys(KEYS, DEFAULT)
    tree: dict[str, Any] = {}
    _plant(tree, "journal.path", default_journal_path(env))
    for key, value, origin in sources.values():
        origins[key.name] = origin
        _plant(tree, key.name, value)
    if problems := sources.problems:
        raise ConfigError("\n".join(problems))
    inherit(tree)
    try:
        config = msgspec.convert(tree, Config)
    except msgspec.ValidationError as error:  # the schema has the last word
        raise ConfigError(f"{path or 'configuration'}: {error}") from None
    contradictions = [*problems_between(config, origins), *problems_of_sources(config, origins)]
    if contradictions:
        raise ConfigError("\n".join(contradictions))
    return Loaded(
        config=config, path=path, origins=origins, warnings=tuple(_warnings(config, path, origins))
    )


def _override(text: str) -> Override:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(
            f"--set {text!r} is not of the form KEY=VALUE",
            remedy="for example --set mqtt.port=1884",
        )
    return Override(key, value)


def _without_lines(node: Node) -> Node:
    """The tree without line numbers, which say nothing about an option's value."""
    if isinstance(node, Scalar):
        return Scalar(node.text, node.plain)
    if isinstance(node, Mapping):
        return Mapping(tuple((name, _without_lines(value), 0) for name, value, _ in node.items))
    return type(node)(tuple(_without_lines(item) for item in node.items))


def _looks_like_setting(variable: str, known: MappingOf[str, str]) -> bool:
    if not variable.startswith("SERD_") or variable in NOT_SETTINGS:
        return False
    name = variable.removeprefix("SERD_")
    if "__" in name or name.partition("_")[0].lower() in SECTIONS:
        return True
    # Without what all have in common, which would make everything look alike.
    return nearest(name, (other.removeprefix("SERD_") for other in known)) is not None


def _plant(tree: dict[str, Any], dotted: str, value: Any) -> None:
    *sections, leaf = dotted.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
    tree[leaf] = value


def _warnings(config: Config, path: Path | None, origins: dict[str, str]) -> Iterator[str]:
    for name, remedy in _shown_secrets(config):
        if origins[name].startswith("--"):
            yield f"{origins[name]} {name}: every user of this machine can see it; use {remedy}"
        elif path is not None and origins[name].startswith(str(path)) and _open_to_all(path):
            yield f"{path}: holds {name} and can be read by every user; chmod 600 {path}"


def _shown_secrets(config: Config) -> Iterator[tuple[str, str]]:
    """Every key whose value holds a secret, and what to use instead."""
    for key in KEYS.values():
        if key.secret and value_of(config, key.name) is not None:
            yield key.name, f"{key.name}_file"
    if holds_secret(config.audio.source):
        yield "audio.source", "audio.password_file"
    if any(
        holds_secret(source.audio.source) or source.audio.password is not None
        for source in config.sources
    ):
        yield "sources", "audio.password_file"


def _open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & 0o004)
    except OSError:
        return False

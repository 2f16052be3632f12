"""YAML text as a tree whose every value knows its line.

The schema decides later what a value means, so that ``node: no`` is the text "no" and
``mute: no`` is false. Only mappings, lists and scalars exist here: no tags that build objects, no
anchors (which a file of a few kilobytes could use to stand for gigabytes).
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any, Final

import yaml
from msgspec import Struct

from serd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LARGEST: Final = 1_000_000
"""Characters. A configuration is a few thousand."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})


class Scalar(Struct, frozen=True):
    """One value as it was written."""

    text: str
    plain: bool = True
    """Written without quotes, so that it may be a number, truth value or null."""
    line: int = 0

    @property
    def null(self) -> bool:
        """Whether it says "nothing"."""
        return self.plain and self.text in _NULL


class List(Struct, frozen=True):
    """Values in a row."""

    items: tuple[Node, ...]
    line: int = 0


class Mapping(Struct, frozen=True):
    """Keys and values in the order of the file; a key may stand there twice."""

    items: tuple[tuple[str, Node, int], ...]
    """Key, value, line of the key."""
    line: int = 0


Node = Scalar | List | Mapping


class DocumentError(Exception):
    """The text is not YAML as serd reads it.

    Args:
        reason: What is wrong, without the place.
        line: 1-based, 0 if unknown.
    """

    def __init__(self, reason: str, line: int = 0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise DocumentError(
                "anchors and aliases (& and *) are not used here; put a value that begins so in "
                "quotes", _line(event)
            )  # fmt: skip
        if getattr(event, "tag", None) is not None:
            # Without the tag itself: it may be a password that begins with an exclamation mark.
            raise DocumentError(
                "tags (!) are not used here; put a value that begins with ! in quotes",
                _line(event),
            )
        return super().compose_node(parent, index)


def parse(text: str) -> Node:
    """Parse one YAML document.

    Args:
        text: The document; empty gives a null scalar.

    Returns:
        The tree.

    Raises:
        DocumentError: If it is not YAML, or uses tags or anchors, or is absurdly large or deep.
    """
    if len(text) > LARGEST:
        raise DocumentError(f"longer than {LARGEST} characters")
    try:
        loader = _Loader(text)
        try:
            node = loader.get_single_node()
        finally:
            loader.dispose()
        return Scalar("") if node is None else _convert(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = _plainly(error.problem or error.context or "unreadable")
        raise DocumentError(f"not valid YAML: {reason}", mark.line + 1 if mark else 0) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reason = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise DocumentError(reason, line) from None
    except RecursionError:
        raise DocumentError("nested too deeply") from None


def _plainly(problem: str) -> str:
    """Say a parser's complaint in a user's words, and without a letter of what it has read.

    The parser quotes what it met, and that may be part of a password.
    """
    if "cannot start any token" in problem and "'\\t'" in problem:
        return "a line begins with a tab; YAML is indented with spaces"
    if problem.startswith("mapping values are not allowed"):
        return "a colon where none can stand; check the indentation, or put the value in quotes"
    plain = re.sub(r",?\s*(but )?(got|found) .*", "", problem, flags=re.DOTALL)
    if plain and plain != problem:
        return f"{plain}; put the value in quotes if it is a text"
    if re.search(r"found (character|undefined|unknown|duplicate)|'", problem):
        return "a value that begins with a sign such as ! @ % & * has to be put in quotes"
    return re.sub(r"^but found", "found", problem)


def _line(event_or_node: Any) -> int:
    return int(event_or_node.start_mark.line) + 1


def _convert(node: yaml.Node) -> Node:
    line = _line(node)
    if isinstance(node, yaml.ScalarNode):
        return Scalar(node.value, node.style is None, line)
    if isinstance(node, yaml.SequenceNode):
        return List(tuple(_convert(item) for item in node.value), line)
    items = []
    for key, value in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise DocumentError("a key must be a word", _line(key))
        items.append((str(key.value), _convert(value), _line(key)))
    return Mapping(tuple(items), line)


_LARGEST_BYTES: Final = 4 * LARGEST + 3
"""Of so many bytes at most are so many characters, and a byte order mark."""


def read(path: Path, *, env: Mapping[str, str], named: bool) -> str:
    """The text of a configuration file.

    Args:
        path: The file.
        env: Environment variables.
        named: Whether somebody has named this very file. One that merely lies in the working
            directory is obeyed only if nobody but the caller and root can have written it: a
            configuration names programs to run and files whose content is sent away.

    Raises:
        ConfigError: If it cannot be read, or is not to be obeyed.
        DocumentError: If it is not text, or absurdly long.
    """
    try:
        # Not blocking: what lies there unasked might be a pipe that nobody writes into.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if named else os.O_NONBLOCK))
        with os.fdopen(handle, "rb") as file:
            if not named:
                _check_owner(path, os.fstat(handle), env)
            content = file.read(_LARGEST_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"{path}: the configuration file cannot be read: {reason}",
            remedy="name another with --config, or correct $SERD_CONFIG",
        ) from None
    if len(content) > _LARGEST_BYTES:
        raise DocumentError(f"longer than {LARGEST} characters")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DocumentError("not UTF-8 text", line) from None


def _check_owner(path: Path, opened: os.stat_result, env: Mapping[str, str]) -> None:
    callers = {0, os.geteuid()}
    # Who calls sudo in a directory of their own means that directory's file.
    if os.geteuid() == 0 and (caller := env.get("SUDO_UID", "")).isdecimal():
        callers.add(int(caller))
    owners = {opened.st_uid, os.lstat(path).st_uid}  # of the file, and of a link to it
    reason = None
    if not stat.S_ISREG(opened.st_mode):
        reason = "it is no file"
    elif strangers := owners - callers:
        reason = f"it belongs to {_name_of(strangers.pop())}"
    elif opened.st_mode & stat.S_IWOTH:
        reason = "every user of this machine can write it"
    elif opened.st_mode & stat.S_IWGRP and not _private(opened):
        reason = "other users of its group can write it"
    if reason is not None:
        raise ConfigError(
            f"{path.absolute()} is not obeyed: {reason}, and a configuration can run programs and "
            "send files away",
            remedy=f"if you trust it, name it: --config ./{path}; or make it yours: "
            f"chown and chmod go-w {path}",
        )


def _private(status: os.stat_result) -> bool:
    """Whether a file's group is the one that its owner alone is in, as Debian makes them."""
    import grp  # noqa: PLC0415 - seldom needed
    import pwd  # noqa: PLC0415

    try:
        group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(status.st_uid)
    except KeyError:
        return False
    return group.gr_name == owner.pw_name and not set(group.gr_mem) - {owner.pw_name}


def _name_of(user: int) -> str:
    import pwd  # noqa: PLC0415 - seldom needed

    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"the user {user}"

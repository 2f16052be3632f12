"""A YAML file as a tree of nodes that know their lines.

The schema decides later what a value means, so that ``node: no`` is the text "no" and ``mute: no``
is false. Tags and anchors are refused: tags could build objects, and a few kilobytes of anchors can
stand for gigabytes.
"""

from __future__ import annotations

import os
import re
import stat
from typing import TYPE_CHECKING, Any, Final

import yaml

from serd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MAX_CHARACTERS: Final = 1_000_000
"""Longest document. A configuration has a few thousand characters."""

_MAX_BYTES: Final = 4 * MAX_CHARACTERS + 3
"""The same in UTF-8 at most, with a byte order mark."""

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})


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


def scalar(text: str, *, quoted: bool = False) -> yaml.ScalarNode:
    """A value that does not come from a document.

    Args:
        text: The value.
        quoted: Whether it can only be text, never a number, truth value or null.
    """
    return yaml.ScalarNode("", text, style='"' if quoted else None)


def line_of(node: Any) -> int:
    """The line where a node (or a parser's event) begins, from 1; 0 if it has none."""
    return 0 if node.start_mark is None else int(node.start_mark.line) + 1


def is_null(node: yaml.Node) -> bool:
    """Whether a node is null, or empty."""
    return isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NULL


def parse(text: str) -> yaml.Node:
    """Parse one YAML document.

    Args:
        text: The document; an empty one is null.

    Returns:
        Its root: a mapping whose keys are scalars (and may be given twice), a sequence or a scalar.

    Raises:
        DocumentError: It is not YAML, uses tags or anchors, or is absurdly large or deep.
    """
    if len(text) > MAX_CHARACTERS:
        raise DocumentError(f"longer than {MAX_CHARACTERS} characters")
    try:
        loader = _Loader(text)
        try:
            return loader.get_single_node() or scalar("")
        finally:
            loader.dispose()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        reason = _plain_reason(error.problem or error.context or "unreadable")
        raise DocumentError(f"not valid YAML: {reason}", mark.line + 1 if mark else 0) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        reason = f"the character U+{ord(text[error.position]):04X} is not allowed in YAML"
        raise DocumentError(reason, line) from None
    except RecursionError:
        raise DocumentError("nested too deeply") from None


class _Loader(yaml.SafeLoader):
    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None) is not None:
            raise DocumentError(
                "anchors and aliases (& and *) are not used here; put a value that begins so in "
                "quotes", line_of(event)
            )  # fmt: skip
        if getattr(event, "tag", None) is not None:
            # The tag itself is not shown: it may be a password that begins with "!".
            raise DocumentError(
                "tags (!) are not used here; put a value that begins with ! in quotes",
                line_of(event),
            )
        is_key = isinstance(parent, yaml.MappingNode) and index is None
        if is_key and not isinstance(event, yaml.ScalarEvent):
            raise DocumentError("a key must be a word", line_of(event))
        return super().compose_node(parent, index)


def _plain_reason(problem: str) -> str:
    """A parser's complaint in plain words.

    It must not repeat what the parser has read, which may be part of a password.
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


def read(path: Path, *, env: Mapping[str, str], named: bool) -> str:
    """Read a configuration file.

    Args:
        path: The file.
        env: Environment variables.
        named: Whether the user named this file. One that merely lies in the working directory is
            used only if nobody but the caller and root can have written it, because a configuration
            can run programs and send files away.

    Raises:
        ConfigError: It cannot be read, or must not be used.
        DocumentError: It is not text, or absurdly long.
    """
    try:
        # Not blocking: an unnamed file might be a pipe that nobody writes into.
        handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (0 if named else os.O_NONBLOCK))
        with os.fdopen(handle, "rb") as file:
            if not named:
                _check_owner(path, os.fstat(handle), env)
            content = file.read(_MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"{path}: the configuration file cannot be read: {reason}",
            remedy="name another with --config, or correct $SERD_CONFIG",
        ) from None
    if len(content) > _MAX_BYTES:
        raise DocumentError(f"longer than {MAX_CHARACTERS} characters")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise DocumentError("not UTF-8 text", line) from None


def _check_owner(path: Path, status: os.stat_result, env: Mapping[str, str]) -> None:
    trusted = {0, os.geteuid()}
    # Whoever runs sudo in a directory of their own means that directory's file.
    if os.geteuid() == 0 and (caller := env.get("SUDO_UID", "")).isdecimal():
        trusted.add(int(caller))
    owners = {status.st_uid, os.lstat(path).st_uid}  # of the file, and of a link to it
    reason = None
    if not stat.S_ISREG(status.st_mode):
        reason = "it is not a regular file"
    elif strangers := owners - trusted:
        reason = f"it belongs to {_user_name(strangers.pop())}"
    elif status.st_mode & stat.S_IWOTH:
        reason = "every user of this machine can write it"
    elif status.st_mode & stat.S_IWGRP and not _has_private_group(status):
        reason = "other users of its group can write it"
    if reason is not None:
        raise ConfigError(
            f"{path.absolute()} is not used: {reason}, and a configuration can run programs and "
            "send files away",
            remedy=f"if you trust it, name it: --config ./{path}; or make it yours: "
            f"chown and chmod go-w {path}",
        )


def _has_private_group(status: os.stat_result) -> bool:
    """Whether a file's group has only its owner as a member, as Debian sets users up."""
    import grp  # noqa: PLC0415 - seldom needed
    import pwd  # noqa: PLC0415

    try:
        group, owner = grp.getgrgid(status.st_gid), pwd.getpwuid(status.st_uid)
    except KeyError:
        return False
    return group.gr_name == owner.pw_name and not set(group.gr_mem) - {owner.pw_name}


def _user_name(user: int) -> str:
    import pwd  # noqa: PLC0415 - seldom needed

    try:
        return f"the user {pwd.getpwuid(user).pw_name}"
    except KeyError:
        return f"the user {user}"

"""Reading a configuration file: whose it may be, and how much of it is read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, Final

from serd.config.document import LARGEST, DocumentError
from serd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

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

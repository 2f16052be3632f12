"""Defaults that depend on the machine."""

from __future__ import annotations

import os
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def default_node() -> str:
    """Name of this machine as a node name.

    Returns:
        The host name up to its first dot, each run of other characters than letters, digits, ``_``
        and ``-`` replaced by one ``-``, at most 64 characters; ``serd`` if nothing is left of it.
    """
    name = re.sub("[^a-zA-Z0-9_-]+", "-", socket.gethostname().split(".")[0]).strip("-")
    return name[:64] or "serd"


def default_journal_path(env: Mapping[str, str] | None = None) -> str:
    """Where the journal lies if nobody says otherwise.

    Args:
        env: Environment variables; the process's own if None.

    Returns:
        ``journal.db`` in systemd's ``$STATE_DIRECTORY`` (its first entry), else in ``serd`` under
        ``$XDG_STATE_HOME``, else under ``~/.local/state`` (XDG Base Directory Specification 0.8).
    """
    env = os.environ if env is None else env
    if state := env.get("STATE_DIRECTORY", "").split(":")[0]:
        return str(Path(state) / "journal.db")
    # The specification says that a relative path here is invalid and to be ignored.
    home = Path(env.get("XDG_STATE_HOME", ""))
    if not home.is_absolute():
        home = Path(env.get("HOME") or Path.home()) / ".local" / "state"
    return str(home / "serd" / "journal.db")

"""Text from outside, made fit for a terminal or a log: what is printed shall only be read.

A node's name in a message, a file's name, a key of a configuration: whoever chose them may have put
in what moves a terminal's cursor, changes its title, or looks like another line of ours. There is
one rule for all of it, and all commands and the log print by it (:func:`serd.cli.terminal.echo`,
:mod:`serd.logs`).
"""

from __future__ import annotations

import re
from typing import Final

_INVISIBLE: Final = (
    "\x00-\x1f\x7f-\x9f"  # controls, of which ESC and CSI begin a terminal's commands
    "\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # unseen, or reversing
    "\ud800-\udfff"  # bytes of a file's name that are no UTF-8
)
_ANY: Final = re.compile(f"[{_INVISIBLE}]")
_BUT_LINES: Final = re.compile(f"(?![\\n\\t])[{_INVISIBLE}]")


def harmless(text: str, *, lines: bool = False) -> str:
    r"""Replace what a terminal would obey, and what nobody can see, by ``\uXXXX``.

    That is also how JSON writes it, so a JSON text stays one and means the same.

    Args:
        text: Anything.
        lines: Line feeds and tabs are ours, and stay.
    """
    pattern = _BUT_LINES if lines else _ANY
    return pattern.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

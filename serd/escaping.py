"""Makes untrusted text safe to print on a terminal or in a log.

A node's name in a message, a file name or a configuration key may contain sequences that move the
cursor, change the terminal's title or imitate another log line. All commands and the log escape
such text in the same way (:func:`serd.cli.terminal.echo`, :mod:`serd.logs`).
"""

from __future__ import annotations

import re
from typing import Final

_INVISIBLE: Final = (
    "\x00-\x1f\x7f-\x9f"  # controls; ESC and CSI start terminal commands
    "\u00ad\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"  # invisible or bidi
    "\ud800-\udfff"  # bytes of a file name that are not UTF-8
)
_ANY: Final = re.compile(f"[{_INVISIBLE}]")
_BUT_LINES: Final = re.compile(f"(?![\\n\\t])[{_INVISIBLE}]")


def escape_controls(text: str, *, lines: bool = False) -> str:
    r"""Replace control and invisible characters with ``\uXXXX``.

    JSON uses the same notation, so a JSON text keeps its meaning.

    Args:
        text: Any text.
        lines: Keep line feeds and tabs.
    """
    pattern = _BUT_LINES if lines else _ANY
    return pattern.sub(lambda found: f"\\u{ord(found[0]):04x}", text)

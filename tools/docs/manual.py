"""Manual pages generated from ``--help``: ``python -m tools.docs.manual FOLDER``, one per command.

The markup is described in man(7).
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from serd.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_FILES: Final = """\
.SH FILES
.TP
.I ./config.yaml\\fR, \\fI/etc/serd/config.yaml
The configuration, if neither \\fB\\-\\-config\\fR nor \\fB$SERD_CONFIG\\fR names one.
.TP
.I ~/.local/state/serd/journal.db
The journal of events, if \\fB$STATE_DIRECTORY\\fR, \\fB$XDG_STATE_HOME\\fR and journal.path do not
place it elsewhere.
.SH ENVIRONMENT
.TP
.B SERD_CONFIG
Configuration file.
.TP
.BR SERD_ "SECTION" __ KEY
Sets a key, such as \\fBSERD_MQTT__HOST\\fR for mqtt.host.
.TP
.B NO_COLOR
No colour on the terminal.
"""


def pages(root: click.Group, name: str = "serd") -> dict[str, str]:
    """The pages of a command and all commands below it.

    Args:
        root: The command.
        name: Its name.

    Returns:
        Text by file name, such as ``serd-run.1``.
    """
    with click.Context(root, info_name=name, **root.context_settings) as context:
        return dict(_pages(root, context))


def _pages(command: click.Command, context: click.Context) -> Iterator[tuple[str, str]]:
    title = context.command_path.replace(" ", "-")
    yield f"{title}.1", _page(command, context, title)
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            assert sub is not None
            with click.Context(sub, info_name=name, parent=context) as inner:
                yield from _pages(sub, inner)


def _page(command: click.Command, context: click.Context, title: str) -> str:
    facts: Mapping[str, Any] = command.to_info_dict(context)
    about, *rest = _paragraphs(facts["help"] or "")
    usage = " ".join(command.collect_usage_pieces(context))
    summary = about.split(". ")[0].rstrip(".")
    lines = [
        f'.TH {title.upper()} 1 "" "serd {VERSION}" "User Commands"',
        ".nh",  # no hyphenation: words such as mqtt.password_file are copied from here
        ".SH NAME",
        f"{_roff(title)} \\- {_roff(summary[0].lower() + summary[1:])}",
        ".SH SYNOPSIS",
        f"\\fB{_roff(context.command_path)}\\fR {_roff(usage)}",
        ".SH DESCRIPTION",
    ]
    for paragraph in (about, *rest):
        lines += [".PP", *_paragraph(paragraph)]
    if isinstance(command, click.Group):
        lines.append(".SH COMMANDS")
        for name in command.list_commands(context):
            sub = command.get_command(context, name)
            assert sub is not None
            see = f"{title}-{name}"
            lines += [".TP", f".BR {_roff(see)} (1)", _roff(sub.get_short_help_str(200))]
    lines.append(".SH OPTIONS")
    for parameter in command.get_params(context):
        record = parameter.get_help_record(context)
        if record is not None:
            lines += [".TP", f"\\fB{_roff(record[0])}\\fR", _roff(record[1])]
    text = "\n".join(lines) + "\n"
    if context.parent is None:
        return text + _FILES
    return f"{text}.SH SEE ALSO\n.BR serd (1)\n"


def _paragraphs(help_text: str) -> list[str]:
    return [part for part in re.split(r"\n[ \t]*\n", help_text.strip()) if part.strip()]


def _paragraph(text: str) -> list[str]:
    """Format a paragraph; one that begins with click's backspace marker keeps its line breaks."""
    if text.startswith("\b"):
        return [".nf", *(_roff(line) for line in text.lstrip("\b\n").splitlines()), ".fi"]
    return [_roff(" ".join(text.split()))]


def _roff(text: str) -> str:
    """Escape text so that nothing in it is markup."""
    for plain, escaped in (
        ("\\", "\\(rs"), ("-", "\\-"), ("'", "\\(aq"), ("`", "\\(ga"), ("^", "\\(ha"),
        ("~", "\\(ti"), ('"', "\\(dq"),
    ):  # fmt: skip
        text = text.replace(plain, escaped)
    text = "".join(sign if sign.isascii() else f"\\[u{ord(sign):04X}]" for sign in text)
    return f"\\&{text}" if text.startswith(".") else text


def write(folder: Path) -> list[Path]:
    """Write all pages of serd into a folder, which is created if it is missing.

    Returns:
        The files.
    """
    from serd.cli.main import cli

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, text in pages(cli).items():
        path = folder / name
        path.write_text(text, encoding="ascii")
        written.append(path)
    return written


if __name__ == "__main__":
    for _path in write(Path(sys.argv[1] if len(sys.argv) > 1 else "man")):
        print(_path)

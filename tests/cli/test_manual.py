"""The manual pages: one per command, from its help text, rendered by man without warnings."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import click
import pytest

from serd.cli.main import cli
from tools.docs.manual import pages, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def commands(command: click.Command, name: str) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        context = click.Context(command)
        for sub_name in command.list_commands(context):
            sub = command.get_command(context, sub_name)
            assert sub is not None
            yield from commands(sub, f"{name}-{sub_name}")


COMMANDS = dict(commands(cli, "serd"))


def test_every_command_has_a_page() -> None:
    assert set(pages(cli)) == {f"{name}.1" for name in COMMANDS}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("manual")
    assert len(write(made)) == len(COMMANDS)
    return made


@pytest.mark.parametrize("name", COMMANDS)
def test_man_renders_each_page_without_warnings(name: str, folder: Path) -> None:
    if shutil.which("man") is None or shutil.which("groff") is None:
        pytest.skip("man and groff are not installed")
    done = subprocess.run(
        ["man", "--warnings", "-E", "UTF-8", "-l", str(folder / f"{name}.1")],
        env={"MANWIDTH": "100", "LC_ALL": "C.UTF-8", "PATH": "/usr/bin:/bin", "MANPAGER": "cat"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")
    words = " ".join(done.stdout.split())
    for parameter in COMMANDS[name].params:
        if isinstance(parameter, click.Option):
            assert parameter.opts[0] in words
            # No part of the help text is lost or taken for markup.
            assert "".join((parameter.help or "").split()) in "".join(words.split())
    assert "SERD" in words


def test_help_text_is_escaped() -> None:
    @click.command()
    def odd() -> None:
        r""".TH is no header. It's a \fBtrap\fR: `x` ~ ^ "y" é.

        'ig nored?
        """

    page = pages(click.Group(commands={"odd": odd}, help="All."))["serd-odd.1"]
    assert "\\(rsfBtrap\\(rsfR" in page
    assert "\\[u00E9]" in page
    assert "\n.TH is" not in page
    assert "\n'ig" not in page
    assert page.isascii()

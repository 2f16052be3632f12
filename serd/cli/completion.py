"""``serd completion``: what makes a shell complete commands, options, keys and files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

import click

from serd.cli.colour import echo
from serd.cli.invocation import Command

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

VARIABLE: Final = "_SERD_COMPLETE"
"""Set by the shell's script when it asks for completions."""

SHELLS: Final = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
def completion(shell: str) -> None:
    """Print the script that teaches a shell to complete serd's commands.

    \b
    bash: serd completion bash > ~/.local/share/bash-completion/completions/serd
    zsh:  serd completion zsh > "${fpath[1]}/_serd"   (a folder that is yours)
    fish: serd completion fish > ~/.config/fish/completions/serd.fish

    It takes effect in the next shell.
    """  # noqa: D301 - \b is click's, and marks lines that are not to be wrapped
    from click.shell_completion import get_completion_class

    from serd.cli.main import cli

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows these three
    script = kind(cli, {}, "serd", VARIABLE)
    # Not script.source(): that would run bash to ask for its version.
    echo(script.source_template % script.source_vars(), lines=True)


def complete(cli: click.Command) -> int | None:
    """Answer the shell if it asks for completions.

    Returns:
        The exit code; None if nobody asks.
    """
    instruction = os.environ.get(VARIABLE)
    if not instruction:
        return None
    from click.shell_completion import shell_complete

    return shell_complete(cli, {}, "serd", VARIABLE, instruction)


def complete_setting(
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The keys that ``--set`` knows; for those with fixed choices, these too."""
    from click.shell_completion import CompletionItem

    from serd.config.keys import KEYS, choices

    name, equals, _ = incomplete.partition("=")
    if not equals:
        return [
            CompletionItem(f"{key.name}=", help=key.description)
            for key in KEYS.values()
            if key.name.startswith(name)
        ]
    words = choices(KEYS[name].type) if name in KEYS else []
    return [
        CompletionItem(f"{name}={word}")
        for word in words
        if f"{name}={word}".startswith(incomplete)
    ]

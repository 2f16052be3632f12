"""``serd completion``: the script that lets a shell complete commands, options, keys and files."""

from __future__ import annotations

from typing import Final

import click

from serd.cli.command import Command
from serd.cli.terminal import echo

VARIABLE: Final = "_SERD_COMPLETE"
"""Set by the shell's script when it asks for completions."""

SHELLS: Final = ("bash", "zsh", "fish")


@click.command(cls=Command)
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the script that lets a shell complete serd's commands.

    \b
    bash: serd completion bash > ~/.local/share/bash-completion/completions/serd
    zsh:  serd completion zsh > "${fpath[1]}/_serd"   (a folder that is yours)
    fish: serd completion fish > ~/.config/fish/completions/serd.fish

    It takes effect in the next shell.
    """  # noqa: D301 - \b is click's, and marks lines that are not to be wrapped
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101 - click knows these three
    script = kind(context.find_root().command, {}, "serd", VARIABLE)
    # Not script.source(): that would run bash to ask for its version.
    echo(script.source_template % script.source_vars(), lines=True)

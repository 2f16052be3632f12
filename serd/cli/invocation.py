"""What every command accepts before or after its name, and the configuration that follows from it.

``serd --set mqtt.port=1884 tail`` and ``serd tail --set mqtt.port=1884`` are the same.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from serd.cli.colour import echo

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

    from serd.config.loading import Loaded, Override


_WHOLE = 1000
"""Characters of a command's first sentence: all of it."""


class Invocation:
    """One run of the program."""

    def __init__(self) -> None:
        self.config_file: Path | None = None
        self.overrides: list[str | Override] = []
        self.debug = False

    def load(self) -> Loaded:
        """Load the configuration, and log to standard error from now on as it says.

        Raises:
            ConfigError: If anything in it is wrong.
            UsageError: If a ``--set`` is not of the form ``KEY=VALUE``.
        """
        from serd import logs
        from serd.config.loading import load, passed_over

        loaded = load(self.config_file, env=os.environ, overrides=self.overrides)
        if other := passed_over(self.config_file, os.environ):
            echo(
                f"serd: using ./{loaded.path} of this folder; the service's configuration is for "
                f"--config {other}",
                err=True,
            )
        logs.configure(loaded.config.log, debug=self.debug)
        return loaded

    def override(self, key: str, value: object, option: str) -> None:
        """Let an option of a command set a key; None sets nothing."""
        from serd.config.loading import Override

        if value is not None:
            text, verbatim = str(value), isinstance(value, str)
            self.overrides.append(Override(key, text, option, verbatim=verbatim))

    def listen_to(self, source: str | None) -> None:
        """Let ``--source`` say what to listen to, also where the file names a program."""
        self.override("audio.source", source, "--source")
        if source is not None:
            from serd.config.loading import Override
            from serd.config.secrets import blanked

            self.overrides.append(Override("audio.command", "[]", "--source"))
            hide_argument(source, blanked(source))


def hide_argument(argument: str, shown: str) -> None:
    """Overwrite an argument of this process's command line, which every user can see with `ps`.

    It was to be seen until now, so this is no more than second best.

    Args:
        argument: As it was given.
        shown: What stands there instead, as long as the argument.
    """
    old, new = os.fsencode(argument), os.fsencode(shown)
    if old == new or len(old) != len(new):
        return
    import ctypes

    try:
        # Where the kernel looks for the command line: fields 48 and 49 of stat (proc(5)).
        fields = Path("/proc/self/stat").read_text().rpartition(") ")[2].split()
        begin, end = int(fields[45]), int(fields[46])
        at = ctypes.string_at(begin, end - begin).find(old)
        if at >= 0:
            ctypes.memmove(begin + at, new, len(new))
    except (OSError, ValueError, IndexError):  # another system
        return


pass_invocation = click.make_pass_decorator(Invocation, ensure=True)


def _set_file(context: click.Context, _: click.Parameter, value: str | None) -> None:
    if value is not None:
        context.ensure_object(Invocation).config_file = Path(value)


def _add_overrides(context: click.Context, __: click.Parameter, value: tuple[str, ...]) -> None:
    context.ensure_object(Invocation).overrides.extend(value)
    for setting in value:
        key, _, secret = setting.partition("=")
        if key.strip().endswith("password"):
            hide_argument(setting, f"{key}={'*' * len(secret)}")
        elif "://" in secret:
            from serd.config.secrets import blanked

            hide_argument(setting, f"{key}={blanked(secret)}")


def _set_debug(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        context.ensure_object(Invocation).debug = True


def _complete_setting(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    from serd.cli.completion import complete_setting

    return complete_setting(context, parameter, incomplete)


def _common_options() -> list[click.Parameter]:
    return [
        click.Option(
            ["--config", "config_file"],
            metavar="PATH",
            type=click.Path(),
            expose_value=False,
            callback=_set_file,
            help="Configuration file. Default: $SERD_CONFIG, ./config.yaml, /etc/serd/config.yaml.",
        ),
        click.Option(
            ["--set", "overrides"],
            metavar="KEY=VALUE",
            shell_complete=_complete_setting,
            multiple=True,
            expose_value=False,
            callback=_add_overrides,
            help="Set one key, as in --set mqtt.host=broker; may be repeated.",
        ),
        click.Option(
            ["--debug"],
            is_flag=True,
            expose_value=False,
            callback=_set_debug,
            help="Log everything, and show tracebacks.",
        ),
    ]


class Command(click.Command):
    """A command that accepts the common options."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()


class Group(click.Group):
    """A group that accepts the common options; so do its commands."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Every command with the whole of its first sentence."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(_WHOLE))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """In the order in which they were added, which is that of a newcomer's needs."""
        return list(self.commands)

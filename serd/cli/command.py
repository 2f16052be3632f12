"""What all commands share: the common options, the lazy group, and the configuration they load.

``serd --set mqtt.port=1884 tail`` and ``serd tail --set mqtt.port=1884`` mean the same.
"""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from serd.cli.terminal import echo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from click.shell_completion import CompletionItem

    from serd.config.loading import Loaded, Override

_HELP_MAX: Final = 1000
"""Characters of a command's summary in the list of commands: the whole sentence."""

_AGO: Final = re.compile(r"(\d{1,9}(?:\.\d{1,6})?)\s*(s|min|m|h|d|w)(?:\s+ago)?")
_SECONDS: Final = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
_CLOCK: Final = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)(?::([0-5]\d))?")


class Invocation:
    """One run of the program: what the common options have set."""

    def __init__(self) -> None:
        self.config_file: Path | None = None
        self.overrides: list[str | Override] = []
        self.debug = False

    def load(self) -> Loaded:
        """Load the configuration and set up logging to standard error accordingly.

        Raises:
            ConfigError: If the configuration is invalid.
            UsageError: If a ``--set`` is not of the form ``KEY=VALUE``.
        """
        from serd import logs
        from serd.config.loading import load

        loaded = load(self.config_file, env=os.environ, overrides=self.overrides)
        if loaded.hidden is not None:
            echo(
                f"serd: using ./{loaded.path} from this folder; for the service's configuration "
                f"add --config {loaded.hidden}",
                err=True,
            )
        logs.configure(loaded.config.log, debug=self.debug)
        return loaded

    def override(self, key: str, value: object, option: str) -> None:
        """Let a command's option set a configuration key; None leaves the key alone."""
        from serd.config.loading import Override

        if value is not None:
            text, verbatim = str(value), isinstance(value, str)
            self.overrides.append(Override(key, text, option, verbatim=verbatim))

    def override_source(self, source: str | None, node: str | None = None) -> None:
        """Let ``--source`` choose the audio source, even if the file has a program or several.

        Args:
            source: The value of ``--source``, if given.
            node: The value of ``--node``, if given.

        Raises:
            UsageError: Both are given.
        """
        if source is not None and node is not None:
            from serd.errors import UsageError

            raise UsageError(
                "--source replaces every configured source, so there is none for --node to choose",
                remedy="leave out one of the two",
            )
        self.override("audio.source", source, "--source")
        if source is not None:
            from serd.config.loading import Override
            from serd.config.secrets import blanked

            self.overrides.append(Override("audio.command", "[]", "--source"))
            self.overrides.append(Override("sources", "[]", "--source"))
            hide_argument(source, blanked(source))


def hide_argument(argument: str, shown: str) -> None:
    """Overwrite an argument on this process's command line, which `ps` shows to every user.

    It was visible until now, so this is no more than second best.

    Args:
        argument: The argument as given.
        shown: The replacement; must have the same length.
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
    except (OSError, ValueError, IndexError):  # not Linux
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
    _context: click.Context, _parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """The keys that ``--set`` accepts and, for keys with fixed choices, their values."""
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
    """A group that accepts the common options, as do its commands."""

    command_class = Command
    group_class = type

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params += _common_options()

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002
        """Names in the order of definition, which is the order a newcomer needs them in."""
        return list(self.commands)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List every command with its whole summary; click would cut it."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [
            (name, command.get_short_help_str(_HELP_MAX))
            for name, command in commands
            if command is not None and not command.hidden
        ]
        with formatter.section("Commands"):
            formatter.write_dl(rows)


class LazyGroup(Group):
    """A group that imports each command when it is first needed: most runs need only one.

    Args:
        lazy_subcommands: Commands by name, as ``module:attribute``.
    """

    def __init__(
        self, *args: Any, lazy_subcommands: Mapping[str, str] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._lazy_subcommands = dict(lazy_subcommands or {})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of definition."""
        return [*self._lazy_subcommands, *super().list_commands(ctx)]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name, imported if need be."""
        if cmd_name not in self._lazy_subcommands:
            return super().get_command(ctx, cmd_name)
        module, _, attribute = self._lazy_subcommands[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


def parse_moment(text: str, now: datetime) -> datetime:
    """Parse a point in time.

    Args:
        text: ``now``; a time ago, as in ``90s``, ``15m``, ``24h``, ``7d``, ``2w``; a time of day
            today, as in ``14:30``; ``today`` or ``yesterday`` (at midnight); or an ISO 8601 date,
            with or without a time. Local time unless a zone is given.
        now: The current local time, without a time zone.

    Returns:
        The moment, with a time zone.

    Raises:
        ValueError: If it is none of these, or outside the range that can be represented.
    """
    text = text.strip().lower()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    words = {"now": now, "today": midnight, "yesterday": midnight - timedelta(days=1)}
    try:
        if text in words:
            moment = words[text]
        elif ago := _AGO.fullmatch(text):
            # Elapsed time, also in the night in which the clocks change.
            moment = now.astimezone() - timedelta(seconds=float(ago[1]) * _SECONDS[ago[2]])
        elif clock := _CLOCK.fullmatch(text):
            hour, minute, second = (int(part or 0) for part in clock.groups())
            moment = midnight.replace(hour=hour, minute=minute, second=second)
        else:
            moment = datetime.fromisoformat(text.upper())
        return moment.astimezone()
    except (ValueError, OverflowError, OSError):
        raise ValueError(
            f"{text!r} is not a time; write 24h, 7d, 14:30, yesterday, 2026-03-01 or "
            "2026-03-01T08:15"
        ) from None


def as_milliseconds(_: click.Context, __: click.Parameter, value: str | None) -> int | None:
    """Callback for an option that takes a time; returns milliseconds since 1970."""
    if value is None:
        return None
    try:
        moment = parse_moment(value, datetime.now())  # noqa: DTZ005 - local on purpose
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    return round(moment.timestamp() * 1000)

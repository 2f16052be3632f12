"""The commands, each imported when it is asked for: a Pi that runs one need not load them all."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    import click


class Commands(dict[str, "click.Command"]):
    """Commands by name, in the order given; ``NAME`` is the attribute of ``serd.cli.NAME``.

    Args:
        names: Of the commands.
    """

    def __init__(self, names: Iterable[str]) -> None:
        super().__init__(dict.fromkeys(names))  # type: ignore[arg-type] # None: not yet loaded

    def __getitem__(self, name: str) -> click.Command:
        command: click.Command | None = super().__getitem__(name)
        if command is None:
            command = getattr(import_module(f"serd.cli.{name}"), name)
            self[name] = command
        return command

    def get(self, name: str, default: Any = None) -> Any:
        """The command of that name."""
        return self[name] if name in self else default  # noqa: SIM401 - this is get()

    def items(self) -> Any:
        """All names and commands."""
        return {name: self[name] for name in self}.items()

    def values(self) -> Any:
        """All commands."""
        return {name: self[name] for name in self}.values()

"""The command line: one thin module per command; heavy imports happen inside the command."""

from __future__ import annotations

from serd.cli import lean

lean.load_msgspec()

"""``python -m training``: the same as ``serd-train``."""

from __future__ import annotations

from training.cli.main import main

main(prog_name="serd-train")

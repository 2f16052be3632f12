"""``python -m serd.addon``: what the add-on's container runs."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import click

from serd.addon.launcher import Launcher, main_error
from serd.addon.supervisor import ADDRESS, Supervisor
from serd.errors import SerdError


@click.command()
@click.option("--data", type=click.Path(path_type=Path), default=Path("/data"), show_default=True)
@click.option("--supervisor", default=ADDRESS, show_default=True, help="The Supervisor's address.")
@click.option("--ingress", default="172.30.32.2", show_default=True, help="Of its ingress proxy.")
@click.option("--host", default="0.0.0.0", show_default=True, help="The dashboard's address.")  # noqa: S104
@click.option("--port", default=8099, show_default=True, help="The dashboard's port.")
def main(data: Path, supervisor: str, ingress: str, host: str, port: int) -> None:
    """Run serd as a Home Assistant add-on: options, broker and microphone from the Supervisor."""
    logging.basicConfig(format="%(asctime)s %(levelname)-7s %(message)s", datefmt="%H:%M:%S",
                        level=logging.INFO)  # fmt: skip
    logging.addLevelName(logging.INFO, "info")
    logging.addLevelName(logging.WARNING, "warning")
    logging.addLevelName(logging.ERROR, "error")
    token = os.environ.get("SUPERVISOR_TOKEN", "")
    launcher = Launcher(data, Supervisor(token, supervisor), ingress=ingress, port=port, host=host)
    try:
        sys.exit(launcher.run())
    except SerdError as error:
        sys.exit(main_error(error))


if __name__ == "__main__":
    main()

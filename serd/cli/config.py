"""``serd config``: show and check the configuration, and print its JSON Schema."""

from __future__ import annotations

import json

import click

from serd.cli.command import Group, Invocation, pass_invocation
from serd.cli.terminal import echo


@click.group(cls=Group)
def config() -> None:
    """Show or check the configuration."""


@config.command()
@click.option("--json", "as_json", is_flag=True, help="As one JSON object, origins included.")
@pass_invocation
def show(invocation: Invocation, as_json: bool) -> None:
    """Show every setting in effect and where its value comes from; secrets are masked."""
    loaded = invocation.load()
    from serd.config import display

    echo(display.as_json(loaded) if as_json else display.as_yaml(loaded), lines=True, nl=False)


@config.command()
@pass_invocation
def validate(invocation: Invocation) -> None:
    """Check the configuration file, environment and --set; exit with 78 if anything is invalid."""
    loaded = invocation.load()
    from serd.mqtt.access import Access

    Access(loaded.config.mqtt)  # are the files there that it names?
    for warning in loaded.warnings:
        echo(f"serd: warning: {warning}", err=True)
    where = str(loaded.path) if loaded.path else "the defaults (there is no configuration file)"
    echo(f"valid: {where}")


@config.command()
def schema() -> None:
    """Print the JSON Schema of the configuration file."""
    from serd.config.schema import json_schema

    echo(json.dumps(json_schema(), indent=2), lines=True)

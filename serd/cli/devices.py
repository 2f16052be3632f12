"""``serd devices``: the microphones, by names that last."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from serd.cli.invocation import Command, Invocation, pass_invocation
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from serd.audio.devices import Device


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@pass_invocation
def devices(invocation: Invocation, as_json: bool) -> None:
    """List input devices, and which of them the configuration picks.

    What is listed as ID can be given to audio.device and stays the same over reboots.
    """
    config = invocation.load().config
    from serd.audio.devices import list_devices, pick

    found = list_devices()
    trouble = None
    picked: list[Device] = []
    for single in config.each():
        try:
            picked.append(pick(single.audio.device, found))
        except UnavailableError as error:
            trouble = error
    if as_json:
        click.echo(json.dumps([_plain(device, picked) for device in found], indent=2))
    elif found:
        _print_table(found, picked)
    if trouble is not None:
        raise trouble


def _plain(device: Device, picked: list[Device]) -> dict[str, object]:
    return {
        "id": device.id,
        "aliases": list(device.aliases),
        "name": device.name,
        "host_api": device.host_api,
        "native_rate_hz": device.native_rate,
        "channels": device.channels,
        "index": device.index,
        "default": device.default,
        "picked": device in picked,
    }


def _print_table(found: list[Device], picked: list[Device]) -> None:
    heads = ("", "ID", "RATE", "CHANNELS", "NAME")
    rows = [
        (
            "*" if device in picked else "",
            device.id,
            f"{device.native_rate} Hz",
            str(device.channels),
            device.name + (" (default)" if device.default else ""),
        )
        for device in found
    ]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())
    if picked:
        click.echo("* is what the configuration picks", err=True)

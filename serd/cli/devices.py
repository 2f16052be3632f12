"""``serd devices``: the microphones, with ids that stay the same."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click

from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import echo
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from serd.audio.devices import Device
    from serd.config import Config


@click.command(cls=Command)
@click.option("--json", "as_json", is_flag=True, help="As a JSON array.")
@click.option(
    "--listen",
    type=click.FloatRange(0.1, 60),
    metavar="SECONDS",
    help="Listen to the configured device, and show the level of each of its channels.",
)
@pass_invocation
def devices(invocation: Invocation, as_json: bool, listen: float | None) -> None:
    """List input devices, and mark those the configuration uses.

    An ID can be used as audio.device and stays the same across reboots.
    """
    config = invocation.load().config
    from serd.audio.devices import list_devices, pick

    each = config.each()
    elsewhere = [_elsewhere(single) for single in each if single.audio.kind != "mic"]
    found: list[Device] = []
    picked: list[Device] = []
    levels: dict[str, tuple[float, ...]] = {}
    trouble = None
    try:
        found = list_devices()
    except UnavailableError:
        if len(elsewhere) < len(each):
            raise
    for single in each:
        if single.audio.kind != "mic":
            continue
        try:
            device = pick(single.audio.device, found)
            picked.append(device)
            if listen is not None:
                levels[device.id] = _measure(device, listen)
        except UnavailableError as error:
            trouble = error
    if as_json:
        rows = [*(_plain(device, picked, levels) for device in found), *elsewhere]
        echo(json.dumps(rows, indent=2), lines=True)
    elif found or elsewhere:
        _print_table(found, picked, levels, elsewhere)
    if trouble is not None:
        raise trouble


def _elsewhere(config: Config) -> dict[str, object]:
    """A row for a source that is not a device of this machine."""
    from serd.audio.factory import make_source

    return {
        "id": None,
        "aliases": [],
        "name": make_source(config.audio).name,
        "host_api": config.audio.kind,
        "native_rate_hz": None,
        "channels": None,
        "index": None,
        "default": False,
        "picked": True,
    }


def _measure(device: Device, seconds: float) -> tuple[float, ...]:
    from serd.config import AudioConfig
    from serd.doctor.sound import measure

    return tuple(round(level, 1) for level in measure(AudioConfig(device=device.id), seconds))


def _plain(
    device: Device, picked: list[Device], levels: dict[str, tuple[float, ...]]
) -> dict[str, object]:
    heard = levels.get(device.id)
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
        **({} if heard is None else {"channel_dbfs": heard}),
    }


def _print_table(
    found: list[Device],
    picked: list[Device],
    levels: dict[str, tuple[float, ...]],
    elsewhere: list[dict[str, object]],
) -> None:
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
    rows += [("*", "-", "-", "-", f"{row['name']} ({row['host_api']})") for row in elsewhere]
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    for row in (heads, *rows):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        echo("  ".join(cells).rstrip())
    for device in found:
        for number, level in enumerate(levels.get(device.id, ()), 1):
            echo(f"{device.id}, channel {number}: {level:.1f} dBFS")
    if picked or elsewhere:
        echo("* marks what the configuration uses", err=True)

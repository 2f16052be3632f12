"""Input devices, with names that survive a reboot and a replug."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from serd.audio import portaudio
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from typing import Any

SYSFS_SOUND = Path("/sys/class/sound")

ALSA_CARDS = Path("/proc/asound")

MANY_CHANNELS = 8
"""More channels than this are a plug-in's imagination (ALSA's "default" claims 32 to 10000)."""

_HW = re.compile(r"\(hw:(?P<card>\d+),(?P<device>\d+)\)\s*$")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One input device."""

    index: int
    """PortAudio's number: changes with every reboot and replug."""

    id: str
    """Stable: ``usb:VID:PID[:SERIAL]`` (with ``@PORT`` where two are alike and ``,DEV`` for a
    further device of the same card), ``alsa:CARD[,DEV]``, or ``name:NAME`` for what is no card."""

    name: str
    """As PortAudio gives it."""

    host_api: str
    """ALSA, JACK, ..."""

    native_rate: int
    """Hertz that the device is opened at."""

    channels: int
    """Channels that the device is opened with."""

    default: bool = False
    """Whether this is the one taken when none is asked for."""

    aliases: tuple[str, ...] = ()
    """Other stable ids that it answers to."""


class CardIds(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel says of one sound card."""

    alsa: str | None = None
    """The card's ALSA name, such as ``Device`` or ``seeed2micvoicec``."""

    usb: str | None = None
    """``usb:VID:PID[:SERIAL]`` for a USB card."""

    port: str | None = None
    """The USB port it is plugged into, such as ``1-1.2``."""


def card_ids(card: int, *, root: Path = SYSFS_SOUND) -> CardIds:
    """Look a sound card up in sysfs.

    Args:
        card: ALSA's number.
        root: For tests: a tree like ``/sys/class/sound``.

    Returns:
        What is known; all None for a card that is not there.
    """
    home = root / f"card{card}"
    try:
        # The card hangs below a USB interface, which hangs below the USB device.
        place = (home / "device").resolve()
        usb = next(
            (folder for folder in (place, *list(place.parents)[:3]) if _read(folder / "idVendor")),
            None,
        )
    except OSError:
        usb = None
    identity = None
    if usb is not None:
        parts = [_read(usb / name) for name in ("idVendor", "idProduct", "serial")]
        identity = ":".join(["usb", *(part for part in parts if part)])
    return CardIds(alsa=_read(home / "id"), usb=identity, port=usb.name if usb else None)


def holder(name: str, *, cards: Path = ALSA_CARDS, processes: Path = Path("/proc")) -> str | None:
    """Which program records from a card's device now, as far as the system tells.

    Args:
        name: The device as PortAudio names it, such as ``USB Audio (hw:1,0)``.
        cards: For tests: a tree like ``/proc/asound``.
        processes: For tests: a tree like ``/proc``.

    Returns:
        Such as ``arecord (process 812)``; None if nobody does, or nobody knows.
    """
    match = _HW.search(name)
    if match is None:
        return None
    places = cards.glob(f"card{match['card']}/pcm{match['device']}c/sub*/status")
    for status in sorted(places):
        owner = re.search(r"owner_pid\s*:\s*(\d+)", _read(status) or "")
        if owner is not None:
            # Of a process of another user the name may be hidden; that it is there is not.
            program = _read(processes / owner[1] / "comm")
            return f"{program} (process {owner[1]})" if program else f"process {owner[1]}"
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def list_devices(*, refresh: bool = True, root: Path = SYSFS_SOUND) -> list[Device]:
    """List the input devices that are there now.

    Args:
        refresh: Look again at what is plugged in. While a stream is open this is not possible, and
            the list is as old as PortAudio's start.
        root: For tests: a tree like ``/sys/class/sound``.

    Raises:
        UnavailableError: PortAudio is not installed or does not start.
    """
    return _describe(*portaudio.query(refresh=refresh), root=root)


def _describe(
    devices: list[dict[str, Any]], apis: list[dict[str, Any]], default: int, *, root: Path
) -> list[Device]:
    inputs = [
        (index, device) for index, device in enumerate(devices) if device["max_input_channels"] > 0
    ]
    places: dict[int, tuple[CardIds, int]] = {}
    for index, device in inputs:
        match = _HW.search(device["name"])
        if match:
            places[index] = (card_ids(int(match["card"]), root=root), int(match["device"]))
    usb_ports = Counter(
        usb for usb, _ in {(ids.usb, ids.port) for ids, _ in places.values()} if usb
    )
    if default < 0 and inputs:
        default = inputs[0][0]
    return [
        _device(
            index,
            device,
            host_api=apis[device["hostapi"]]["name"],
            default=index == default,
            ids=_names(device["name"], places.get(index), usb_ports),
        )
        for index, device in inputs
    ]


def _device(
    index: int, device: dict[str, Any], *, host_api: str, default: bool, ids: list[str]
) -> Device:
    channels = int(device["max_input_channels"])
    return Device(
        index=index,
        id=ids[0],
        name=device["name"],
        host_api=host_api,
        native_rate=round(device["default_samplerate"]),
        channels=channels if channels <= MANY_CHANNELS else 2,
        default=default,
        aliases=tuple(ids[1:]),
    )


def _names(name: str, place: tuple[CardIds, int] | None, usb_ports: Counter[str]) -> list[str]:
    """The stable ids of a device, the most telling first."""
    names: list[str] = []
    if place is not None:
        ids, number = place
        suffix = f",{number}" if number else ""
        if ids.usb:
            if usb_ports[ids.usb] > 1:
                names.append(f"{ids.usb}@{ids.port}{suffix}")
            names.append(f"{ids.usb}{suffix}")
        if ids.alsa:
            names.append(f"alsa:{ids.alsa}{suffix}")
    names.append(f"name:{_HW.sub('', name).strip()}")
    return names


def pick(selector: str | int | None, devices: list[Device] | None = None) -> Device:
    """Find the device that a configuration means.

    Args:
        selector: None for the system's default; PortAudio's index (a number, or digits); a stable
            id, of which a USB serial may be left out; or part of a name, in any case.
        devices: Where to look; listed afresh if None.

    Raises:
        UnavailableError: There is no such device, or several. Says which there are.
    """
    if devices is not None:
        return _pick(selector, devices)
    try:
        return _pick(selector, list_devices(refresh=False))
    except UnavailableError:
        if not portaudio.renew():
            raise
    return _pick(selector, list_devices(refresh=False))


def _pick(selector: str | int | None, devices: list[Device]) -> Device:
    if selector is None:
        found = [device for device in devices if device.default]
        wanted = "no microphone was found"
    elif isinstance(selector, int) or selector.isdecimal():
        found = [device for device in devices if device.index == int(selector)]
        wanted = f"there is no input device number {selector}"
    else:
        found = _match(selector, devices)
        wanted = f"no input device answers to {selector!r}"
    if len(found) == 1:
        return found[0]
    if found:
        ids = ", ".join(repr(device.id) for device in found)
        raise UnavailableError(
            f"{len(found)} input devices answer to {selector!r}: {ids}",
            remedy="set audio.device to one of these ids",
        )
    if not devices:
        raise UnavailableError(
            f"{wanted}: this machine has no audio input that PortAudio can see",
            remedy="plug one in; `arecord -l` (apt: alsa-utils) shows what the kernel sees; "
            "the user has to be in the group 'audio'",
        )
    there = ", ".join(f"{device.id!r} ({device.name})" for device in devices)
    raise UnavailableError(f"{wanted}; there are: {there}", remedy="set audio.device to an id")


def _match(selector: str, devices: list[Device]) -> list[Device]:
    """The devices that answer best, all of them if several answer equally well."""
    ranks = [_rank(selector.strip(), device) for device in devices]
    best = max(ranks, default=0)
    return [device for device, rank in zip(devices, ranks, strict=True) if rank == best > 0]


def _rank(text: str, device: Device) -> int:
    """How well a device answers to a selector; 0 for not at all."""
    folded, name = text.casefold(), device.name.casefold()
    if folded == device.id.casefold():
        return 5
    if folded in (alias.casefold() for alias in device.aliases):
        return 4
    # A USB id without the serial number or port; a card's first device, not its further ones.
    if (
        folded.startswith("usb:")
        and device.id.casefold().startswith((f"{folded}:", f"{folded}@"))
        and "," not in device.id
    ):
        return 3
    if folded == name:
        return 2
    return 1 if folded and folded in name else 0

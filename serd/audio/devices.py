"""Input devices, with ids that survive a reboot or replugging."""

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
"""Devices with more channels are virtual (ALSA's "default" claims 32 to 10000); 2 are opened."""

_HW = re.compile(r"\(hw:(?P<card>\d+),(?P<device>\d+)\)\s*$")


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One input device."""

    index: int
    """PortAudio's index; it may change with every reboot or replug."""

    id: str
    """Stable id: ``usb:VID:PID[:SERIAL]`` (with ``@PORT`` if two are alike, and ``,DEV`` for
    further devices of a card), ``alsa:CARD[,DEV]``, or ``name:NAME`` for a device that is not a
    card."""

    name: str
    """PortAudio's name for it."""

    host_api: str
    """PortAudio's host API, such as ALSA or JACK."""

    native_rate: int
    """Sample rate in hertz at which the device is opened."""

    channels: int
    """Number of channels with which the device is opened."""

    default: bool = False
    """Whether this is the default device."""

    aliases: tuple[str, ...] = ()
    """Other stable ids of the device."""


class CardIds(msgspec.Struct, frozen=True, kw_only=True):
    """Ids of a sound card, from the kernel."""

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
        The known ids; all None if there is no such card.
    """
    home = root / f"card{card}"
    try:
        # The parent of the card is a USB interface, whose parent is the USB device.
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
    """The program that is recording from a card's device, if it can be determined.

    Args:
        name: The device as PortAudio names it, such as ``USB Audio (hw:1,0)``.
        cards: For tests: a tree like ``/proc/asound``.
        processes: For tests: a tree like ``/proc``.

    Returns:
        Such as ``arecord (process 812)``; None if there is none, or it is unknown.
    """
    match = _HW.search(name)
    if match is None:
        return None
    places = cards.glob(f"card{match['card']}/pcm{match['device']}c/sub*/status")
    for status in sorted(places):
        owner = re.search(r"owner_pid\s*:\s*(\d+)", _read(status) or "")
        if owner is not None:
            # The name of another user's process may be hidden, but not its number.
            program = _read(processes / owner[1] / "comm")
            return f"{program} (process {owner[1]})" if program else f"process {owner[1]}"
    return None


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip() or None
    except OSError:
        return None


def list_devices(*, refresh: bool = True, root: Path = SYSFS_SOUND) -> list[Device]:
    """List the input devices.

    Args:
        refresh: Detect newly plugged devices. This is impossible while a stream is open; the list
            is then as old as PortAudio's initialisation.
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
    """The stable ids of a device, the most specific first."""
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
    """Find the device that a configuration selects.

    Args:
        selector: None for the system's default; PortAudio's index (a number, or digits); a stable
            id, of which a USB serial may be left out; or part of a name, in any case.
        devices: The devices to choose from; None: list them.

    Raises:
        UnavailableError: No device matches, or several do; the message lists them.
    """
    if devices is not None:
        return _pick(selector, devices)
    try:
        return _pick(selector, list_devices())  # read anew, unless a stream is open
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
    """The best matches; several if they match equally well."""
    ranks = [_rank(selector.strip(), device) for device in devices]
    best = max(ranks, default=0)
    return [device for device, rank in zip(devices, ranks, strict=True) if rank == best > 0]


def _rank(text: str, device: Device) -> int:
    """How well a device matches a selector; 0 if it does not."""
    folded, name = text.casefold(), device.name.casefold()
    if folded == device.id.casefold():
        return 5
    if folded in (alias.casefold() for alias in device.aliases):
        return 4
    # A USB id without its serial number or port; only the first device of a card.
    if (
        folded.startswith("usb:")
        and device.id.casefold().startswith((f"{folded}:", f"{folded}@"))
        and "," not in device.id
    ):
        return 3
    if folded == name:
        return 2
    return 1 if folded and folded in name else 0

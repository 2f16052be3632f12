from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from serd.audio import devices as module
from serd.audio import portaudio
from serd.audio.devices import CardIds, Device, card_ids, holder, list_devices, pick
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from pathlib import Path


def add_card(
    root: Path, number: int, name: str, *, usb: tuple[str, ...] | None = None, port: str = "1-1.2"
) -> None:
    """Create the sysfs entries of a sound card: a link from the card into the bus."""
    bus = root / "devices" / "soc"
    place = bus / port / f"{port}:1.0" if usb else bus / "soc:sound"
    card = place / "sound" / f"card{number}"
    card.mkdir(parents=True)
    (card / "id").write_text(f"{name}\n")
    (card / "device").symlink_to(os.path.relpath(place, card))
    if usb:
        for key, value in zip(("idVendor", "idProduct", "serial"), usb, strict=False):
            (bus / port / key).write_text(f"{value}\n")
    sound = root / "class"
    sound.mkdir(exist_ok=True)
    (sound / f"card{number}").symlink_to(os.path.relpath(card, sound))


def pa_device(name: str, inputs: int = 1, rate: float = 44_100.0) -> dict[str, Any]:
    return {
        "name": name,
        "hostapi": 0,
        "max_input_channels": inputs,
        "max_output_channels": 0,
        "default_samplerate": rate,
    }


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lists the given PortAudio devices with the fake sysfs tree below ``tmp_path``."""

    def listed(*found: dict[str, Any], default: int = -1) -> list[Device]:
        answer = (list(found), [{"name": "ALSA"}], default)
        monkeypatch.setattr(portaudio, "query", lambda *, refresh: answer)
        return list_devices(root=tmp_path / "class")

    return listed


def test_card_ids_of_usb_and_onboard_cards(tmp_path: Path) -> None:
    add_card(tmp_path, 0, "seeed2micvoicec")
    add_card(tmp_path, 1, "Device", usb=("0d8c", "0014"))
    add_card(tmp_path, 2, "Snowball", usb=("0d8c", "0005", "797_2018/01:x"), port="3-2")
    root = tmp_path / "class"
    assert card_ids(0, root=root) == CardIds(alsa="seeed2micvoicec")
    assert card_ids(1, root=root) == CardIds(alsa="Device", usb="usb:0d8c:0014", port="1-1.2")
    assert card_ids(2, root=root).usb == "usb:0d8c:0005:797_2018/01:x"
    assert card_ids(3, root=root) == CardIds()
    assert card_ids(0, root=tmp_path / "no such place") == CardIds()


def test_devices_are_described(tmp_path: Path, listed: Any) -> None:
    add_card(tmp_path, 1, "Device", usb=("0d8c", "0014", "A1"))
    add_card(tmp_path, 2, "sndrpii2scard")
    found = listed(
        pa_device("bcm2835 Headphones: - (hw:0,0)", inputs=0),
        pa_device("USB PnP Sound Device: Audio (hw:1,0)", rate=48_000.0),
        pa_device("snd_rpi_i2s_card: simple-card_codec_link (hw:2,1)", inputs=2),
        pa_device("pulse", inputs=32),
        default=3,
    )
    assert [(d.index, d.id) for d in found] == [
        (1, "usb:0d8c:0014:A1"),
        (2, "alsa:sndrpii2scard,1"),
        (3, "name:pulse"),
    ]
    assert [(d.native_rate, d.channels) for d in found] == [(48_000, 1), (44_100, 2), (44_100, 2)]
    assert [d.default for d in found] == [False, False, True]
    assert found[0].host_api == "ALSA"
    assert found[0].aliases == ("alsa:Device", "name:USB PnP Sound Device: Audio")


def test_the_id_survives_a_new_card_number(tmp_path: Path, listed: Any) -> None:
    add_card(tmp_path, 1, "Device", usb=("0d8c", "0014"))
    before = listed(pa_device("Mic: - (hw:1,0)"))
    add_card(tmp_path, 4, "Device_1", usb=("0d8c", "0014"), port="1-1.4")
    after = listed(pa_device("other", inputs=2), pa_device("Mic: - (hw:4,0)"))
    assert pick(before[0].id, after).index == 1
    assert pick("alsa:Device_1", after).index == 1


def test_identical_devices_are_distinguished_by_their_port(tmp_path: Path, listed: Any) -> None:
    add_card(tmp_path, 1, "Device", usb=("0d8c", "0014"), port="1-1.2")
    add_card(tmp_path, 2, "Device_1", usb=("0d8c", "0014"), port="1-1.3")
    found = listed(pa_device("Mic: - (hw:1,0)"), pa_device("Mic: - (hw:2,0)"))
    assert [d.id for d in found] == ["usb:0d8c:0014@1-1.2", "usb:0d8c:0014@1-1.3"]
    assert pick("usb:0d8c:0014@1-1.3", found).index == 1
    for ambiguous in ("usb:0d8c:0014", "Mic"):
        with pytest.raises(UnavailableError, match=r"2 input devices answer.*@1-1\.2.*@1-1\.3"):
            pick(ambiguous, found)


def test_two_devices_of_one_card_are_not_taken_for_two_cards(tmp_path: Path, listed: Any) -> None:
    add_card(tmp_path, 1, "Array", usb=("2886", "0018", "S"))
    found = listed(pa_device("Array: raw (hw:1,0)"), pa_device("Array: beam (hw:1,1)"))
    assert [d.id for d in found] == ["usb:2886:0018:S", "usb:2886:0018:S,1"]
    assert pick("usb:2886:0018", found).index == 0
    assert pick("usb:2886:0018:S,1", found).index == 1


def test_pick_accepts_every_kind_of_selector(tmp_path: Path, listed: Any) -> None:
    add_card(tmp_path, 1, "Device", usb=("0d8c", "0014", "A1"))
    found = listed(
        pa_device("default", inputs=32),
        pa_device("USB PnP Sound Device: Audio (hw:1,0)"),
        pa_device("default gadget", inputs=2),
        default=0,
    )
    for selector in (
        1,
        "1",
        "usb:0d8c:0014:A1",
        "USB:0D8C:0014:a1",
        "usb:0d8c:0014",
        "alsa:Device",
        "pnp sound",
        " USB PnP Sound Device: Audio (hw:1,0) ",
    ):
        assert pick(selector, found).index == 1, selector
    assert pick(None, found).index == 0
    # A full name takes precedence over part of a name.
    assert pick("default", found).index == 0
    assert pick("gadget", found).index == 2


@pytest.mark.parametrize("selector", ["usb:0d8c:00", "usb:", "nothing like it", "", 7, "7"])
def test_the_error_for_a_missing_device_lists_the_available_ones(
    listed: Any, selector: str | int
) -> None:
    found = listed(pa_device("webcam"), pa_device("array", inputs=4))
    with pytest.raises(UnavailableError) as caught:
        pick(selector, found)
    assert "'name:webcam' (webcam), 'name:array' (array)" in str(caught.value)


def test_without_a_default_the_first_input_is_used(listed: Any) -> None:
    found = listed(pa_device("speaker", inputs=0), pa_device("webcam"), pa_device("array"))
    assert pick(None, found).name == "webcam"


@pytest.mark.parametrize("selector", [None, "usb:1:2", 0])
def test_a_machine_without_microphones_is_reported(listed: Any, selector: str | int | None) -> None:
    with pytest.raises(UnavailableError, match=r"this machine has no audio input.*arecord -l"):
        pick(selector, listed(pa_device("speaker", inputs=0)))


def test_pick_lists_the_devices_itself(listed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    found = listed(pa_device("webcam"))
    monkeypatch.setattr(module, "list_devices", lambda **_: found)
    assert pick("webcam").id == "name:webcam"


def test_pick_renews_the_list_if_the_device_is_missing(
    listed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    lists = [listed(pa_device("webcam")), listed(pa_device("webcam"), pa_device("USB"))]
    monkeypatch.setattr(module, "list_devices", lambda **_: lists.pop(0))
    monkeypatch.setattr("serd.audio.portaudio.renew", lambda: True)
    assert pick("USB").name == "USB"
    assert lists == []


def test_a_list_that_cannot_be_renewed_is_final(
    listed: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = listed(pa_device("webcam"))
    monkeypatch.setattr(module, "list_devices", lambda **_: found)
    monkeypatch.setattr("serd.audio.portaudio.renew", lambda: False)
    with pytest.raises(UnavailableError, match="USB"):
        pick("USB")


@pytest.mark.parametrize(
    ("name", "status", "expected"),
    [
        ("USB Audio (hw:1,0)", "state: RUNNING\nowner_pid   : 812\n", "arecord (process 812)"),
        ("USB Audio (hw:1,0)", "state: RUNNING\nowner_pid   : 999\n", "process 999"),
        ("USB Audio (hw:1,0)", "closed\n", None),
        ("USB Audio (hw:2,0)", "state: RUNNING\nowner_pid   : 812\n", None),
        ("default", "state: RUNNING\nowner_pid   : 812\n", None),
    ],
)
def test_holder_names_the_process_that_uses_a_microphone(
    tmp_path: Path, name: str, status: str, expected: str | None
) -> None:
    sub = tmp_path / "card1" / "pcm0c" / "sub0"
    sub.mkdir(parents=True)
    (sub / "status").write_text(status)
    (tmp_path / "812").mkdir()
    (tmp_path / "812" / "comm").write_text("arecord\n")
    assert holder(name, cards=tmp_path, processes=tmp_path) == expected

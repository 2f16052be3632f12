"""The add-on's manifest and translations: generated from serd's schema and valid for its linter."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import struct
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from serd.addon.microphone import same_device
from serd.addon.supervisor import OFFERED, configuration, defaults, option_name, supervisor_schema
from serd.config.loading import load
from serd.version import VERSION
from tests.layer import TREE

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = TREE / "packaging" / "homeassistant"
ADDON = FOLDER / "serd"

# The option types of the Supervisor: as in 2025, when ranges of float had no minus.
ELEMENT = re.compile(
    r"(bool|email|url|port|str(\(\d*,\d*\))?|password(\(\d*,\d*\))?|int(\(-?\d*,-?\d*\))?|"
    r"float(\([\d.]*,[\d.]*\))?|match\(.*\)|list\(.+\))\??"
)

# The linter rejects values that equal Home Assistant's defaults.
DEFAULTS = {
    "advanced": False, "apparmor": True, "audio": False, "boot": "auto", "docker_api": False,
    "full_access": False, "hassio_api": False, "hassio_role": "default", "host_network": False,
    "homeassistant_api": False, "ingress": False, "ingress_port": 8099, "ingress_stream": False,
    "init": True, "panel_admin": True, "panel_icon": "mdi:puzzle", "stage": "stable",
    "startup": "application", "timeout": 10, "tmpfs": False, "uart": False, "udev": False,
    "usb": False, "video": False,
}  # fmt: skip
KNOWN = {
    *DEFAULTS, "arch", "description", "environment", "image", "map", "name", "options",
    "panel_title", "ports", "schema", "services", "slug", "url", "version",
}  # fmt: skip


def _read(path: str) -> Any:
    return yaml.safe_load((ADDON / path).read_text())


@pytest.fixture(scope="module")
def manifest() -> dict[str, Any]:
    found: dict[str, Any] = _read("config.yaml")
    return found


def test_the_generated_files_are_up_to_date(tmp_path: Path) -> None:
    (tmp_path / "translations").mkdir()
    runpy.run_path(str(FOLDER / "manifest.py"))["main"](tmp_path)
    for name in ("config.yaml", "translations/en.yaml", "translations/de.yaml"):
        assert (tmp_path / name).read_text() == (ADDON / name).read_text(), f"{name}: make addon"


def test_the_manifest_satisfies_the_linter(manifest: dict[str, Any]) -> None:
    assert {"arch", "description", "name", "slug", "version"} <= set(manifest) <= KNOWN
    assert manifest["version"] == VERSION
    assert [key for key, value in DEFAULTS.items() if manifest.get(key, ...) == value] == []
    assert set(manifest["arch"]) == set(_read("build.yaml")["build_from"]) == {"aarch64", "amd64"}
    # With ingress there is no webui; the watchdog is the image's health check.
    assert not {"webui", "watchdog", "full_access", "privileged", "map"} & set(manifest)
    assert manifest["services"] == ["mqtt:want"]
    assert manifest["audio"] is manifest["ingress"] is True
    assert "HEALTHCHECK" in (TREE / "packaging" / "container" / "Containerfile").read_text()


def test_the_supervisor_supports_every_option(manifest: dict[str, Any]) -> None:
    for name, kind in manifest["schema"].items():
        assert ELEMENT.fullmatch(kind), f"{name}: {kind}"
    assert set(manifest["options"]) <= set(manifest["schema"])
    for name, value in manifest["options"].items():
        choices = re.fullmatch(r"list\((.*)\)\??", manifest["schema"][name])
        assert choices is None or value in choices[1].split("|")


@pytest.mark.parametrize("language", ["en", "de"])
def test_every_option_has_a_name_and_description(language: str, manifest: dict[str, Any]) -> None:
    explained = _read(f"translations/{language}.yaml")["configuration"]
    assert list(explained) == list(manifest["schema"]) == [option_name(key) for key in OFFERED]
    assert all(text["name"] and text["description"].endswith(".") for text in explained.values())


def test_options_from_the_page_are_valid_settings(tmp_path: Path) -> None:
    path = tmp_path / "serd.json"
    everything = {
        **defaults(), "node": "no", "decision_sensitivity": "high", "mqtt_host": "hub.lan",
        "mqtt_port": 8883, "mqtt_username": "on", "mqtt_password": "1e3", "audio_gain_db": -3,
    }  # fmt: skip
    path.write_text(json.dumps(configuration(everything)))
    config = load(path, env={}).config
    assert (config.node, config.decision.sensitivity) == ("no", "high")
    assert (config.mqtt.host, config.mqtt.port) == ("hub.lan", 8883)
    assert (config.mqtt.username, config.mqtt.password) == ("on", "1e3")
    assert config.audio.gain_db == -3
    assert "mqtt" not in configuration({"mqtt_host": "", "mqtt_port": None, "of_old": 1})


def test_the_schema_matches_that_of_serd(manifest: dict[str, Any]) -> None:
    assert manifest["schema"] == supervisor_schema()
    assert manifest["schema"]["speech_aggressiveness"] == "int(0,3)?"
    assert manifest["schema"]["speech_min_level_dbfs"] == "float?"


def test_a_device_is_recognised_with_another_profile() -> None:
    usb = "alsa_input.usb-Maker_Room_Mic_0042-00"
    available = [f"{usb}.mono-fallback", "alsa_input.pci-0000.analog-stereo", "a.monitor"]
    assert same_device(f"{usb}.analog-stereo", available) == f"{usb}.mono-fallback"
    assert same_device(f"{usb}.mono-fallback", available) == f"{usb}.mono-fallback"
    other = "alsa_input.usb-Maker_Room_Mic_0043-00.analog-stereo"
    assert same_device(other, available) == other
    assert same_device("b.monitor", available) == "b.monitor"
    assert same_device("", available) == ""


def test_the_images_have_the_required_sizes() -> None:
    for name, size in (("icon.png", (128, 128)), ("logo.png", (250, 80))):
        head = (ADDON / name).read_bytes()[:24]
        assert head.startswith(b"\x89PNG")
        assert struct.unpack(">II", head[16:]) == size


def test_the_apparmor_profile_is_valid() -> None:
    parser = shutil.which("apparmor_parser") or shutil.which("apparmor_parser", path="/usr/sbin")
    if parser is None:
        pytest.skip("apparmor is not installed")
    done = subprocess.run(
        [parser, "--skip-kernel-load", "--skip-cache", ADDON / "apparmor.txt"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_the_archive_contains_everything_to_build_it(tmp_path: Path) -> None:
    subprocess.run([FOLDER / "archive.sh", tmp_path], check=True, cwd=TREE)
    assert yaml.safe_load((tmp_path / "repository.yaml").read_text())["name"] == "serd"
    recipe = (tmp_path / "serd" / "Dockerfile").read_text()
    assert "${BASE}" not in recipe
    assert recipe.startswith("ARG BUILD_FROM=")
    assert '"serd.addon"' in recipe
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", recipe, re.MULTILINE):
        for source in sources.split():
            assert (tmp_path / "serd" / source).exists(), source

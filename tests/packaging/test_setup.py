"""serd-setup changes single lines of a configuration, or nothing."""

from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from serd.config.loading import load
from tests.layer import TREE

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = TREE / "packaging" / "serd-setup"


@pytest.fixture
def serd(tmp_path: Path) -> Path:
    """A program that runs this environment's serd."""
    program = tmp_path / "serd"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m serd "$@"\n')
    program.chmod(0o755)
    return program


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """The configuration as installed."""
    done = subprocess.run(
        [TREE / "packaging" / "system_config.sh"], check=True, capture_output=True, text=True
    )
    path = tmp_path / "config.yaml"
    path.write_text(done.stdout)
    return path


def _set_up(serd: Path, config: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "--config", config, "--no-restart", *options],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "SERD": str(serd)},
    )


def test_the_installed_configuration_names_the_journal_of_the_service(config: Path) -> None:
    assert load(config, env={}).config.journal.path == "/var/lib/serd/journal.db"


def test_options_change_only_their_own_lines(serd: Path, config: Path) -> None:
    before = config.read_text().splitlines()
    done = _set_up(
        serd, config, "--node", "kitchen", "--microphone", "usb:0d8c:0014",
        "--broker", "hub.lan:8883", "--username", "pi",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    after = config.read_text().splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert [line.split("#")[0].strip() for line in changed] == [
        "node: kitchen", "device: usb:0d8c:0014", "host: hub.lan", "port: 8883", "username: pi",
    ]  # fmt: skip
    assert all("#" in line for line in changed[1:])  # the comments are kept
    loaded = load(config, env={}).config
    assert (loaded.node, loaded.audio.device, loaded.mqtt.port) == (
        "kitchen",
        "usb:0d8c:0014",
        8883,
    )


@pytest.mark.parametrize("name", ["Bob's mic: the #1", "no", "- yes", "{a}", "Mic:"])
def test_any_microphone_name_is_kept_verbatim(
    serd: Path, config: Path, name: str
) -> None:  # fmt: skip
    done = _set_up(serd, config, "--microphone", name)
    assert done.returncode == 0, done.stderr
    assert load(config, env={}).config.audio.device == name


def test_the_default_microphone_can_be_restored(serd: Path, config: Path) -> None:
    _set_up(serd, config, "--source", "/srv/speech.ogg")
    assert load(config, env={}).config.audio.source == "/srv/speech.ogg"
    _set_up(serd, config, "--microphone", "default")
    assert load(config, env={}).config.audio.source == "mic"
    assert load(config, env={}).config.audio.device is None


@pytest.mark.parametrize(
    ("broker", "host", "port"),
    [("hub", "hub", 1883), ("::1", "::1", 1883), ("[fe80::1]:1884", "fe80::1", 1884)],
)
def test_broker_addresses(serd: Path, config: Path, broker: str, host: str, port: int) -> None:
    assert _set_up(serd, config, "--broker", broker).returncode == 0
    mqtt = load(config, env={}).config.mqtt
    assert (mqtt.host, mqtt.port) == (host, port)


def test_missing_keys_are_added_to_a_short_file(serd: Path, config: Path) -> None:
    config.write_text("mute: true\nmqtt:\n  port: 1884\nlog:\n  level: debug\n")
    done = _set_up(serd, config, "--broker", "hub", "--microphone", "usb", "--node", "attic")
    assert done.returncode == 0, done.stderr
    loaded = load(config, env={}).config
    assert (loaded.mqtt.host, loaded.mqtt.port, loaded.node) == ("hub", 1884, "attic")
    assert (loaded.audio.device, loaded.mute, loaded.log.level) == ("usb", True, "debug")


def test_invalid_settings_are_not_written(serd: Path, config: Path) -> None:
    before = config.read_text()
    done = _set_up(serd, config, "--broker", "hub", "--node", "living room")
    assert done.returncode == 78
    assert "living room" in done.stderr
    assert config.read_text() == before


def test_usage_errors(serd: Path, config: Path) -> None:
    assert _set_up(serd, config, "--brocker", "hub").returncode == 2
    assert _set_up(serd, config, "--broker").returncode == 2


def test_it_prompts_on_a_terminal(serd: Path, config: Path) -> None:
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, "--config", config, "--no-restart"],
        stdin=inner, stdout=inner, stderr=inner,
        env={**os.environ, "SERD": str(serd)}, start_new_session=True,
    ) as process:  # fmt: skip
        os.close(inner)
        os.write(outer, b"bedroom\nusb:1234:5678\nhub.lan\n\n")
        assert process.wait(60) == 0
    os.close(outer)
    loaded = load(config, env={}).config
    assert (loaded.node, loaded.audio.device) == ("bedroom", "usb:1234:5678")
    assert (loaded.mqtt.host, loaded.mqtt.username) == ("hub.lan", None)


def test_ctrl_d_changes_nothing_and_says_so(serd: Path, config: Path) -> None:
    before = config.read_text()
    outer, inner = pty.openpty()
    with subprocess.Popen(
        [PROGRAM, "--config", config, "--no-restart"],
        stdin=inner, stdout=inner, stderr=subprocess.PIPE,
        env={**os.environ, "SERD": str(serd)}, start_new_session=True, text=True,
    ) as process:  # fmt: skip
        os.close(inner)
        os.write(outer, b"bedroom\n\x04")
        _, said = process.communicate(timeout=60)
    os.close(outer)
    assert process.returncode == 130
    assert f"stopped; {config} was not changed" in said
    assert config.read_text() == before


def test_shellcheck_finds_nothing_in_the_scripts() -> None:
    if shutil.which("shellcheck") is None:
        pytest.skip("shellcheck is not installed")
    folder = TREE / "packaging"
    maintainer = (folder / "debian" / name for name in ("preinst", "postinst", "prerm", "postrm"))
    scripts = [TREE / "install.sh", PROGRAM, *sorted(folder.glob("*.sh")), *maintainer]
    done = subprocess.run(
        ["shellcheck", "-x", *scripts], cwd=TREE, capture_output=True, text=True, check=False
    )
    assert done.stdout == ""


def test_a_file_that_the_service_cannot_see_is_rejected(serd: Path, config: Path) -> None:
    before = config.read_text()
    done = _set_up(serd, config, "--source", "/home/pi/speech.ogg")
    assert done.returncode == 66
    assert "/srv" in done.stderr
    assert config.read_text() == before


def test_a_relative_source_is_made_absolute(
    serd: Path, config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "speech.ogg").touch()
    monkeypatch.chdir(tmp_path)
    assert _set_up(serd, config, "--source", "speech.ogg").returncode == 0
    assert load(config, env={}).config.audio.source == str(tmp_path / "speech.ogg")

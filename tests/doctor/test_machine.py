from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from serd.doctor.machine import check_clock, check_unit, daemons
from serd.doctor.sound import check_permission
from tests.broker import mosquitto, wait_until
from tests.system.node import Node

if TYPE_CHECKING:
    from pathlib import Path

from serd.config import AudioConfig, Config


def program(folder: Path, name: str, output: str) -> None:
    """Shadow a program with one that prints this output."""
    path = folder / name
    path.write_text(f"#!/bin/sh\necho '{output}'\n")
    path.chmod(0o755)


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_a_clock_in_the_past() -> None:
    (finding,) = check_clock(now=3600.0)
    assert (finding.status, finding.message) == (
        "fail", "this machine's date is 1970-01-01",
    )  # fmt: skip
    assert finding.remedy is not None
    assert "timedatectl set-ntp true" in finding.remedy


@pytest.mark.parametrize(("output", "status"), [("no", ["warn"]), ("yes", ["ok"]), ("", [])])
def test_clock_synchronisation(output: str, status: list[str], bin_folder: Path) -> None:
    program(bin_folder, "timedatectl", output)
    assert [finding.status for finding in check_clock()] == status


def unit(tmp_path: Path, start: str) -> Path:
    path = tmp_path / "serd.service"
    path.write_text(f"[Unit]\nDescription=serd\n[Service]\nExecStart={start}\n")
    return path


@pytest.mark.parametrize(
    ("state", "status", "remedy"),
    [
        ("failed", "fail", "journalctl -u serd -e"),
        ("inactive", "warn", "systemctl enable --now serd"),
        ("active", "ok", ""),
    ],
)
def test_the_state_of_the_service(
    state: str, status: str, remedy: str, tmp_path: Path, bin_folder: Path
) -> None:
    program(bin_folder, "systemctl", state)
    (finding,) = check_unit([tmp_path / "nowhere", unit(tmp_path, "/bin/sh --config /x run")])
    assert finding.status == status
    assert remedy in (finding.remedy or "")


def test_a_service_whose_program_is_missing(tmp_path: Path) -> None:
    (finding,) = check_unit([unit(tmp_path, "-/opt/gone/serd run")])
    assert finding.status == "fail"
    assert "starts /opt/gone/serd, which is missing" in finding.message
    assert finding.remedy is not None
    assert "correct ExecStart" in finding.remedy


def test_no_service(tmp_path: Path) -> None:
    assert not list(check_unit([tmp_path / "nowhere"]))


def test_permission_for_the_sound_devices(tmp_path: Path) -> None:
    (tmp_path / "pcmC0D0c").touch()
    config = Config(audio=AudioConfig(source="mic"))
    # Root may open anything, so the denial is simulated.
    (finding,) = check_permission(config, folder=tmp_path, access=lambda *_: False)
    assert finding.status == "fail"
    assert finding.remedy is not None
    assert "usermod -aG audio" in finding.remedy
    (finding,) = check_permission(config, folder=tmp_path)
    assert finding.status == "ok"
    assert not list(check_permission(config, folder=tmp_path / "nowhere"))
    assert not list(check_permission(Config(audio=AudioConfig(source="-")), folder=tmp_path))


@pytest.mark.parametrize(
    ("words", "is_daemon"),
    [
        (("/opt/serd/.venv/bin/python", "/opt/serd/.venv/bin/serd", "--config", "x", "run"), True),
        (("python3", "-m", "serd", "--set", "node=x", "run"), True),
        (("/usr/bin/serd", "demo"), True),
        (("serd", "tail"), False),
        (("vim", "serd", "run"), True),  # a command line cannot tell it from a daemon
        (("cat", "notes", "about", "serd", "run"), False),
        (("python3", "-m", "serd.cli", "run"), False),
        ((), False),
    ],
)
def test_daemons_are_recognised_by_their_command_lines(
    words: tuple[str, ...], is_daemon: bool, tmp_path: Path
) -> None:
    (tmp_path / "77").mkdir()
    (tmp_path / "77" / "cmdline").write_bytes("".join(f"{word}\0" for word in words).encode())
    (tmp_path / "78").mkdir()  # has exited meanwhile
    (tmp_path / "self").mkdir()
    assert daemons(tmp_path) == ([77] if is_daemon else [])


@pytest.mark.broker
@pytest.mark.slow
def test_a_running_daemon_is_detected(tmp_path: Path) -> None:
    from serd.doctor.machine import journal_in_use

    journal = tmp_path / "journal.db"
    assert not journal_in_use(journal)
    read, write = os.pipe()
    with (
        mosquitto(tmp_path) as broker,
        Node(tmp_path, broker.port, "--source", "-", stdin=read) as node,
    ):
        node.wait_log("listening to")
        assert node.pid in daemons()
        assert journal_in_use(journal)
        node.send(signal.SIGTERM)
        assert node.wait() == 0
        wait_until(lambda: node.pid not in daemons())
        assert not journal_in_use(journal)
    os.close(read)
    os.close(write)

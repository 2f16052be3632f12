"""The Debian package on a Debian 12 with a real systemd."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.layer import package
from tests.systemd.machine import SOURCE, TIMEOUT_S, Machine

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.systemd, pytest.mark.slow, pytest.mark.timeout(1200)]

NODE = "attic"
SAMPLE = SOURCE / "serd" / "audio" / "data" / "sample.ogg"
CONFIG = "/etc/serd/config.yaml"
APT_S = 600.0


def _later(deb: Path, folder: Path) -> Path:
    """Repackage with a later version."""
    tree = folder / "package"
    subprocess.run(["dpkg-deb", "-R", deb, tree], check=True)
    control = tree / "DEBIAN" / "control"
    control.write_text(control.read_text().replace("+deb12", "+deb12.1"))
    later = folder / "later.deb"
    subprocess.run(["dpkg-deb", "-Znone", "--build", tree, later], check=True, capture_output=True)
    shutil.rmtree(tree)
    return later


@pytest.fixture(scope="module")
def installed() -> Iterator[Machine]:
    """A Debian 12 where apt has installed the package, and serd-setup has set it up."""
    with Machine("debian-package") as machine:
        shutil.copy(package(12, "amd64"), machine.root / "srv" / "serd.deb")
        machine.run("apt-get", "-qq", "update", timeout=APT_S)
        output = machine.run("apt-get", "-qqy", "install", "/srv/serd.deb", timeout=APT_S).stdout
        assert "sudo serd-setup" in output
        assert machine.show("ActiveState") == "active"  # waiting for microphone and broker
        machine.run(
            "serd-setup", "--node", NODE, "--source", str(SAMPLE),
            "--broker", f"127.0.0.1:{machine.broker_port}",
        )  # fmt: skip
        yield machine


def test_events_reach_the_broker(installed: Machine) -> None:
    assert len(installed.events(NODE, 2)) == 2
    print("installed:", installed.run("du", "-sh", "/opt/serd").stdout.strip())


def test_it_is_enabled_at_boot(installed: Machine) -> None:
    assert installed.run("systemctl", "is-enabled", "serd").stdout.strip() == "enabled"


def test_install_sh_refuses_to_run_beside_the_package(installed: Machine) -> None:
    done = installed.run(str(SOURCE / "install.sh"), "--yes", check=False)
    assert done.returncode == 69
    assert "apt" in done.stdout


def test_no_packaged_file_is_modified(installed: Machine) -> None:
    assert installed.run("dpkg", "--verify", "serd").stdout.split() in (
        [],
        ["??5??????", "c", CONFIG],
    )


def test_upgrade_keeps_configuration_and_journal(installed: Machine, tmp_path: Path) -> None:
    shutil.copy(_later(package(12, "amd64"), tmp_path), installed.root / "srv" / "later.deb")
    mine = installed.read(CONFIG)
    assert NODE in mine
    known = _count(installed)
    assert known > 0
    before = installed.show("MainPID")
    installed.run("apt-get", "-qqy", "install", "/srv/later.deb", timeout=APT_S)
    assert installed.run("dpkg-query", "-Wf", "${Version}", "serd").stdout.endswith("+deb12.1")
    installed.wait_until(lambda: installed.show("ActiveState") == "active", "serd to be active")
    assert installed.show("MainPID") != before
    assert installed.read(CONFIG) == mine
    installed.events(NODE)
    assert _count(installed) > known


def test_removing_leaves_configuration_and_journal(installed: Machine) -> None:
    installed.run("apt-get", "-qqy", "remove", "serd", timeout=APT_S)
    assert NODE in installed.read(CONFIG)
    assert (installed.root / "var/lib/serd/journal.db").exists()
    assert not (installed.root / "opt/serd").exists()
    assert installed.show("ActiveState") == "inactive"
    installed.run("apt-get", "-qqy", "install", "/srv/serd.deb", timeout=APT_S)
    installed.wait_until(
        lambda: installed.show("ActiveState") == "active", "serd to be active", TIMEOUT_S
    )
    assert NODE in installed.read(CONFIG)


def test_purging_leaves_nothing(installed: Machine) -> None:
    installed.run("apt-get", "-qqy", "purge", "serd", timeout=APT_S)
    for path in ("etc/serd", "var/lib/serd", "opt/serd", "usr/bin/serd", "run/serd"):
        assert not (installed.root / path).exists(), path
    left = installed.run(
        "find", "/etc", "/usr", "/var/lib", "/run", "-xdev", "-name", "serd*"
    ).stdout  # fmt: skip
    assert left == ""
    assert installed.run("getent", "passwd", "serd", check=False).returncode != 0


def _count(machine: Machine) -> int:
    done = machine.run("runuser", "-u", "serd", "--", "serd", "history", "--json")
    return sum(line.startswith("{") for line in done.stdout.splitlines())

"""install.sh fails before it changes anything; the lock file satisfies the requirements."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from typing import TYPE_CHECKING

import pytest
from packaging.requirements import Requirement

from tests.layer import TREE

if TYPE_CHECKING:
    from pathlib import Path

INSTALLER = TREE / "install.sh"
LOCK = TREE / "packaging" / "requirements.lock"
EXTRAS = ("embedded", "dashboard", "silero")


def _install(*options: str, path: str | None = None) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PATH": path or os.environ["PATH"]}
    return subprocess.run(
        [INSTALLER, *options], capture_output=True, text=True, check=False, env=env
    )


@pytest.mark.parametrize("architecture", ["armhf", "i386", "armel"])
def test_a_32_bit_system_is_rejected_at_once(tmp_path: Path, architecture: str) -> None:
    dpkg = tmp_path / "dpkg"
    dpkg.write_text(f"#!/bin/sh\necho {architecture}\n")
    dpkg.chmod(0o755)
    done = _install(path=f"{tmp_path}:{os.environ['PATH']}")
    assert done.returncode == 69
    assert "64-bit" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""


@pytest.mark.parametrize(
    "options", [["--frob"], ["--purge"], ["--node"], ["--upgrade", "--node", "x"]]
)
def test_usage_errors_change_nothing(options: list[str]) -> None:
    if shutil.which("dpkg") is None:
        pytest.skip("dpkg is not installed")
    done = _install(*options)
    assert done.returncode == 2
    assert "install.sh: " in done.stderr
    assert "==>" not in done.stdout


def test_the_lock_file_satisfies_the_requirements() -> None:
    project = tomllib.loads((TREE / "pyproject.toml").read_text())["project"]
    requirements = [*project["dependencies"]]
    for extra in EXTRAS:
        requirements += project["optional-dependencies"][extra]
    pinned: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([a-z0-9-]+)==(\S+)", LOCK.read_text(), re.MULTILINE):
        pinned.setdefault(name, []).append(version)
    for text in requirements:
        requirement = Requirement(text)
        versions = pinned.get(requirement.name.lower().replace("_", "-"), [])
        assert versions, f"{requirement.name} is not in the lock file: make lock"
        assert all(requirement.specifier.contains(v) for v in versions), requirement


def test_every_pin_has_a_hash() -> None:
    blocks = re.split(r"^(?=[a-z0-9-]+==)", LOCK.read_text(), flags=re.MULTILINE)[1:]
    assert len(blocks) > 20
    assert [block.split()[0] for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize("unit", ["serd.service", "serd-dashboard.service"])
def test_the_security_exposure_of_the_units(unit: str) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd is not installed")
    done = subprocess.run(
        ["systemd-analyze", "security", "--offline=yes", "--no-pager", "--threshold=20",
         TREE / "systemd" / unit],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-300:] + done.stderr

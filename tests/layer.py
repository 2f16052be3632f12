"""A cached Debian root with an overlay for changes, for installation tests. Needs root."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

TREE = Path(__file__).parents[1]
CACHE = Path(os.environ.get("SERD_CACHE", TREE / ".cache" / "system")).absolute()


def root(suite: str, architecture: str, purpose: str, *packages: str) -> Path:
    """The cached root file system, built on first use (takes minutes)."""
    done = subprocess.run(
        [TREE / "packaging" / "root.sh", suite, architecture, purpose, *packages],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return Path(done.stdout.strip())


@contextmanager
def layer(lower: Path, name: str) -> Iterator[Path]:
    """Mount a writable overlay on a root; its changes are discarded afterwards."""
    folder = CACHE / "layers" / name
    merged = folder / "merged"
    _take_down(folder)
    for part in ("upper", "work", "merged"):
        (folder / part).mkdir(parents=True)
    layers = f"lowerdir={lower},upperdir={folder}/upper,workdir={folder}/work"
    subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, merged], check=True)
    try:
        yield merged
    finally:
        _take_down(folder)


def _take_down(folder: Path) -> None:
    if (folder / "merged").is_mount():
        subprocess.run(["umount", folder / "merged"], check=True)
    mounted = Path("/proc/mounts").read_text()
    assert f" {folder}/" not in mounted, f"something is still mounted in {folder}"
    subprocess.run(["rm", "-rf", "--one-file-system", folder], check=True)


def package(release: int, architecture: str) -> Path:
    """The latest Debian package that `make deb` has built for a release."""
    found = sorted(
        (TREE / "dist").glob(f"serd_*+deb{release}_{architecture}.deb"),
        key=lambda path: path.stat().st_mtime,
    )
    if not found:
        pytest.fail(f"no package for Debian {release} {architecture} in dist", pytrace=False)
    return found[-1]

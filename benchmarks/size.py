"""The size of a fresh run-time environment, as created by the package and install.sh."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def environment_mb(folder: Path) -> float:
    """Create a virtual environment with serd and add up the disk usage of its files.

    Args:
        folder: Where it is created; must not exist yet.

    Returns:
        Megabytes (10^6 bytes) in whole file-system blocks, including compiled byte code.
    """
    made = [str(ROOT / "packaging" / "venv.sh"), str(folder)]
    subprocess.run(made, check=True, capture_output=True, cwd=ROOT)
    subprocess.run([str(folder / "bin" / "serd"), "--version"], check=True, capture_output=True)
    files = {path.lstat().st_ino: path.lstat().st_blocks for path in folder.rglob("*")}
    return sum(files.values()) * 512 / 1e6

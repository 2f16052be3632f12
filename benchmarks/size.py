"""How large a fresh run-time environment is: the one that the package and install.sh make."""

from __future__ import annotations

import subprocess
from pathlib import Path

ROOT = Path(__file__).parent.parent


def environment_mb(folder: Path) -> float:
    """Make a virtual environment with serd in it, and add up what its files take on the disk.

    Args:
        folder: Where it is made; it does not exist yet.

    Returns:
        10^6 bytes, in whole blocks of the file system, compiled byte code included.
    """
    made = [str(ROOT / "packaging" / "venv.sh"), str(folder)]
    subprocess.run(made, check=True, capture_output=True, cwd=ROOT)
    subprocess.run([str(folder / "bin" / "serd"), "--version"], check=True, capture_output=True)
    files = {path.lstat().st_ino: path.lstat().st_blocks for path in folder.rglob("*")}
    return sum(files.values()) * 512 / 1e6

"""Where a run comes from."""

from __future__ import annotations

import datetime as dt
import platform
import subprocess
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from training.material import Material
    from training.recipe import Recipe

_REPOSITORY = Path(__file__).parents[1]


def provenance(recipe: Recipe, material: Material) -> dict[str, Any]:
    """Where a run comes from: date, code, versions, seed, and who was on which side."""
    packages = ["tensorflow_cpu", "tensorflow", "keras", "numpy", "soxr", "webrtcvad-wheels"]
    if recipe.teaching is not None:
        packages += ["torch", "transformers"]
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
        "git": _git("rev-parse", "HEAD"),
        "git_clean": not _git("status", "--porcelain", "--", "serd", "training"),
        "seed": recipe.seed,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "versions": versions,
        "split": msgspec.to_builtins(material.split),
        "clips": {side: len(material.side(side)) for side in ("train", "validation", "test")},
    }


def _git(*command: str) -> str:
    try:
        done = subprocess.run(
            ["git", *command], cwd=_REPOSITORY, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()

"""Builds the environment in which the tests run a real Home Assistant.

``python -m tests.homeassistant.environment --python python3.13 --venv .cache/homeassistant-venv``
takes some minutes and 700 MB the first time, and nothing after that. Home Assistant pins the
packages of its core and of its integrations and installs the latter as it starts; here they are
installed beforehand, so that it runs with ``--skip-pip`` and downloads nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

HOME_ASSISTANT: Final = "2025.4.4"
"""The last release for Python 3.13.0; it has device-based discovery (since 2024.12)."""

PYTHON: Final = (3, 13)
"""The Python version that this release needs."""

INTEGRATIONS: Final = ("mqtt", "api", "websocket_api", "config", "light", "notify", "template")
"""What the tests use in addition to what Home Assistant always loads."""

# Run by the environment's own interpreter: the pinned packages of the integrations, one per line.
_REQUIREMENTS = """
import json, pathlib, sys
from homeassistant import bootstrap
components = pathlib.Path(bootstrap.__file__).parent / "components"
waiting = [*bootstrap.DEFAULT_INTEGRATIONS, *sys.argv[1:]]
seen, needed = set(), set()
while waiting:
    domain = waiting.pop()
    if domain not in seen:
        seen.add(domain)
        manifest = json.loads((components / domain / "manifest.json").read_text())
        needed.update(manifest.get("requirements", []))
        waiting.extend(manifest.get("dependencies", []))
print(*sorted(needed), sep="\\n")
"""


class UnbuildableError(Exception):
    """The environment cannot be built here; the message says why."""


def find_python(wanted: str | None) -> Path:
    """An interpreter that Home Assistant can run on.

    Args:
        wanted: Its name or path; None looks for one under the usual names.

    Raises:
        UnbuildableError: There is none.
    """
    name = "python{}.{}".format(*PYTHON)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    found = [wanted] if wanted else [name, *map(str, sorted(pyenv.glob(f"*/bin/{name}")))]
    for candidate in found:
        path = shutil.which(candidate)
        # A pyenv shim exists for every version and fails for those that are not selected.
        if path and _version(path) == PYTHON:
            return Path(path)
    needed = ".".join(map(str, PYTHON))
    tried = f"{wanted} is not one" if wanted else "none was found"
    raise UnbuildableError(
        f"Home Assistant {HOME_ASSISTANT} needs Python {needed}, and {tried}: "
        f"install it and name it, e.g. make test-homeassistant HA_PYTHON=/usr/bin/{name}"
    )


def is_built(venv: Path) -> bool:
    """Whether the environment exists, is complete and has this release."""
    try:
        return _marker(venv).read_text() == _recipe()
    except OSError:
        return False


def build(venv: Path, python: str | None = None) -> None:
    """Build the environment unless it exists.

    Raises:
        UnbuildableError: There is no interpreter for it, or pip failed.
    """
    if is_built(venv):
        return
    interpreter = find_python(python)
    _log(f"building {venv} with {interpreter}: takes some minutes, once")
    _run([str(interpreter), "-m", "venv", "--clear", str(venv)])
    pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    pip.append("--disable-pip-version-check")
    release = f"homeassistant=={HOME_ASSISTANT}"
    _run([*pip, "--no-deps", release])
    # The release carries the versions it was tested with; without them pip takes the newest.
    library = venv / "lib" / "python{}.{}".format(*PYTHON) / "site-packages"
    constraints = ["--constraint", str(library / "homeassistant" / "package_constraints.txt")]
    _run([*pip, *constraints, release])
    listing = _run([str(venv / "bin" / "python"), "-c", _REQUIREMENTS, *INTEGRATIONS])
    _run([*pip, *constraints, *listing.split()])
    _marker(venv).write_text(_recipe())


def _recipe() -> str:
    return json.dumps({"homeassistant": HOME_ASSISTANT, "integrations": INTEGRATIONS})


def _marker(venv: Path) -> Path:
    return venv / "serd-tests.json"


def _version(python: str) -> tuple[int, ...] | None:
    code = "import sys; print(*sys.version_info[:2])"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=False)
    return tuple(map(int, done.stdout.split())) if done.returncode == 0 else None


def _run(command: list[str]) -> str:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise UnbuildableError(f"this failed with exit status {done.returncode}: {command}")
    return done.stdout


def _log(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """Build the environment; returns 69 if that is not possible."""
    parser = argparse.ArgumentParser(description="build the environment of the tests")
    parser.add_argument("--venv", type=Path, required=True, help="folder of the environment")
    parser.add_argument("--python", help="a Python {}.{}".format(*PYTHON))
    arguments = parser.parse_args()
    try:
        build(arguments.venv.absolute(), arguments.python)
    except UnbuildableError as error:
        _log(f"error: {error}")
        return 69
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""A real container of the image that ``make test-container`` has built, run by podman."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

VARIABLE = "SERD_IMAGE"
"""The name of the image; set by ``make test-container``."""

TIMEOUT_S = 120.0
"""Time limit for a condition; generous, since only a failing test waits that long."""

# Without systemd, where limits cannot be raised, podman's defaults are too high.
_HERE = ("--ulimit=nofile=1024:1024", "--ulimit=nproc=1000:1000")

# Where cgroups v1 and v2 are both mounted, crun fails to start containers; runc works.
_HYBRID = Path("/sys/fs/cgroup/unified").is_dir() and shutil.which("runc") is not None
_RUNTIME = ("--runtime=runc", "--cgroup-manager=cgroupfs") if _HYBRID else ()


def podman(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Run podman, with additional options from ``$SERD_PODMAN``."""
    done = subprocess.run(
        ["podman", *_RUNTIME, *os.environ.get("SERD_PODMAN", "").split(), *arguments],
        capture_output=True, text=True, timeout=TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0 or not check, done.stderr[-2000:]
    return done


class Container:
    """One container on the host's network, read-only except for its volume; a context manager.

    Args:
        data: Folder mounted as ``/data``.
        env: Its environment variables.
        mounts: Files and folders mounted read-only, by their path inside.
        arguments: Arguments of serd.
        entrypoint: Program to run instead of serd.
    """

    def __init__(
        self,
        data: Path,
        env: Mapping[str, str],
        *,
        mounts: Mapping[str, Path] | None = None,
        arguments: Sequence[str] = ("run",),
        entrypoint: str | None = None,
    ) -> None:
        self.name = f"serd-test-{uuid.uuid4().hex[:8]}"
        data.mkdir(exist_ok=True)
        data.chmod(0o777)
        self._command = [
            "run", "--detach", "--name", self.name, "--network=host", "--read-only",
            "--cap-drop=all", "--security-opt=no-new-privileges", "--no-healthcheck", *_HERE,
            f"--volume={data}:/data",
            *(f"--volume={path}:{inside}:ro" for inside, path in (mounts or {}).items()),
            *(f"--env={name}={value}" for name, value in env.items()),
            *([] if entrypoint is None else [f"--entrypoint={entrypoint}"]),
            os.environ[VARIABLE], *arguments,
        ]  # fmt: skip

    def __enter__(self) -> Self:
        podman(*self._command)
        return self

    def __exit__(self, *_: object) -> None:
        podman("rm", "--force", "--time=0", self.name, check=False)

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return podman("exec", self.name, *command, check=False)

    def health(self) -> subprocess.CompletedProcess[str]:
        """Run the image's health check."""
        (check,) = json.loads(podman("image", "inspect", os.environ[VARIABLE]).stdout)
        kind, *command = (check.get("Healthcheck") or check["Config"]["Healthcheck"])["Test"]
        assert kind == "CMD"  # no shell
        return self.execute(*command)

    def inspect(self) -> dict[str, Any]:
        """Its state according to podman."""
        (found,) = json.loads(podman("container", "inspect", self.name).stdout)
        state: dict[str, Any] = found["State"]
        return state

    def wait(self) -> int:
        """Wait until it has ended; returns the exit code."""
        self.wait_until(lambda: not self.inspect()["Running"], "the container to end")
        return int(self.inspect()["ExitCode"])

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait until a condition is true."""
        deadline = time.monotonic() + TIMEOUT_S
        while not condition():
            assert time.monotonic() < deadline, f"waited for {what}\n{self.log}"
            time.sleep(0.3)

    @property
    def log(self) -> str:
        """Its log output."""
        return podman("logs", self.name, check=False).stderr

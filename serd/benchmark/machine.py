"""What machine this is, so that figures from different ones can be told apart."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import msgspec

from serd.version import VERSION


class Machine(msgspec.Struct, frozen=True, kw_only=True):
    """The machine that figures were measured on."""

    model: str
    """As a Raspberry Pi calls itself; elsewhere the processor's name."""
    architecture: str
    """Such as aarch64 or x86_64."""
    cores: int
    """That this process may use."""
    memory_mb: int
    """Of the whole machine."""
    system: str
    """Name and version of the operating system."""
    kernel: str
    """Release of the kernel."""
    python: str
    """Version of Python."""
    numpy: str
    """Version of numpy."""
    runtime: str
    """TFLite runtime and its version."""
    serd: str
    """Version of serd."""


def describe() -> Machine:
    """Describe this machine; what cannot be found out is an empty text."""
    from importlib.metadata import PackageNotFoundError, version  # noqa: PLC0415

    def installed(*packages: str) -> str:
        for package in packages:
            try:
                return f"{package} {version(package)}"
            except PackageNotFoundError:
                continue
        return ""

    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(
        model=_model(),
        architecture=platform.machine(),
        cores=len(os.sched_getaffinity(0)),
        memory_mb=round(pages / 1e6),
        system=_system(),
        kernel=platform.release(),
        python=platform.python_version(),
        numpy=installed("numpy").partition(" ")[2],
        runtime=installed("ai-edge-litert", "tflite-runtime"),
        serd=VERSION,
    )


def _model() -> str:
    if model := _read("/proc/device-tree/model").strip("\0 \n"):
        return model
    for line in _read("/proc/cpuinfo").splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return " ".join(value.split())
    return platform.processor()


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "")
    except OSError:
        return platform.system()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""

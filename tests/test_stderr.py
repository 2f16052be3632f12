"""Filtering what native libraries write to stderr without losing other output."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

from serd import stderr

if TYPE_CHECKING:
    import pytest


def is_noise(line: bytes) -> bool:
    return line.startswith(b"INFO: ")


def test_only_noise_is_filtered_out(capfd: pytest.CaptureFixture[str]) -> None:
    with stderr.filtered(is_noise):
        os.write(2, b"INFO: Created a delegate\nERROR: something else\n")
        assert capfd.readouterr().err == ""
    assert capfd.readouterr().err == "ERROR: something else\n"
    with contextlib.suppress(ValueError), stderr.filtered(is_noise):
        os.write(2, b"ERROR: on the way\n")
        raise ValueError
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "ERROR: on the way\nafter\n"


def test_several_threads_lose_no_output(capfd: pytest.CaptureFixture[str]) -> None:
    def write(name: str) -> None:
        for number in range(50):
            with stderr.filtered(is_noise):
                os.write(2, f"INFO: noise\n{name} {number}\n".encode())

    threads = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    expected = sorted(f"{name} {number}" for name in "abcd" for number in range(50))
    assert sorted(capfd.readouterr().err.splitlines()) == expected


def test_stderr_is_restored_after_a_library_redirects_it(capfd: pytest.CaptureFixture[str]) -> None:
    with stderr.kept():
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        os.write(2, b"lost\n")
    os.write(2, b"back\n")
    assert capfd.readouterr().err == "back\n"


def test_a_closed_stderr_is_tolerated() -> None:
    program = (
        "import os; from serd import stderr; os.close(2)\n"
        "with stderr.filtered(lambda line: True), stderr.kept(): print('fine')"
    )
    ran = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    assert ran.stdout == b"fine\n"

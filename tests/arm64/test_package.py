"""The arm64 package on emulated Debian 12 and 13: it installs, and it classifies as amd64 does.

The programs are real arm64 binaries run by qemu, so they compute what a Pi computes. Their speed
and the kernel's behaviour are not those of a Pi.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from serd.audio import SAMPLE
from tests.broker import Recorder, mosquitto
from tests.layer import TREE, layer, package, root
from tests.system.node import run_serd

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.arm64, pytest.mark.slow, pytest.mark.timeout(1800)]

CLIPS = ("crema_d/1001_IEO_ANG_HI.opus", "crema_d/1001_IEO_HAP_MD.opus",
         "crema_d/1001_IEO_NEU_XX.opus", "crema_d/1001_IEO_SAD_LO.opus")  # fmt: skip
"""Only a few, since emulation is slow."""


@dataclass
class Pi:
    """A Debian for arm64 with the package installed."""

    release: int
    root: Path

    def run(self, *command: str, check: bool = True, timeout: float = 900) -> str:
        """Run a command there; returns its standard output."""
        done = subprocess.run(
            [TREE / "packaging" / "enter.sh", self.root, *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        assert done.returncode == 0 or not check, (done.returncode, done.stdout, done.stderr)
        return done.stdout


@pytest.fixture(scope="module", params=[("bookworm", 12), ("trixie", 13)], ids=["12", "13"])
def pi(request: pytest.FixtureRequest) -> Iterator[Pi]:
    """An installed package on each release in turn."""
    suite, release = request.param
    lower = root(suite, "arm64", "build", "python3-venv", "libportaudio2")
    with layer(lower, f"arm64-{suite}") as merged:
        machine = Pi(release, merged)
        shutil.copy(package(release, "arm64"), merged / "srv" / "serd.deb")
        machine.run("apt-get", "-qq", "update")
        machine.run("apt-get", "-qqy", "install", "/srv/serd.deb")
        yield machine


def test_python_version_and_architecture(pi: Pi) -> None:
    python = pi.run("/opt/serd/venv/bin/python", "--version").strip()
    assert python.startswith({12: "Python 3.11.", 13: "Python 3.13."}[pi.release])
    assert pi.run("uname", "-m").strip() == "aarch64"
    size = pi.run("du", "-sh", "/opt/serd").split()[0]
    print(f"Debian {pi.release}: {python}, {size} installed,", pi.run("serd", "--version").strip())


def test_it_classifies_as_amd64_does(pi: Pi, tmp_path: Path) -> None:
    clips = pi.root / "srv" / "clips"
    clips.mkdir(exist_ok=True)
    corpora = TREE.parent / "shared" / "corpora"
    recordings = [SAMPLE, *(corpora / name for name in CLIPS if (corpora / name).exists())]
    for clip in recordings:
        shutil.copy(clip, clips)
    names = sorted(clip.name for clip in recordings)
    native = run_serd("classify", "--json", *(str(clips / name) for name in names), home=tmp_path)
    expected = _parse(native.stdout)
    results = _parse(pi.run("serd", "classify", "--json", *(f"/srv/clips/{n}" for n in names)))
    assert len(results) == len(expected) > 5
    worst = 0.0
    for result, reference in zip(results, expected, strict=True):
        assert (result["start_s"], result["end_s"]) == (reference["start_s"], reference["end_s"])
        assert result["emotion"] == reference["emotion"]
        differences = [
            abs(result["scores"][e] - reference["scores"][e]) for e in reference["scores"]
        ]
        worst = max(worst, *differences)
    print(f"Debian {pi.release}: {len(results)} utterances, scores differ by at most {worst:.4f}")
    assert worst <= 0.02


def test_events_reach_a_broker(pi: Pi, tmp_path: Path) -> None:
    installed = "/opt/serd/venv/lib/python3*/site-packages/serd/audio/data/sample.ogg"
    sample = next(pi.root.glob(installed.lstrip("/")))
    with mosquitto(tmp_path) as broker, Recorder(broker.port) as recorder:
        pi.run(
            "serd", "--set", "node=pi", "--set", "mqtt.host=127.0.0.1",
            "--set", f"mqtt.port={broker.port}", "--set", "journal.path=/srv/journal.db",
            "run", "--pace", "fast", "--source", f"/{sample.relative_to(pi.root)}",
        )  # fmt: skip
        recorder.wait_for("serd/pi/status", b"offline")
        events = [json.loads(payload) for payload in recorder.on("serd/pi/emotion")]
    assert len(events) > 5
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))


def test_serd_check_fails_only_for_the_microphone(pi: Pi, tmp_path: Path) -> None:
    with mosquitto(tmp_path) as broker:
        output = pi.run(
            "serd", "check", "--json", "--listen", "0", "--set", "mqtt.host=127.0.0.1",
            "--set", f"mqtt.port={broker.port}", check=False,
        )  # fmt: skip
    checks = json.loads(output)["checks"]
    failed = {check["check"] for check in checks if check["status"] == "fail"}
    passed = {check["check"] for check in checks if check["status"] == "ok"}
    assert failed <= {"device"}
    assert {"configuration", "model", "speech", "broker publish"} <= passed


def _parse(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

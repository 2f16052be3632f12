from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serd.config.keys import KEYS
from tests.system.node import environment

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_a_script(shell: str, serd: Serd) -> None:
    code, out, err = serd("completion", shell)
    assert (code, err) == (0, "")
    assert f"_SERD_COMPLETE={shell}_complete" in out


def complete(home: Path, *words: str) -> list[str]:
    """Return what bash would be offered for the last of these words."""
    env = {
        "_SERD_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(words),
        "COMP_CWORD": str(len(words) - 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "serd"], env=environment(home, env), cwd=home,
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.splitlines()]


def test_commands_options_and_choices_are_completed(tmp_path: Path) -> None:
    assert complete(tmp_path, "serd", "hist") == ["history"]
    assert "--min-confidence" in complete(tmp_path, "serd", "history", "--m")
    assert complete(tmp_path, "serd", "history", "--emotion", "s") == ["sad", "surprised"]
    assert complete(tmp_path, "serd", "completion", "z") == ["zsh"]


def test_settings_are_completed(tmp_path: Path) -> None:
    assert complete(tmp_path, "serd", "run", "--set", "mqtt.tls.c") == [
        "mqtt.tls.ca=",
        "mqtt.tls.cert=",
    ]
    assert len(complete(tmp_path, "serd", "run", "--set", "''")) == len(KEYS)
    assert complete(tmp_path, "serd", "run", "--set", "log.level=w") == ["log.level=warning"]
    assert complete(tmp_path, "serd", "run", "--set", "no.such.key=") in ([], [""])


def test_completion_in_a_real_bash(tmp_path: Path) -> None:
    if shutil.which("bash") is None:
        pytest.skip("bash is not installed")
    script = (
        'eval "$(serd completion bash)"\n'
        "COMP_WORDS=(serd dev); COMP_CWORD=1\n"
        '_serd_completion serd\necho "${COMPREPLY[@]}"\n'
    )
    programs = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "--norc", "-c", script],
        env=environment(tmp_path, {"PATH": f"{programs}:{os.environ['PATH']}"}),
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("devices\n", "")

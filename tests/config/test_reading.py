"""Which configuration files are trusted, and how much of a file is read."""

from __future__ import annotations

import os
import resource
import subprocess
from typing import TYPE_CHECKING

import pytest

from serd.config.loading import load
from serd.errors import ConfigError
from tests.system.node import environment, run_serd, serd_command

if TYPE_CHECKING:
    from pathlib import Path

OTHER_UID = 64_123
PREFIXES = ("!", "!!", "@", "%", "*", "&", "`", "|", ">", "[", "{", '"', "'", "- ", "? ", "!a!",
            "*$", "!(", "a: ", "{a: ", "|9", "*é", "\t")  # fmt: skip

needs_root = pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can change the owner of a file"
)


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A ``./config.yaml`` that would run a program."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "config.yaml"
    path.write_text("node: found\nhooks: [{command: [/bin/true]}]\n")
    path.chmod(0o644)
    return path


def refusal(env: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError, match="is not used") as caught:
        load(None, env=env or {})
    assert "--config ./config.yaml" in str(caught.value.remedy)
    return caught.value.message


def test_the_callers_own_file_is_used(found: Path) -> None:
    for mode in (0o600, 0o644, 0o444):
        found.chmod(mode)
        assert load(None, env={}).config.node == "found"


def test_a_world_writable_file_is_refused_unless_named(found: Path) -> None:
    found.chmod(0o646)
    assert "every user of this machine can write it" in refusal()
    assert str(found) in refusal()
    assert load(found, env={}).config.node == "found"
    assert load(None, env={"SERD_CONFIG": "config.yaml"}).config.node == "found"


@needs_root
def test_another_users_file_is_refused(found: Path) -> None:
    os.chown(found, OTHER_UID, OTHER_UID)
    assert f"belongs to the user {OTHER_UID}" in refusal()
    assert "belongs to" in refusal({"SUDO_UID": "1"})
    # Under sudo, a file of the calling user is accepted.
    assert load(None, env={"SUDO_UID": str(OTHER_UID)}).config.node == "found"
    done = run_serd("config", "show", home=found.parent)
    assert done.returncode == 78
    assert "is not used" in done.stderr
    assert "Traceback" not in done.stderr


@needs_root
def test_another_users_link_to_a_file_of_root_is_refused(found: Path) -> None:
    target = found.rename(found.with_name("other.yaml"))
    found.symlink_to(target)
    os.lchown(found, OTHER_UID, OTHER_UID)
    assert "belongs to" in refusal()


@needs_root
def test_a_group_writable_file_is_refused(found: Path) -> None:
    os.chown(found, 0, OTHER_UID)
    found.chmod(0o664)
    assert "its group can write it" in refusal()
    os.chown(found, 0, 0)  # root's own group, in which only root is
    assert load(None, env={}).config.node == "found"


def test_a_fifo_is_refused_without_blocking(found: Path) -> None:
    found.unlink()
    os.mkfifo(found, 0o600)
    assert "it is not a regular file" in refusal()


def test_a_named_pipe_descriptor_is_read(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"node: piped\n")
    os.close(writing)
    try:
        from pathlib import Path

        assert load(Path(f"/dev/fd/{reading}"), env={}).config.node == "piped"
    finally:
        os.close(reading)


def test_a_file_of_20_gb_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with path.open("wb") as file:
        file.truncate(20_000_000_000)

    def limit_memory() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000))

    done = subprocess.run(
        serd_command("config", "validate"), cwd=tmp_path, env=environment(tmp_path),
        capture_output=True, text=True, timeout=120, check=False, preexec_fn=limit_memory,
    )  # fmt: skip
    assert done.returncode == 78, done.stderr
    assert "longer than 1000000 characters" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "line",
    ["mqtt:\n  password: {}", "mqtt: {{password: {}}}", "mqtt:\n  password:{}", "mqtt: password:{}",
     "mqtt:\n  password: {}\n  host: [", "mqtt: {{'password':{}"],
)  # fmt: skip
@pytest.mark.parametrize("end", ["", " x", "!", ":", ": b", "'", "\\x", "]"])
def test_no_part_of_a_password_is_printed(line: str, end: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    for prefix in PREFIXES:
        path.write_text(line.format(f"{prefix}hunTER2zq{end}") + "\n")
        message = ""
        try:
            load(path, env={})
        except ConfigError as error:
            message = str(error)
        assert not any(part in message for part in ("hun", "TER2", "zq")), message


@pytest.mark.parametrize("password", ["!x", "@x", "%x", "*x", "&x", "`x", "!x!y", "*$", "{x", "[x"])
def test_the_error_says_that_the_password_needs_quotes(password: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"mqtt:\n  password: {password}\n")
    with pytest.raises(ConfigError, match=r"(?s)line [23]: .*in quotes"):
        load(path, env={})

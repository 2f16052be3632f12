"""A configuration is checked before anything is created from it, and before a reload."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from serd.config.loading import load
from serd.daemon.daemon import Daemon, check
from serd.errors import ConfigError, SerdError, UnavailableError
from serd.network import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from serd.config import Config


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that is in use."""
    with socket.create_server((LOOPBACK, 0)) as server:
        yield server.getsockname()[1]


def configured(*overrides: str) -> Config:
    return load(Path("/dev/null"), env={}, overrides=overrides).config


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        (["mqtt.username=u", "mqtt.password_file=/nowhere"], ConfigError),
        (["mqtt.host=embedded", "mqtt.port={}"], UnavailableError),
        (["metrics.port={}"], ConfigError),
    ],
)
def test_nothing_is_created_from_an_unusable_configuration(
    settings: list[str], error: type[SerdError], taken: int, tmp_path: Path
) -> None:
    journal = tmp_path / "journal.db"
    settings = [setting.format(taken) for setting in settings]
    config = configured(*settings, f"journal.path={journal}")
    with pytest.raises(error):
        Daemon(config)
    assert not journal.exists()
    with pytest.raises(error):
        check(config)


@pytest.mark.parametrize("settings", [["mqtt.host=embedded", "mqtt.port={}"], ["metrics.port={}"]])
def test_a_reload_may_use_ports_that_the_running_daemon_holds(
    settings: list[str], taken: int
) -> None:
    running = configured(*(setting.format(taken) for setting in settings))
    check(running, running=running)
    with pytest.raises(SerdError):
        check(running, running=configured())


def test_a_missing_recording_is_noticed_before_a_reload() -> None:
    with pytest.raises(SerdError, match="nowhere"):
        check(configured("audio.source=/nowhere.wav"))

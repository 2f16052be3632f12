from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from serd.config.loading import Loaded
    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]


@pytest.fixture
def daemons(monkeypatch: pytest.MonkeyPatch) -> list[Loaded]:
    started: list[Loaded] = []

    def run_daemon(loaded: Loaded, *, reload: Callable[[], Loaded], **_: object) -> int:
        started.append(loaded)
        started.append(reload())
        return 0

    monkeypatch.setattr("serd.daemon.process.run_daemon", run_daemon)
    return started


def test_options_override_all_other_settings(serd: Serd, daemons: list[Loaded]) -> None:
    arguments = ["--source", "null", "--rate", "8000", "--pace", "fast", "--set", "audio.pace=real"]
    assert serd("run", *arguments) == (0, "", "")
    audio = daemons[0].config.audio
    assert (audio.source, audio.rate_hz, audio.pace) == ("null", 8000, "fast")
    origins = daemons[0].origins
    assert [origins[f"audio.{key}"] for key in ("source", "rate_hz", "pace", "device")] == [
        "--source",
        "--rate",
        "--pace",
        "default",
    ]


def test_a_recording_may_have_any_name(serd: Serd, daemons: list[Loaded]) -> None:
    for name in ("caf\udce9.wav", "two\nlines.wav", "\x1b[31mred\t.wav", "~nobody.wav"):
        daemons.clear()
        assert serd("run", "--source", name) == (0, "", "")
        assert [loaded.config.audio.source for loaded in daemons] == [name, name]


@pytest.mark.parametrize("command", [("meter",), ("bench", "--ordinary")])
def test_source_and_node_exclude_each_other(serd: Serd, command: tuple[str, ...]) -> None:
    done = serd(*command, "--source", "x.wav", "--node", "hall", "--set", "sources=[{node: hall}]")
    assert (done.code, done.out) == (2, "")
    assert "--source replaces every configured source" in done.err


def test_the_configuration_applies_without_options(serd: Serd, daemons: list[Loaded]) -> None:
    assert serd("run", "--set", "audio.source=x.wav").code == 0
    assert daemons[0].config.audio.source == "x.wav"


def test_the_exit_code_is_that_of_the_daemon(serd: Serd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("serd.daemon.process.run_daemon", lambda *_, **__: 69)
    assert serd("run").code == 69


def test_a_reload_rereads_the_file_and_keeps_the_options(
    serd: Serd, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[str, str]] = []

    def run_daemon(loaded: Loaded, *, reload: Callable[[], Loaded], **_: object) -> int:
        (home / "config.yaml").write_text("node: second")
        configs = (loaded.config, reload().config)
        seen.extend((config.node, config.audio.source) for config in configs)
        (home / "config.yaml").write_text("nod: third")
        with pytest.raises(ConfigError, match="did you mean node"):
            reload()
        return 0

    monkeypatch.setattr("serd.daemon.process.run_daemon", run_daemon)
    (home / "config.yaml").write_text("node: first")
    assert serd("run", "--source", "x.wav") == (0, "", "")
    assert seen == [("first", "x.wav"), ("second", "x.wav")]


def test_warnings_are_logged(serd: Serd, daemons: list[Loaded]) -> None:
    err = serd("run", "--set", "mqtt.username=u", "--set", "mqtt.password=hunter2").err
    assert "warning --set mqtt.password: every user of this machine can see it" in err
    assert "hunter2" not in err


def test_a_source_on_the_command_line_replaces_several_configured_ones(
    serd: Serd, daemons: list[Loaded], tmp_path: Path
) -> None:
    config = tmp_path / "several.yaml"
    config.write_text("sources: [{node: a, audio: {device: 1}}, {node: b, audio: {device: 2}}]\n")
    assert serd("--config", str(config), "run", "--source", "null") == (0, "", "")
    assert (daemons[0].config.sources, daemons[0].config.audio.source) == ((), "null")

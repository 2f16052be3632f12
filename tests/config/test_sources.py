"""Several sources: what they inherit, and what is not allowed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.config.display import as_yaml
from serd.config.loading import load
from serd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from serd.config import Config

HOUSE = """\
audio: {gain_db: 6, buffer_s: 4}
speech: {min_level_dbfs: -50}
mute: true
quiet_hours: [{from: "22:00", to: "07:00"}]
mqtt: {client_id: house}
sources:
  - node: kitchen
    audio: {device: "usb:0d8c:0014"}
  - node: bedroom
    mute: no
    audio: {device: 3, gain_db: 0}
    speech: {aggressiveness: 3}
    quiet_hours: []
"""


@pytest.fixture(autouse=True)
def empty_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the test in a directory without a configuration file."""
    monkeypatch.chdir(tmp_path)


def load_text(path: Path, text: str) -> Config:
    path.write_text(text)
    return load(path, env={}).config


def test_sources_inherit_top_level_settings(tmp_path: Path) -> None:
    kitchen, bedroom = load_text(tmp_path / "c.yaml", HOUSE).each()
    assert (kitchen.node, kitchen.mute, kitchen.audio.device) == ("kitchen", True, "usb:0d8c:0014")
    assert (kitchen.audio.gain_db, kitchen.audio.buffer_s) == (6.0, 4.0)
    assert kitchen.speech.min_level_dbfs == -50.0
    assert [hours.to for hours in kitchen.quiet_hours] == ["07:00"]
    assert (bedroom.node, bedroom.mute, bedroom.audio.device) == ("bedroom", False, 3)
    assert (bedroom.audio.gain_db, bedroom.audio.buffer_s) == (0.0, 4.0)
    assert (bedroom.speech.min_level_dbfs, bedroom.speech.aggressiveness) == (-50.0, 3)
    assert bedroom.quiet_hours == ()
    assert [single.mqtt.client_id for single in (kitchen, bedroom)] == [
        "house-kitchen",
        "house-bedroom",
    ]
    assert kitchen.sources == bedroom.sources == ()


def test_without_sources_there_is_one_node() -> None:
    config = load(None, env={}, overrides=["node=hall"]).config
    assert config.each() == (config,)
    assert config.of(None) is config
    assert config.of("hall") is config


def test_a_source_can_be_selected_by_node(tmp_path: Path) -> None:
    config = load_text(tmp_path / "c.yaml", HOUSE)
    assert config.of(None).node == "kitchen"
    assert config.of("bedroom").audio.device == 3
    with pytest.raises(UsageError, match="there are: kitchen, bedroom"):
        config.of("loft")


def test_shown_configuration_round_trips(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(HOUSE)
    loaded = load(path, env={})
    again = tmp_path / "again.yaml"
    again.write_text(as_yaml(loaded))
    assert load(again, env={}).config.each() == loaded.config.each()


def test_an_option_applies_to_all_sources_that_do_not_override_it() -> None:
    overrides = ["sources=[{node: a}, {node: b, audio: {pace: real}}]", "audio.pace=fast",
                 "audio.source=/x.wav"]  # fmt: skip
    a, b = load(None, env={}, overrides=overrides).config.each()
    assert (a.audio.pace, b.audio.pace) == ("fast", "real")
    assert a.audio.source == b.audio.source == "/x.wav"  # two sources may read one file


@pytest.mark.parametrize(
    ("sources", "sentence"),
    [
        ("[{node: a}, {node: A, audio: {device: x}}]",
         "sources[1].node = A (--set) is the same as sources[0].node = a"),
        ("[{node: a}, {node: b}]",
         "sources[1].audio.device = null (--set) is the same as sources[0].audio.device = null"),
        ("[{node: a, audio: {device: Mic}}, {node: b, audio: {device: mic}}]",
         "sources[1].audio.device = mic (--set) is the same as sources[0].audio.device = Mic"),
        ("[{node: a, audio: {source: '-'}}, {node: b, audio: {source: '-'}}]",
         "sources[1].audio.source = - (--set) is the same as sources[0].audio.source = -"),
        ("[{node: a b}]", "sources[0].node = a b is not allowed"),
        ("[{audio: {}}]", "sources[0] lacks node"),
        ("[{node: a, adio: {}}]", "unknown key sources[0].adio; did you mean sources[0].audio?"),
        ("[{node: a, audio: {gain: 3}}]", "unknown key sources[0].audio.gain"),
        ("[{node: a, audio: {gain_db: 99}}]", "sources[0].audio.gain_db = 99 is not allowed"),
        ("[{node: a, mqtt: {host: x}}]", "unknown key sources[0].mqtt"),
        ("[{node: a, speech: {window_s: 1, min_speech_s: 2}}]",
         "sources[0]: speech.min_speech_s = 2.0 (--set) is longer than speech.window_s = 1.0"),
        ("{node: a}", "sources = a section is not allowed"),
    ],
)  # fmt: skip
def test_invalid_sources_are_rejected(sources: str, sentence: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, env={}, overrides=[f"sources={sources}"])
    assert sentence in caught.value.message


def test_a_top_level_node_cannot_be_combined_with_sources() -> None:
    with pytest.raises(
        ConfigError, match=r"node = x \(SERD_NODE\) cannot be combined with sources"
    ):
        load(None, env={"SERD_NODE": "x"}, overrides=["sources=[{node: a}]"])


def test_an_error_common_to_all_sources_is_reported_once() -> None:
    overrides = ["sources=[{node: a}]", "speech.window_s=1", "speech.min_speech_s=2"]
    with pytest.raises(ConfigError) as caught:
        load(None, env={}, overrides=overrides)
    assert len(caught.value.message.splitlines()) == 1

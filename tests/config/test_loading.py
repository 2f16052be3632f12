"""Where settings come from, and which one takes precedence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from serd.config import Config
from serd.config.display import as_json, as_yaml
from serd.config.fields import default_journal_path, default_node
from serd.config.keys import KEYS, value_of, variable
from serd.config.loading import Override, load
from serd.config.schema import json_schema
from serd.config.secrets import MASK
from serd.errors import ConfigError


def set_to(*overrides: str | Override) -> Config:
    return load(None, env={}, overrides=overrides).config


def test_defaults_apply_without_any_settings(empty_dir: Path) -> None:
    loaded = load(None, env={"HOME": str(Path.home())})
    assert loaded.path is None
    assert loaded.config == Config(journal=loaded.config.journal)
    assert set(loaded.origins.values()) == {"default"}
    assert list(loaded.origins) == list(KEYS)


def test_precedence_of_the_sources(empty_dir: Path) -> None:
    path = empty_dir / "config.yaml"
    path.write_text("mqtt: {host: from-file, port: 1, keepalive_s: 5}\nnode: n\n")
    loaded = load(
        None,
        env={"SERD_MQTT__HOST": "from-environment", "SERD_MQTT__PORT": "2"},
        overrides=["mqtt.host=first", "mqtt.host=last"],
    )
    mqtt = loaded.config.mqtt
    assert (mqtt.host, mqtt.port, mqtt.keepalive_s, mqtt.base_topic) == ("last", 2, 5, "serd")
    assert {key: origin for key, origin in loaded.origins.items() if origin != "default"} == {
        "mqtt.host": "--set",
        "mqtt.port": "SERD_MQTT__PORT",
        "mqtt.keepalive_s": "config.yaml, line 1",
        "node": "config.yaml, line 2",
    }


def test_search_order_for_the_file(empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = empty_dir / "etc" / "config.yaml"
    system.parent.mkdir()
    given, named, here = (empty_dir / name for name in ("given.yaml", "named.yaml", "config.yaml"))
    for path in (system, given, named, here):
        path.write_text(f"node: {path.parent.name[:3]}-{path.stem}\n")
    env = {"SERD_CONFIG": str(named)}
    assert load(given, env=env).path == given
    assert load(None, env=env).path == named
    assert load(None, env={"SERD_CONFIG": ""}).path == Path("config.yaml")
    here.unlink()
    assert load(None, env={}).config.node == "etc-config"
    system.unlink()
    assert load(None, env={}).path is None


def test_empty_file_and_empty_sections_change_nothing(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("\ufeff# nothing\nmqtt:\n  # port: 3\nhooks:\nlog: ~\n", encoding="utf-8")
    loaded = load(path, env={})
    assert loaded.config == load(None, env={}).config
    path.write_text("")
    assert load(path, env={}).config == loaded.config


@pytest.mark.parametrize(
    "text", ["1234", "yes", "no", "1e3", "22:00", "2024-01-01", "#hash", "*star", "&and", "@at",
             "a: b", "a #b", "%", "!bang", "[x", "{x", '"x', "'x", "-", "`", "null-ish", "ключ"],
)  # fmt: skip
def test_text_values_are_not_interpreted_as_yaml(text: str, empty_dir: Path) -> None:
    assert set_to(f"mqtt.username={text}").mqtt.username == text
    env = {"SERD_MQTT__USERNAME": "u", "SERD_MQTT__PASSWORD": text}
    assert load(None, env=env).config.mqtt.password == text


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("no", "no"),
        ("1234", "1234"),
        ("'1234'", "1234"),
        ("22:30", "22:30"),
        ("0x10", "0x10"),
        ("1_000", "1_000"),
    ],
)
def test_text_in_a_file_needs_no_quotes(tmp_path: Path, text: str, value: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(f"mqtt: {{username: {text}}}")
    assert load(path, env={}).config.mqtt.username == value


def test_quotes_are_removed(empty_dir: Path) -> None:
    assert set_to('mqtt.username=" a b "').mqtt.username == " a b "
    assert set_to("mqtt.username='it''s'").mqtt.username == "it's"


@pytest.mark.parametrize("text", ["", "~", "null"])
def test_empty_means_null_where_null_is_allowed(text: str, empty_dir: Path) -> None:
    assert set_to("mqtt.username=u", f"mqtt.username={text}").mqtt.username is None


@pytest.mark.parametrize(
    ("text", "device"),
    [("2", 2), ("'2'", "2"), ("USB", "USB"), ("usb:0d8c:0014", "usb:0d8c:0014"), ("null", None)],
)
def test_device_is_an_index_or_a_name(text: str, device: str | int | None, empty_dir: Path) -> None:
    assert set_to(f"audio.device={text}").audio.device == device


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("Yes", True), ("ON", True), ("False", False), ("no", False), ("off", False)],
)
def test_booleans(text: str, value: bool, empty_dir: Path) -> None:
    assert set_to(f"mute={text}").mute is value


@pytest.mark.parametrize(
    ("text", "value"),
    [("2", 2.0), ("+1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("25e-1", 2.5)],
)
def test_numbers(text: str, value: float, empty_dir: Path) -> None:
    window = set_to(f"speech.window_s={text}").speech.window_s
    assert window == value
    assert isinstance(window, float)


def test_a_section_can_be_set_as_a_whole(empty_dir: Path) -> None:
    mqtt = set_to("mqtt={host: a, tls: {ca: /ca.pem}}").mqtt
    assert (mqtt.host, mqtt.tls.ca, mqtt.port) == ("a", "/ca.pem", 1883)
    assert load(None, env={"SERD_MQTT": "{host: b}"}).config.mqtt.host == "b"


@pytest.mark.parametrize(
    "name",
    ["null", "'x'.wav", "~", " spaced ", "a=b.wav", "#1.wav", "2", "a\nb\tc.wav", "caf\udce9.wav",
     "\x1b[31m.wav"],
)  # fmt: skip
def test_verbatim_override_is_not_parsed_as_yaml(name: str, empty_dir: Path) -> None:
    override = Override("audio.source", name, "--source", verbatim=True)
    loaded = load(None, env={}, overrides=[override])
    assert loaded.config.audio.source == name
    assert loaded.origins["audio.source"] == "--source"


def test_home_is_expanded_in_paths_only(empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/pi")
    config = set_to("journal.path=~/j.db", "mqtt.host=~x", "mqtt.tls.ca=~nobody-there/ca")
    assert config.journal.path == "/home/pi/j.db"
    assert config.mqtt.host == "~x"
    assert config.mqtt.tls.ca == "~nobody-there/ca"


def test_home_is_expanded_in_recordings(empty_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/pi")
    monkeypatch.setenv("SERD_AUDIO__SOURCE", "~/x.flac")
    assert load(None, env=os.environ).config.audio.source == "/home/pi/x.flac"
    assert set_to("audio.source=~/x.flac").audio.source == "/home/pi/x.flac"
    several = set_to("sources=[{node: a, audio: {source: ~/x.flac}}]").sources
    assert several[0].audio.source == "/home/pi/x.flac"
    for other in ("mic", "-", "rtsp://cam/~x"):
        assert set_to(f"audio.source={other}").audio.source == other


def test_a_url_given_verbatim_has_no_control_characters(empty_dir: Path) -> None:
    override = Override("audio.source", "rtsp://u:s3cr3t\n@cam/", "--source", verbatim=True)
    with pytest.raises(ConfigError, match="is not allowed") as refused:
        load(None, env={}, overrides=[override])
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(
    "variable",
    ["SERD_CONFIG", "SERD_CORPORA", "SERDX", "XSERD_MQTT__HOST", "SERD_SERVICE_HOST_OF_SOMEONE"],
)
def test_unrelated_variables_are_ignored(variable: str, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("")
    load(path, env={variable: "something"})


@pytest.mark.parametrize("key", KEYS.values(), ids=list(KEYS))
def test_every_key_can_be_set_by_its_variable(key: object, empty_dir: Path) -> None:
    from serd.config.keys import Key

    assert isinstance(key, Key)
    default = load(None, env={}).config
    text = json_text(value_of(default, key.name))
    loaded = load(None, env={variable(key.name): text})
    assert loaded.config == default
    assert loaded.origins[key.name] == variable(key.name)


def json_text(value: object) -> str:
    import json

    return value if isinstance(value, str) else json.dumps(value)


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("raspberrypi", "raspberrypi"),
        ("living.room.local", "living"),
        ("käse küche", "k-se-k-che"),
        ("...", "serd"),
        ("", "serd"),
        ("x" * 80, "x" * 64),
    ],
)
def test_default_node_is_the_host_name(
    host: str, node: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: host)
    assert default_node() == node


@pytest.mark.parametrize(
    ("env", "path"),
    [
        ({"STATE_DIRECTORY": "/var/lib/serd"}, "/var/lib/serd/journal.db"),
        ({"STATE_DIRECTORY": "/a:/b", "XDG_STATE_HOME": "/x"}, "/a/journal.db"),
        ({"XDG_STATE_HOME": "/x", "HOME": "/h"}, "/x/serd/journal.db"),
        ({"XDG_STATE_HOME": "relative", "HOME": "/h"}, "/h/.local/state/serd/journal.db"),
        ({"HOME": "/h"}, "/h/.local/state/serd/journal.db"),
    ],
)
def test_default_journal_path(env: dict[str, str], path: str, empty_dir: Path) -> None:
    assert default_journal_path(env) == path
    assert load(None, env=env).config.journal.path == path


def test_secrets_are_masked_wherever_a_configuration_is_shown(empty_dir: Path) -> None:
    loaded = load(None, env={}, overrides=["mqtt.username=u", "mqtt.password=hunter2"])
    assert loaded.config.mqtt.password == "hunter2"
    for shown in (repr(loaded), str(loaded.config.mqtt), as_yaml(loaded), as_json(loaded)):
        assert "hunter2" not in shown
        assert MASK in shown


def test_exposed_secrets_are_warned_about(empty_dir: Path) -> None:
    path = empty_dir / "config.yaml"
    path.write_text("mqtt: {username: u, password: hunter2}\n")
    path.chmod(0o644)
    warning = f"{path}: holds mqtt.password and can be read by every user; chmod 600 {path}"
    assert load(path, env={}).warnings == (warning,)
    path.chmod(0o600)
    assert load(path, env={}).warnings == ()
    assert load(path, env={}, overrides=["mqtt.password=x"]).warnings == (
        "--set mqtt.password: every user of this machine can see it; use mqtt.password_file",
    )


def test_shown_configuration_round_trips(empty_dir: Path) -> None:
    texts = ["mqtt.username=no", "mqtt.client_id=a #b: c", "audio.device='2'", "node=1e3"]
    loaded = load(None, env={}, overrides=texts)
    path = empty_dir / "shown.yaml"
    path.write_text(as_yaml(loaded))
    assert load(path, env={}).config == loaded.config


def test_shown_configuration_names_origins(empty_dir: Path) -> None:
    lines = as_yaml(load(None, env={"SERD_LOG__LEVEL": "debug"})).splitlines()
    assert lines[0] == "# no configuration file"
    assert lines[-3:] == [
        "log:",
        "  level: debug                            # SERD_LOG__LEVEL",
        "  format: text                            # default",
    ]


def test_schema_describes_every_key() -> None:
    import jsonschema

    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    validate = jsonschema.Draft202012Validator(schema).is_valid
    assert validate({"mqtt": {"port": 1883}})
    assert not validate({"mqtt": {"port": 0}})
    assert not validate({"mqtt": {"prot": 1}})
    assert all(key.description.endswith(".") for key in KEYS.values())


def test_an_unchanged_config_yaml_does_not_hide_the_system_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    system = tmp_path / "etc.yaml"
    system.write_text("node: service")
    monkeypatch.setattr("serd.config.loading.SYSTEM_FILE", system)
    monkeypatch.chdir(tmp_path)
    shipped = Path(__file__).parents[2] / "config.yaml"
    (tmp_path / "config.yaml").write_text(shipped.read_text())
    assert load(None, env={}).config.node == "service"
    assert load(None, env={}).hidden is None
    (tmp_path / "config.yaml").write_text("node: mine")
    assert load(None, env={}).config.node == "mine"
    assert load(None, env={}).hidden == system
    assert load(Path("config.yaml"), env={}).hidden is None

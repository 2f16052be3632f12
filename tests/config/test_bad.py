"""Every kind of invalid configuration and its exact error message."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from serd.config.loading import load
from serd.errors import ConfigError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

LINE = "a line of text"
EMOTIONS = "angry, calm, disgust, fearful, happy, neutral, sad, surprised or uncertain"
TOPIC = "letters, digits, _, . and -, in levels separated by single slashes, at most 128 characters"
AT_TOP = (
    "at the top are: node, name, language, sources, mute, audio, speech, model, decision, "
    "personal, mood, mqtt, journal, quiet_hours, hooks, metrics, log"
)

PORT = "a whole number from 1 to 65535"
NODE = "1 to 64 letters, digits, _ and -"
BOOLEAN = "true or false"
WINDOW = "a number from 0.5 to 3"
LOG = "a section with level, format"


def rejected(line: int, value: str, allowed: str, *, suggestion: str = "") -> str:
    hint = f"; did you mean {suggestion}?" if suggestion else ""
    return f"line {line}: {value} is not allowed; allowed: {allowed}{hint}"


FILES = [
    # keys
    ("nod: x", "line 1: unknown key nod; did you mean node?"),
    ("MQTT:\n  port: 1", "line 1: unknown key MQTT; did you mean mqtt?"),
    ("mqtt:\n  hots: x", "line 2: unknown key mqtt.hots; did you mean mqtt.host?"),
    ("host: x", "line 1: unknown key host; did you mean mqtt.host or metrics.host?"),
    ("port: 1", "line 1: unknown key port; did you mean mqtt.port or metrics.port?"),
    ("mqtt_host: x", "line 1: unknown key mqtt_host; did you mean mqtt.host?"),
    (
        "mqtt.host: x",
        "line 1: unknown key mqtt.host; write host in a section mqtt, without the dot",
    ),
    (
        "mqtt:\n  tls.ca: x",
        "line 2: unknown key tls.ca; write ca in a section mqtt.tls, without the dot",
    ),
    ("zebra: 1", f"line 1: unknown key zebra; {AT_TOP}"),
    ("5: 1", f"line 1: unknown key 5; {AT_TOP}"),
    (
        "decision:\n  sensitivity: bold",
        "line 2: decision.sensitivity = bold is not allowed; allowed: high, low or normal",
    ),
    ("mood:\n  zebra: 1", "line 2: unknown key mood.zebra; in mood are: half_life_s, margin"),
    ("audio:\n  gain: 3", "line 2: unknown key audio.gain; did you mean audio.gain_db?"),
    ("mute: true\nmute: true", "line 2: mute is given twice (first in line 1)"),
    ("mqtt:\n  port: 1\n  port: 2", "line 3: mqtt.port is given twice (first in line 2)"),
    ("log:\n  level: info\nlog:\n  format: json", "line 3: log is given twice (first in line 1)"),
    # types
    ("mute: maybe", rejected(1, "mute = maybe", BOOLEAN)),
    ("mute: 1", rejected(1, "mute = 1", BOOLEAN)),
    ('mute: "true"', rejected(1, 'mute = "true"', BOOLEAN)),
    ("mute:", rejected(1, "mute = (nothing)", BOOLEAN)),
    ("mute: [true]", rejected(1, "mute = a list", BOOLEAN)),
    ("node: {a: b}", rejected(1, "node = a section", NODE)),
    ("node: null", rejected(1, "node = null", NODE)),
    (
        "mqtt: localhost",
        rejected(
            1,
            "mqtt = localhost",
            "a section with host, port, username, password, password_file, "
            "client_id, keepalive_s, base_topic, discovery, discovery_prefix, telemetry_s, tls",
        ),
    ),
    ("log: [text]", rejected(1, "log = a list", LOG)),
    ("mqtt:\n  port: x", rejected(2, "mqtt.port = x", PORT)),
    ("mqtt:\n  port: 1883.0", rejected(2, "mqtt.port = 1883.0", PORT)),
    ('mqtt:\n  port: "1883"', rejected(2, 'mqtt.port = "1883"', PORT)),
    ("mqtt:\n  port: 0x75b", rejected(2, "mqtt.port = 0x75b", PORT)),
    ("mqtt:\n  port: true", rejected(2, "mqtt.port = true", PORT)),
    ("mqtt:\n  host: ''", rejected(2, 'mqtt.host = ""', LINE)),
    ('mqtt:\n  host: "a\\nb"', rejected(2, 'mqtt.host = "a\\nb"', LINE)),
    ('mqtt:\n  host: "\\ud800"', rejected(2, 'mqtt.host = "\\ud800"', LINE)),
    ("mqtt:\n  username: [a]", rejected(2, "mqtt.username = a list", f"{LINE}, or null")),
    # ranges
    ("mqtt:\n  port: 0", rejected(2, "mqtt.port = 0", PORT)),
    ("mqtt:\n  port: 65536", rejected(2, "mqtt.port = 65536", PORT)),
    ("mqtt:\n  port: -1", rejected(2, "mqtt.port = -1", PORT)),
    ("mqtt:\n  port: " + "9" * 5000, rejected(2, f"mqtt.port = {'9' * 57}...", PORT)),
    (
        "speech:\n  aggressiveness: 4",
        rejected(2, "speech.aggressiveness = 4", "a whole number from 0 to 3"),
    ),
    ("speech:\n  window_s: 3.5", rejected(2, "speech.window_s = 3.5", WINDOW)),
    ("speech:\n  window_s: .nan", rejected(2, "speech.window_s = .nan", WINDOW)),
    ("speech:\n  window_s: 1e999", rejected(2, "speech.window_s = 1e999", WINDOW)),
    (
        "speech:\n  min_level_dbfs: 3",
        rejected(2, "speech.min_level_dbfs = 3", "a number from -100 to 0"),
    ),
    (
        "model:\n  min_confidence: 80%",
        rejected(2, "model.min_confidence = 80%", "a number from 0 to 1, or null"),
    ),
    (
        "model:\n  min_confidence: 80",
        rejected(2, "model.min_confidence = 80", "a number from 0 to 1, or null"),
    ),
    (
        "journal:\n  max_events: 0",
        rejected(2, "journal.max_events = 0", "a whole number from 1 to 100000000"),
    ),
    # choices
    ("log:\n  level: verbose", rejected(2, "log.level = verbose", "debug, error, info or warning")),
    (
        "log:\n  level: warn",
        rejected(2, "log.level = warn", "debug, error, info or warning", suggestion="warning"),
    ),
    (
        "log:\n  level: INFO",
        rejected(2, "log.level = INFO", "debug, error, info or warning", suggestion="info"),
    ),
    (
        "speech:\n  engine: silerio",
        rejected(2, "speech.engine = silerio", "silero or webrtc", suggestion="silero"),
    ),
    ("audio:\n  pace: reel", rejected(2, "audio.pace = reel", "fast or real", suggestion="real")),
    # patterns
    (
        "node: living room",
        rejected(1, "node = living room", NODE)
        + "; write node: living-room, and name: living room for people",
    ),
    (
        "node: küche",
        rejected(1, "node = küche", NODE) + "; write node: kueche, and name: küche for people",
    ),
    ('node: "kitchen\\n"', rejected(1, 'node = "kitchen\\n"', NODE)),
    ("node: " + "n" * 65, rejected(1, f"node = {'n' * 57}...", NODE)),
    ("mqtt:\n  base_topic: a/+", rejected(2, "mqtt.base_topic = a/+", TOPIC)),
    ("mqtt:\n  base_topic: /a", rejected(2, "mqtt.base_topic = /a", TOPIC)),
    # lists
    (
        "quiet_hours: 22:00",
        rejected(1, "quiet_hours = 22:00", "a list with any number of: a section with from, to"),
    ),
    ("quiet_hours: [22]", rejected(1, "quiet_hours[0] = 22", "a section with from, to")),
    (
        "quiet_hours:\n  - from: 22:00",
        "line 2: quiet_hours[0] lacks to (a time of the day such as 22:00)",
    ),
    (
        "quiet_hours:\n  - {from: 24:00, to: 07:00}",
        rejected(2, "quiet_hours[0].from = 24:00", "a time of the day such as 22:00"),
    ),
    (
        "hooks:\n  - command: []",
        f"line 2: hooks[0].command is empty; allowed: a list with at least 1 of: {LINE}",
    ),
    (
        "hooks:\n  - comand: [x]\n    command: [x]",
        "line 2: unknown key hooks[0].comand; did you mean hooks[0].command?",
    ),
    (
        "hooks:\n  - command: [x]\n    command: [x]",
        "line 3: hooks[0].command is given twice (first in line 2)",
    ),
    (
        "hooks:\n  - command: [x]\n    emotion: [hapy]",
        rejected(3, "hooks[0].emotion[0] = hapy", EMOTIONS, suggestion="happy"),
    ),
    # secrets are never printed
    ("mqtt:\n  password: ''", rejected(2, "mqtt.password = ********", f"{LINE}, or null")),
    # YAML
    (
        "- a",
        rejected(
            1,
            "a list",
            "a section with node, name, language, sources, mute, audio, speech, model, decision, "
            "personal, mood, mqtt, journal, quiet_hours, hooks, metrics, log",
        ),
    ),
    (
        "mqtt:\n  host: a: b",
        (
            "line 2: not valid YAML: a colon where none can stand; check the indentation, or put "
            "the value in quotes"
        ),
    ),
    (
        "mqtt:\n\thost: a",
        "line 2: not valid YAML: a line begins with a tab; YAML is indented with spaces",
    ),
    (
        "mqtt: {host: a",
        "line 1: not valid YAML: expected ',' or '}'; put the value in quotes if it is a text",
    ),
    ('node: "x', "line 1: not valid YAML: found unexpected end of stream"),
    ("node: a\n---\nnode: b", "line 2: not valid YAML: found another document"),
    *(
        (
            f"node: {sign}",
            (
                "line 1: anchors and aliases (& and *) are not used here; put a value that begins "
                "so in quotes"
            ),
        )
        for sign in ("&a x", "*a")
    ),
    (
        "node: !!python/object/apply:os.system [id]",
        "line 1: tags (!) are not used here; put a value that begins with ! in quotes",
    ),
    ("? [a]\n: b", "line 1: a key must be a word"),
    ("node: a\x00b", "line 1: the character U+0000 is not allowed in YAML"),
    ("mute: true\nnode: a\x07b", "line 2: the character U+0007 is not allowed in YAML"),
    ("[" * 20_000, "nested too deeply"),
    ("#" * 1_000_001, "longer than 1000000 characters"),
]

RELATIONS = [
    (
        ["speech.min_speech_s=2", "speech.window_s=1"],
        "speech.min_speech_s = 2.0 (--set) is longer than speech.window_s = 1.0 (--set)",
    ),
    (
        ["mqtt.username=u", "mqtt.password=hunter2", "mqtt.password_file=/f"],
        "mqtt.password = ******** (--set) and mqtt.password_file = /f (--set) exclude each other",
    ),
    (
        ["mqtt.password=hunter2"],
        "mqtt.password = ******** (--set) needs mqtt.username, which is not set",
    ),
    (
        ["mqtt.password_file=/f"],
        "mqtt.password_file = /f (--set) needs mqtt.username, which is not set",
    ),
    (
        ["mqtt.tls.cert=/c"],
        "mqtt.tls.cert = /c (--set) needs mqtt.tls.key, which is not set",
    ),
    (["mqtt.tls.key=/k"], "mqtt.tls.key = /k (--set) needs mqtt.tls.cert, which is not set"),
    (
        ["mqtt.host=embedded", "mqtt.tls.enabled=yes"],
        "mqtt.host = embedded (--set): the embedded broker has no TLS; unset mqtt.tls",
    ),
    *(
        (
            [f"journal.path={path}"],
            f"journal.path = {path} (--set) names no file; add one, as in /var/lib/serd/journal.db",
        )
        for path in ("/", ".", "./", "..")
    ),
]

ENVIRONMENTS = [
    (
        {"SERD_MQTT__PORT": "0"},
        "SERD_MQTT__PORT: mqtt.port = 0 is not allowed; allowed: a whole number from 1 to 65535",
    ),
    (
        {"SERD_MQTT_HOST": "x"},
        "environment: no setting is called SERD_MQTT_HOST; did you mean SERD_MQTT__HOST?",
    ),
    (
        {"SERD_MQTT__HOTS": "x"},
        "environment: no setting is called SERD_MQTT__HOTS; did you mean SERD_MQTT__HOST?",
    ),
    ({"SERD_NODES": "x"}, "environment: no setting is called SERD_NODES; did you mean SERD_NODE?"),
    ({"SERD_X__ZZZZZZZZZ": "x"}, "environment: no setting is called SERD_X__ZZZZZZZZZ"),
    (
        {"SERD_LOG": "[a]"},
        "SERD_LOG: log = a list is not allowed; allowed: a section with level, format",
    ),
    (
        {"SERD_HOOKS": "[a"},
        (
            "SERD_HOOKS: hooks: not valid YAML: expected ',' or ']'; put the value in quotes if it "
            "is a text"
        ),
    ),
]

OPTIONS = [
    ("mqtt.prot=1", "--set: unknown key mqtt.prot; did you mean mqtt.port?"),
    ("host=x", "--set: unknown key host; did you mean mqtt.host or metrics.host?"),
    ("zebra.stripes=1", f"--set: unknown key zebra.stripes; {AT_TOP}"),
    (
        "mqtt.port=",
        "--set: mqtt.port = (nothing) is not allowed; allowed: a whole number from 1 to 65535",
    ),
    ("mqtt={prot: 1}", "--set: unknown key mqtt.prot; did you mean mqtt.port?"),
    ("mqtt={port: 1, port: 2}", "--set: mqtt.port is given twice"),
    (
        "node='a b'",
        (
            '--set: node = "a b" is not allowed; allowed: 1 to 64 letters, digits, _ and -; write '
            'node: a-b, and name: "a b" for people'
        ),
    ),
]


@pytest.mark.parametrize(("text", "sentence"), FILES, ids=lambda value: str(value)[:40])
def test_errors_in_a_file(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    separator = ", " if sentence.startswith("line ") else ": "
    with pytest.raises(ConfigError) as raised:
        load(path, env={})
    assert raised.value.message == f"{path}{separator}{sentence}"
    assert raised.value.exit_code == 78


@pytest.mark.parametrize(("overrides", "sentence"), RELATIONS, ids=lambda value: str(value)[:40])
def test_conflicting_settings(overrides: list[str], sentence: str, empty_dir: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, env={}, overrides=overrides)
    assert sentence in raised.value.message.split("\n")
    assert "hunter2" not in raised.value.message


@pytest.mark.parametrize(("env", "sentence"), ENVIRONMENTS, ids=lambda value: str(value)[:40])
def test_errors_in_environment_variables(
    env: dict[str, str], sentence: str, empty_dir: Path
) -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, env=env)
    assert raised.value.message == sentence


@pytest.mark.parametrize(("option", "sentence"), OPTIONS)
def test_errors_in_options(option: str, sentence: str, empty_dir: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(None, env={}, overrides=[option])
    assert raised.value.message == sentence


@pytest.mark.parametrize("option", ["mqtt.port", "", "=1"])
def test_option_without_value_is_a_usage_error(option: str, empty_dir: Path) -> None:
    with pytest.raises(UsageError, match="is not of the form KEY=VALUE"):
        load(None, env={}, overrides=[option])


def test_all_errors_are_reported_at_once_in_file_order(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("mqtt:\n  port: 0\n  zebra: 1\nmute: 3\n")
    with pytest.raises(ConfigError) as raised:
        load(path, env={"SERD_MQTT__PORT": "x"}, overrides=["mqtt.port=y"])
    starts = [line.split(" = ")[0].split(";")[0] for line in raised.value.message.split("\n")]
    assert starts == [
        f"{path}, line 2: mqtt.port",
        f"{path}, line 3: unknown key mqtt.zebra",
        f"{path}, line 4: mute",
        "SERD_MQTT__PORT: mqtt.port",
        "--set: mqtt.port",
    ]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as raised:
        load(tmp_path / "none.yaml", env={})
    assert raised.value.message == (
        f"{tmp_path}/none.yaml: the configuration file cannot be read: no such file or directory"
    )
    assert raised.value.remedy == "name another with --config, or correct $SERD_CONFIG"


def test_file_that_is_a_directory(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: is a directory"):
        load(tmp_path, env={})


def test_file_that_is_not_text(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"mute: true\nnode: \xff\xfe\n")
    with pytest.raises(ConfigError) as raised:
        load(path, env={})
    assert raised.value.message == f"{path}, line 2: not UTF-8 text"


def test_dangling_symlink_is_an_error(empty_dir: Path) -> None:
    (empty_dir / "config.yaml").symlink_to("gone.yaml")
    with pytest.raises(ConfigError, match="cannot be read: no such file"):
        load(None, env={})


@pytest.mark.parametrize(
    ("host", "suggestion"),
    [
        ("mqtt://hub.lan:1884", "mqtt.host: hub.lan, mqtt.port: 1884"),
        ("mqtts://hub.lan", "mqtt.host: hub.lan, mqtt.port: 8883, mqtt.tls.enabled: true"),
        ("hub.lan:1883", "mqtt.host: hub.lan, mqtt.port: 1883"),
        ("[::1]", "mqtt.host: ::1"),
        ("[fd00::2]:1884", "mqtt.host: fd00::2, mqtt.port: 1884"),
    ],
)
def test_a_broker_url_or_address_with_port_gets_a_suggestion(host: str, suggestion: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, env={}, overrides=[f"mqtt.host={host}"])
    (line,) = caught.value.message.splitlines()
    assert line.startswith(f"mqtt.host = {host} (--set) is more than a name or an address; write ")
    assert line.endswith(suggestion)


@pytest.mark.parametrize("host", ["hub.lan", "192.168.1.2", "::1", "fd00::2", "embedded"])
def test_a_plain_broker_address_is_accepted(host: str) -> None:
    assert load(None, env={}, overrides=[f"mqtt.host={host}"]).config.mqtt.host == host


@pytest.mark.parametrize("host", [" hub.lan", "hub.lan ", "\u00a0hub.lan"])
def test_spaces_around_a_broker_address_are_rejected(host: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(None, env={}, overrides=[f'mqtt.host="{host}"'])
    assert caught.value.message == (
        f"mqtt.host = {host} (--set) is more than a name or an address; write mqtt.host: hub.lan"
    )

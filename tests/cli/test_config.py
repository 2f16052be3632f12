from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from serd.config.schema import json_schema

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.cli.conftest import Outcome

    Serd = Callable[..., Outcome]


def test_show(serd: Serd, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERD_MQTT__USERNAME", "hearer")
    monkeypatch.setenv("SERD_MQTT__PASSWORD", "hunter2")
    (home / "config.yaml").write_text("mqtt:\n  host: broker\n")
    code, out, err = serd("config", "show", "--set", "log.format=json")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "# config.yaml"
    assert "  host: broker                            # config.yaml, line 2" in lines
    assert "  port: 1883                              # default" in lines
    assert "  username: hearer                        # SERD_MQTT__USERNAME" in lines
    assert "  password: '********'                    # SERD_MQTT__PASSWORD" in lines
    assert "  format: json                            # --set" in lines
    assert "hunter2" not in out


def test_show_as_json(serd: Serd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SERD_MQTT__USERNAME", "hearer")
    monkeypatch.setenv("SERD_MQTT__PASSWORD", "hunter2")
    shown = json.loads(serd("config", "show", "--json").out)
    assert shown["file"] is None
    assert shown["config"]["mqtt"]["password"] == "********"
    assert shown["origins"]["mqtt.password"] == "SERD_MQTT__PASSWORD"
    assert shown["origins"]["mqtt.port"] == "default"


@pytest.mark.parametrize("options", [(), ("--json",)])
def test_show_masks_logins_in_commands(serd: Serd, options: tuple[str, ...]) -> None:
    url = "https://me:hunter2@phone.example/send?title=serd"
    hooks = f"hooks=[{{command: [curl, '{url}', '--proxy=http://p:hunter2@gate:8080/']}}]"
    sources = "sources=[{node: a, audio: {command: [cat, 'http://u:hunter2@h/']}}]"
    done = serd("config", "show", *options, "--set", hooks, "--set", sources)
    assert (done.code, done.err) == (0, "")
    assert "https://********@phone.example/send?title=********" in done.out
    assert "--proxy=http://********@gate:8080/" in done.out
    assert "http://********@h/" in done.out
    assert "hunter2" not in done.out


def test_validate(serd: Serd, home: Path) -> None:
    assert serd("config", "validate") == (
        0,
        "valid: the defaults (there is no configuration file)\n",
        "",
    )
    (home / "config.yaml").write_text("mute: true")
    assert serd("config", "validate") == (0, "valid: config.yaml\n", "")


def test_validate_rejects_invalid_settings(serd: Serd, home: Path) -> None:
    (home / "config.yaml").write_text("mute: 3\nmqtt: {prot: 1}")
    assert serd("config", "validate") == (
        78,
        "",
        (
            "serd: config.yaml, line 1: mute = 3 is not allowed; allowed: true or false\n"
            "serd: config.yaml, line 2: unknown key mqtt.prot; did you mean mqtt.port?\n"
        ),
    )


def test_validate_checks_the_files_that_settings_name(serd: Serd, home: Path) -> None:
    arguments = ("config", "validate", "--set", "mqtt.username=u", "--set", "mqtt.password_file=pw")
    code, out, err = serd(*arguments)
    assert (code, out) == (78, "")
    assert "mqtt.password_file" in err
    (home / "pw").write_text("hunter2\n")
    (home / "pw").chmod(0o600)
    code, out, err = serd(*arguments)
    assert (code, out) == (0, "valid: the defaults (there is no configuration file)\n")


def test_validate_warns_about_a_password_on_the_command_line(serd: Serd) -> None:
    code, _, err = serd(
        "config", "validate", "--set", "mqtt.username=u", "--set", "mqtt.password=hunter2"
    )
    assert code == 0
    assert err.splitlines()[0] == (
        "serd: warning: --set mqtt.password: every user of this machine can see it; "
        "use mqtt.password_file"
    )
    assert "hunter2" not in err


def test_schema(serd: Serd) -> None:
    code, out, err = serd("config", "schema")
    assert (code, err) == (0, "")
    assert json.loads(out) == json.loads(json.dumps(json_schema()))


def test_an_invalid_node_name_gets_a_suggestion(serd: Serd) -> None:
    code, _, err = serd("config", "validate", "--set", "node=Küche")
    assert code == 78
    assert "write node: kueche, and name: Küche for people" in err
    assert serd("config", "validate", "--set", "node=kueche", "--set", "name=Küche").code == 0

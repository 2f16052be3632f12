"""Logins in URLs and files: masked in all output, passed to the connections that need them."""

from __future__ import annotations

from pathlib import Path

import pytest

from serd.config.loading import load
from serd.config.secrets import (
    blanked,
    holds_secret,
    is_url,
    masked,
    read_password,
    scrubbed,
    url_problem,
    with_login,
)
from serd.errors import ConfigError

STARS = "********"
SECRET = "correct horse battery"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("rtsp://cam/live", "rtsp://cam/live"),
        ("rtsp://admin:hunter22@cam:554/live", f"rtsp://{STARS}@cam:554/live"),
        ("rtsp://admin@cam/live", f"rtsp://{STARS}@cam/live"),
        ("rtsp://admin:hun@ter22@cam/live", f"rtsp://{STARS}@cam/live"),
        ("rtsp://admin:hun/ter22@cam/live", f"rtsp://{STARS}@cam/live"),
        ("rtsp://admin:hun#ter22@cam/live", f"rtsp://{STARS}@cam/live"),
        ("rtsp://admin:1#ter22@cam/live", f"rtsp://{STARS}@cam/live"),
        ("http://cam/a?user=admin&pwd=hunter22", f"http://cam/a?user={STARS}&pwd={STARS}"),
        ("http://cam/a?hunter22", f"http://cam/a?{STARS}"),
        ("rtsp://cam/user=admin_password=hunter22_channel=1", f"rtsp://cam/{STARS}"),
        ("rtsps://nvr:7441/aB3dE5gH7jK9mN1p", f"rtsps://nvr:7441/{STARS}"),
        ("http://u:hunter22@[::1]:8000/a#hunter22", f"http://{STARS}@[::1]:8000/a"),
        ("/a/file.wav", "/a/file.wav"),
        ("mic", "mic"),
    ],
)
def test_secrets_in_urls_are_masked(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert holds_secret(url) is (url != shown)
    assert len(blanked(url)) == len(url)
    assert "ter22" not in blanked(url)
    assert "ter22" not in scrubbed(f"cannot open '{url}': odd", url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rtsp://cam/live", None),
        ("srt://:9000?mode=listener", None),
        ("udp://@239.0.0.1:5000", None),
        ("RTSP://cam", None),
        ("file:///etc/passwd", "file is not supported"),
        ("concat://a", "concat is not supported"),
        ("rtsp://u:a/b@cam/live", "cannot be told apart"),
        ("rtsp://u:1#b@cam/live", "cannot be told apart"),
        ("rtsp:///live", "names no host"),
    ],
)
def test_problems_of_urls(url: str, expected: str | None) -> None:
    problem = url_problem(url)
    assert problem is None if expected is None else problem is not None and expected in problem
    assert is_url(url)


@pytest.mark.parametrize(
    ("url", "name", "password", "whole"),
    [
        ("rtsp://cam/a", None, None, "rtsp://cam/a"),
        ("rtsp://cam/a", "u", "p@/#", "rtsp://u:p%40%2F%23@cam/a"),
        ("rtsp://u@cam/a", None, "p", "rtsp://u:p@cam/a"),
        ("rtsp://u:own@cam/a", "x", "p", "rtsp://u:own@cam/a"),
        ("rtsp://cam/a", "u", None, "rtsp://u@cam/a"),
        ("http://cam/a?t={password}", None, "p&q", "http://cam/a?t=p%26q"),
        ("srt://h:1?passphrase={password}", None, "a b/c", "srt://h:1?passphrase=a b/c"),
    ],
)
def test_login_settings_are_inserted_into_the_url(
    url: str, name: str | None, password: str | None, whole: str
) -> None:
    assert with_login(url, name, password) == whole


@pytest.mark.parametrize(
    ("setting", "shown"),
    [
        ("mqtt.host=u:s3cr3t@h", f"mqtt.host = {STARS}@h (--set)"),
        ("mqtt.host=s3cr3t@h", f"mqtt.host = {STARS}@h (--set)"),
        ("mqtt.host=u:s3cr3t/x@h", f"mqtt.host = {STARS}@h (--set)"),
        ("mqtt.host=mqtt://u:s3cr3t@h:1883", f"mqtt.host = mqtt://{STARS}@h:1883 (--set)"),
        ("mqtt.host=u:s3cr3t@h\t.", f"mqtt.host = {STARS}@h"),
        ("audio.device=rtsp://u:s3cr3t x@h/", f"audio.device = rtsp://{STARS}@h/ (--set)"),
        ("audio.device=rtsp://u:s3cr3t@h/", f"audio.device = rtsp://{STARS}@h/ (--set)"),
        (
            "audio={device: 'rtsp://u:s3cr3t@h/'}; sources=[{node: a}, {node: b}]",
            f"audio.device = rtsp://{STARS}@h/ (--set) is the same as",
        ),
    ],
)
def test_a_refused_setting_is_named_without_its_login(setting: str, shown: str) -> None:
    with pytest.raises(ConfigError) as refused:
        load(Path("/dev/null"), env={}, overrides=setting.split("; "))
    assert shown in str(refused.value)
    assert "s3cr3t" not in str(refused.value)


def warnings(*overrides: str) -> tuple[str, ...]:
    return load(Path("/dev/null"), env={}, overrides=overrides).warnings


@pytest.mark.parametrize(
    "settings",
    [
        ("mqtt.username=u", "mqtt.password_file={}"),
        ("mqtt.tls.cert=/c", "mqtt.tls.key={}"),
        ("audio.source=rtsp://cam/x", "audio.username=u", "audio.password_file={}"),
        ("sources=[{{node: a, audio: {{source: 'rtsp://cam/x', password_file: '{}'}}}}]",),
    ],
)
def test_a_world_readable_secret_file_is_warned_about(
    tmp_path: Path, settings: tuple[str, ...]
) -> None:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o644)
    overrides = [setting.format(path) for setting in settings]
    (warning,) = warnings(*overrides)
    assert warning.endswith(f": {path} can be read by every user; chmod 600 {path}")
    path.chmod(0o640)
    assert warnings(*overrides) == ()


@pytest.mark.parametrize("host", ["broker.lan", "192.168.1.5", "2001:db8::5", "localhost.lan"])
def test_an_unencrypted_login_to_another_machine_is_warned_about(host: str) -> None:
    (warning,) = warnings(f"mqtt.host={host}", "mqtt.username=serd")
    assert "unencrypted" in warning
    assert host in warning


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "::1", "LOCALHOST.", "embedded"])
def test_an_unencrypted_login_on_this_machine_is_accepted(host: str) -> None:
    assert warnings(f"mqtt.host={host}", "mqtt.username=serd") == ()


def test_a_login_over_tls_is_accepted() -> None:
    assert warnings("mqtt.host=broker.lan", "mqtt.username=serd", "mqtt.tls.enabled=yes") == ()


def test_systemd_credentials_are_read_from_the_credentials_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = [
        "mqtt.username=serd",
        "mqtt.password_file=/etc/credstore/serd.mqtt-password",
        "mqtt.tls={ca: /etc/ssl/ca.pem, cert: /etc/credstore/cert, key: /etc/credstore/key}",
    ]
    as_written = load(Path("/dev/null"), env={}, overrides=settings).config.mqtt
    assert as_written.password_file == "/etc/credstore/serd.mqtt-password"
    for name in ("serd.mqtt-password", "key", "ca.pem"):
        (tmp_path / name).write_text("from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    mqtt = load(Path("/dev/null"), env={}, overrides=settings).config.mqtt
    assert mqtt.password_file == str(tmp_path / "serd.mqtt-password")
    assert mqtt.tls.key == str(tmp_path / "key")
    assert mqtt.tls.cert == "/etc/credstore/cert"  # not passed by systemd
    assert mqtt.tls.ca == "/etc/ssl/ca.pem"  # not from the credential store
    assert read_password("mqtt.password_file", mqtt.password_file) == "from systemd"

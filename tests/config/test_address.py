from __future__ import annotations

import pytest

from serd.config.secrets import (
    blanked,
    holds_secret,
    is_url,
    masked,
    scrubbed,
    trouble,
    with_login,
)

STARS = "********"


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
def test_what_is_shown_of_a_url(url: str, shown: str) -> None:
    assert masked(url) == shown
    assert holds_secret(url) is (url != shown)
    assert len(blanked(url)) == len(url)
    assert "ter22" not in blanked(url)
    assert "ter22" not in scrubbed(f"cannot open '{url}': odd", url)


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("rtsp://cam/live", None),
        ("srt://:9000?mode=listener", None),
        ("udp://@239.0.0.1:5000", None),
        ("RTSP://cam", None),
        ("file:///etc/passwd", "file is not read"),
        ("concat://a", "concat is not read"),
        ("rtsp://u:a/b@cam/live", "cannot be told apart"),
        ("rtsp://u:1#b@cam/live", "cannot be told apart"),
        ("rtsp:///live", "names no host"),
    ],
)
def test_what_is_wrong_with_a_url(url: str, wrong: str | None) -> None:
    said = trouble(url)
    assert said is None if wrong is None else said is not None and wrong in said
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
def test_a_login_that_is_kept_elsewhere(
    url: str, name: str | None, password: str | None, whole: str
) -> None:
    assert with_login(url, name, password) == whole

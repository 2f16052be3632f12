"""Secrets: passwords in files and in URLs, and how both are shown without them."""

from __future__ import annotations

import re
import stat
from pathlib import Path
from typing import Final
from urllib.parse import quote, unquote

from serd.errors import ConfigError

MASK: Final = "********"
"""Replaces a secret wherever a configuration is shown."""

SCHEMES: Final = ("rtsp", "rtsps", "http", "https", "udp", "rtp", "srt", "rtmp", "rtmps")
"""Schemes of live streams. URLs that name a file or a device are refused."""

PLACEHOLDER: Final = "{password}"
"""Marks where the password belongs in a URL, if that is not in its login."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_ANYWHERE: Final = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[^\s'\"]+")
_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.%]*\]|[^:@\[\]]*)(:[0-9]*)?")
_SECRET_WORD: Final = re.compile(r"pass|pwd|secret|token|key|auth|user|usr", re.IGNORECASE)
_RANDOM: Final = re.compile(r"(?=.*[0-9])(?=.*[A-Za-z])[A-Za-z0-9]{16,}")


def is_url(text: str) -> bool:
    """Whether a source is a URL, with any scheme."""
    return _URL.fullmatch(text) is not None


def scheme(url: str) -> str:
    """The scheme of a URL, in lower case."""
    return url.partition(":")[0].lower()


def _split(url: str) -> tuple[str, str, str, str]:
    """Split a URL into scheme, login (may be empty), host with port, and the rest."""
    kind, _, rest = url.partition("://")
    end = next((at for at, sign in enumerate(rest) if sign in "/?#"), len(rest))
    authority, after = rest[:end], rest[end:]
    login, _, host = authority.rpartition("@")
    odd = not _HOST.fullmatch(authority) or after.startswith("#")
    if not login and odd and "@" in after:
        # A password that contains / ? or # unescaped: the login ends at the last @.
        login, _, behind = rest.rpartition("@")
        end = next((at for at, sign in enumerate(behind) if sign in "/?#"), len(behind))
        host, after = behind[:end], behind[end:]
    return kind, login, host, after


def url_problem(url: str) -> str | None:
    """What is wrong with a URL, in words that contain no secret; None if nothing is."""
    kind, _, host, _ = _split(url)
    if kind.lower() not in SCHEMES:
        return f"{kind} is not supported; allowed are URLs that begin with {', '.join(SCHEMES)}"
    rest = url.partition("://")[2]
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    hidden = "@" in rest and rest[len(authority) :].startswith("#")
    if hidden or not _HOST.fullmatch(authority.rpartition("@")[2]):
        return (
            "its host and port cannot be told apart; in a login, write / as %2F, ? as %3F, "
            "# as %23, @ as %40 and % as %25"
        )
    if not host.partition(":")[0] and scheme(url) not in {"udp", "rtp", "srt"}:
        return "it names no host"
    return None


def masked(url: str) -> str:
    """A URL with its login, the values of its query and whatever looks like a secret masked.

    Args:
        url: A URL; any other text is returned unchanged.
    """
    if not is_url(url):
        return url
    kind, login, host, after = _split(url)
    after = after.partition("#")[0]
    path, question, query = after.partition("?")
    path = "/".join(_masked_segment(segment) for segment in path.split("/"))
    if question:
        fields = [field.partition("=") for field in query.split("&")]
        query = "&".join(f"{name}={MASK}" if equals else MASK for name, equals, _ in fields)
    return f"{kind}://{MASK + '@' if login else ''}{host}{path}{question}{query}"


def masked_host(host: str) -> str:
    """A broker's address as it was written, with any login in it masked, scheme or not."""
    return masked(host) if is_url(host) else re.sub(r".*@", f"{MASK}@", host, flags=re.DOTALL)


def _masked_segment(segment: str) -> str:
    plain = unquote(segment)
    hidden = ("=" in plain and _SECRET_WORD.search(plain)) or _RANDOM.fullmatch(plain)
    return MASK if hidden else segment


def scrubbed(text: str, url: str = "") -> str:
    """A text in which every URL is masked, and so are the secrets of one given URL.

    Args:
        text: Such as an error message of ffmpeg.
        url: Its secrets are masked even where they appear outside a URL.
    """
    if url:
        text = text.replace(url, masked(url))
    text = _ANYWHERE.sub(lambda match: masked(match[0]), text)
    for secret in sorted(secrets(url), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def secrets(url: str) -> set[str]:
    """The secrets in a URL, both escaped and unescaped.

    Very short ones are left out, because they would match in any text.
    """
    if not is_url(url):
        return set()
    _, login, _, after = _split(url)
    found = {login, login.partition(":")[2]}
    query = after.partition("?")[2]
    found |= {
        value
        for name, _, value in (field.partition("=") for field in query.split("&"))
        if _SECRET_WORD.search(name)
    }
    found |= {unquote(secret) for secret in found}
    return {secret for secret in found if len(secret) >= 4}


def holds_secret(url: str) -> bool:
    """Whether a URL contains a secret."""
    return is_url(url) and masked(url).count(MASK) > url.count(MASK)


def has_password(url: str) -> bool:
    """Whether the login in a URL includes a password."""
    password = _split(url)[1].partition(":")[2]
    return bool(password) and password != PLACEHOLDER


def blanked(url: str) -> str:
    """A URL of the same length with every character of a secret replaced by an asterisk."""
    if not is_url(url):
        return url
    kind, login, host, after = _split(url)
    after, mark, fragment = after.partition("#")
    path, question, query = after.partition("?")
    path = "/".join(
        "*" * len(segment) if _masked_segment(segment) == MASK else segment
        for segment in path.split("/")
    )
    fields = [field.partition("=") for field in query.split("&")]
    query = "&".join(
        f"{name}={'*' * len(value)}" if equals else "*" * len(name)
        for name, equals, value in fields
    )
    at = "@" if login else ""
    rest = f"{path}{question}{query}{mark}{'*' * len(fragment)}"
    return f"{kind}://{'*' * len(login)}{at}{host}{rest}"


def with_login(url: str, username: str | None, password: str | None) -> str:
    """Put a login that is configured separately into a URL.

    Args:
        url: As configured. ``{password}`` in it is replaced by the password.
        username: The user name, unless it is in the URL.
        password: The password.
    """
    # SRT uses the values of its query verbatim; all others undo the escapes.
    coded = quote(password or "", safe="" if scheme(url) != "srt" else "!$'()*,/:;@^~ ")
    if PLACEHOLDER in url:
        return url.replace(PLACEHOLDER, coded)
    kind, login, host, after = _split(url)
    name, colon, own = login.partition(":")
    name = name or quote(username or "", safe="")
    if colon and own:
        return url
    if password is not None:
        return f"{kind}://{name}:{coded}@{host}{after}"
    return f"{kind}://{name}@{host}{after}" if name else url


# ---------------------------------------------------------------------- files

_MAX_PASSWORD: Final = 65_535
"""Bytes of the longest password that MQTT can carry."""


def read_password(key: str, path: str) -> str:
    """Read the first line of a password file.

    Args:
        key: The key that names it.
        path: The file.

    Raises:
        ConfigError: It cannot be read, or contains no password.
    """
    try:
        with Path(path).open("rb") as file:
            line = file.readline(_MAX_PASSWORD + 3).rstrip(b"\r\n")
        password = line.decode("utf-8-sig")  # some editors write a byte order mark
    except OSError as error:
        denied = isinstance(error, PermissionError)
        raise ConfigError(
            f"{key}: cannot read {path}: {error.strerror or error}",
            remedy="the service's password is for root alone: run the command with sudo"
            if denied
            else None,
        ) from None
    except UnicodeDecodeError:
        # "from None": the original error contains the secret.
        raise ConfigError(f"{key}: {path} is not UTF-8 text") from None
    if not password or len(line) > _MAX_PASSWORD:
        raise ConfigError(f"{key}: the first line of {path} holds no password")
    return password


def readable_by_all(path: str | Path) -> bool:
    """Whether every user of this machine can read a file."""
    try:
        return bool(Path(path).stat().st_mode & stat.S_IROTH)
    except OSError:
        return False

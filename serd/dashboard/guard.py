"""Access control: checks on every request, sessions, and security headers on every response.

In this order: ``Host`` must be one of the dashboard's names (against DNS rebinding), requests that
change something must come from its own page (against cross-site request forgery), and if there is
a token the visitor must have presented it. Behind Home Assistant's ingress the proxy's address
replaces the first and the last check: only the proxy has it, and its users have logged in there.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import math
import secrets
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse, PlainTextResponse, RedirectResponse, Response

from serd.dashboard.settings import own_names
from serd.network import is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from serd.dashboard.settings import Settings

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of every response."""

HEADERS: Final = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: with that, browsers say "Origin: null" when a form is posted.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

_IN_HOME_ASSISTANT: Final = {
    "content-security-policy": POLICY.replace("frame-ancestors 'none'", "frame-ancestors 'self'"),
    "x-frame-options": "SAMEORIGIN",
}
"""Behind ingress Home Assistant shows the page in a frame of its own."""

_OPEN: Final = ("/static/", "/login", "/healthz")
_SESSIONS_TRIED: Final = 8
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

SESSION_S: Final = 7 * 86_400
"""Seconds until a visitor has to log in again."""

SESSIONS_MAX: Final = 256
"""Sessions at a time; a further one ends the oldest."""

ATTEMPTS: Final = 5
"""Wrong tokens at once from one address; then one for every :data:`REFILL_S` seconds."""

REFILL_S: Final = 12.0

_ADDRESSES_MAX: Final = 1024


def cookie_name(settings: Settings) -> str:
    """Name of the session cookie; with TLS its prefix stops others and plain HTTP setting it."""
    return "__Host-serd" if settings.https else "serd"


def sessions_of(headers: Headers, settings: Settings) -> list[str]:
    """Session ids in the request's cookies, the likeliest first.

    All programs on a host share its cookies, whatever their port: those of others are skipped,
    however malformed (RFC 6265, 5.4: names and values are separated by ``;`` and ``=``). There may
    be several of ours, some of them stale.
    """
    name = cookie_name(settings)
    pairs = (part.partition("=") for line in headers.getlist("cookie") for part in line.split(";"))
    values = [value.strip().strip('"') for key, _, value in pairs if key.strip() == name]
    return values[:_SESSIONS_TRIED]


def client_of(scope: Scope) -> str:
    """The client's address, for the limit on attempts."""
    client = scope.get("client")
    return client[0] if client else "?"


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: The application behind it.
        settings: How the page is served.
        sessions: Sessions of visitors; None if no token is needed.
        throttle: Limits attempts to log in.
    """

    def __init__(
        self, app: ASGIApp, settings: Settings, sessions: Sessions | None, throttle: Throttle
    ) -> None:
        self._app = app
        self._settings = settings
        self._sessions = sessions
        self._throttle = throttle
        self._names = own_names() | {name.lower().rstrip(".") for name in settings.allowed_hosts}
        self._names.add(settings.host.lower())
        self._answer_headers = HEADERS | (_IN_HOME_ASSISTANT if settings.ingress else {})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] != "http":
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in self._answer_headers.items():
                    headers[name] = value
                # The page's files may be kept, but must be asked for again (ETag): otherwise old
                # scripts would run with a new server for days after an upgrade.
                static = scope["path"].startswith("/static/")
                headers["cache-control"] = "no-cache" if static else "no-store"
            await send(message)

        headers = Headers(scope=scope)
        refusal = (
            self._check_client(scope)
            or self._check_host(headers)
            or self._check_origin(scope, headers)
            or self._check_session(scope, headers)
        )
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _check_client(self, scope: Scope) -> Response | None:
        ingress = self._settings.ingress
        if ingress is None or _same_address(client_of(scope), ingress):
            return None
        if scope["path"] == "/healthz" and is_loopback(client_of(scope)):  # our own health check
            return None
        return error_response(403, "this dashboard can only be reached through Home Assistant")

    def _check_host(self, headers: Headers) -> Response | None:
        if self._settings.ingress is not None:  # whatever name Home Assistant is reached by
            return None
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        # An address cannot be rebound: only a name can be made to point somewhere else.
        if name is not None and (name in self._names or _is_address(name)):
            return None
        return PlainTextResponse(
            "This dashboard does not answer to that host name. Start it with --allow-host NAME to "
            "allow another.\n",
            status_code=421,
        )

    def _check_origin(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["method"] not in _CHANGING:
            return None
        origin = headers.get("origin")
        scheme = "https" if self._settings.https else "http"
        if origin is None:
            # A program, which may not use a cookie: browsers always say where a POST comes from.
            same_origin = headers.get("sec-fetch-site") in {None, "same-origin", "none"} and (
                self._sessions is None or "cookie" not in headers
            )
        elif self._settings.ingress is not None:
            # Proxies before Home Assistant may speak TLS for it, or be called by another name.
            named = (headers.get("host", ""), headers.get("x-forwarded-host", ""))
            same_origin = origin.partition("://")[2].lower() in {
                name.lower() for name in named if name
            }
        else:
            same_origin = origin.lower() == f"{scheme}://{headers.get('host', '').lower()}"
        if same_origin:
            return None
        page = f"{scheme}://{headers.get('host', '')[:100]}"
        came = "a page of another address" if origin is None else origin[:100]
        return error_response(
            403,
            f"this request comes from {came}, but this dashboard is {page}; a proxy between them "
            "must pass on the Host header (nginx: proxy_set_header Host $http_host), and if it "
            "serves HTTPS, start the dashboard with --behind-proxy",
        )

    def _check_session(self, scope: Scope, headers: Headers) -> Response | None:
        path: str = scope["path"]
        sessions = self._sessions
        if sessions is None or path.startswith(_OPEN):
            return None
        bearer = headers.get("authorization")
        if bearer is not None:
            return self._check_bearer(sessions, scope, bearer)
        if any(sessions.valid(session) for session in sessions_of(headers, self._settings)):
            return None
        if path.startswith("/api/"):
            return error_response(
                401, "log in, or send the header Authorization: Bearer TOKEN",
                {"www-authenticate": "Bearer"},
            )  # fmt: skip
        return RedirectResponse("login", status_code=303)

    def _check_bearer(self, sessions: Sessions, scope: Scope, bearer: str) -> Response | None:
        address = client_of(scope)
        if wait := self._throttle.wait_s(address):
            return too_many(wait)
        kind, _, token = bearer.partition(" ")
        if kind.lower() == "bearer" and sessions.is_token(token.strip()):
            return None
        self._throttle.failed(address)
        return error_response(401, "wrong token", {"www-authenticate": "Bearer"})


def error_response(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """A JSON response with an error."""
    return JSONResponse({"error": reason}, status_code=status, headers=headers)


def too_many(wait_s: float) -> Response:
    """The response after too many wrong tokens."""
    seconds = math.ceil(wait_s)
    return error_response(
        429, f"too many wrong tokens; try again in {seconds} s", {"retry-after": str(seconds)}
    )


def host_name(host: str) -> str | None:
    """The name or address in a ``Host`` header, without the port; None if it is none."""
    host = host.lower()
    if host.startswith("["):
        name, bracket, port = host[1:].partition("]")
        if not bracket or (port and not port.startswith(":")):
            return None
        return name if _is_address(name) else None
    name, _, port = host.partition(":")
    if port and not port.isdigit():
        return None
    return name.rstrip(".") or None


def _same_address(one: str, other: str) -> bool:
    try:
        addresses = [ipaddress.ip_address(text.partition("%")[0]) for text in (one, other)]
    except ValueError:
        return False
    # A socket for both kinds writes an IPv4 address as ::ffff:172.30.32.2.
    plain = [getattr(address, "ipv4_mapped", None) or address for address in addresses]
    return plain[0] == plain[1]


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class Sessions:
    """The token, and the sessions of visitors who knew it. In memory: a restart ends them all.

    Args:
        token: The token.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = _digest(token)
        self._clock = clock
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends)

    def is_token(self, token: str) -> bool:
        """Whether this is the token; compared in constant time."""
        return hmac.compare_digest(_digest(token), self._token)

    def start(self) -> str:
        """Start a session and return its id, of which only a digest is kept."""
        session = secrets.token_urlsafe(32)
        self._ends[_digest(session)] = self._clock() + SESSION_S
        while len(self._ends) > SESSIONS_MAX:
            self._ends.popitem(last=False)
        return session

    def valid(self, session: str) -> bool:
        """Whether there is such a session."""
        digest = _digest(session)
        end = self._ends.get(digest)
        if end is None:
            return False
        if self._clock() >= end:
            del self._ends[digest]
            return False
        return True

    def end(self, session: str) -> None:
        """End a session, if it exists."""
        self._ends.pop(_digest(session), None)


class Throttle:
    """Limits wrong tokens by address (IPv6: by /64) with a token bucket.

    While the bucket is empty the right token is refused as well; otherwise guessing could go on.

    Args:
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 if now."""
        left, _ = self._bucket(network_of(address))
        return 0.0 if left >= 1 else (1 - left) * REFILL_S

    def failed(self, address: str) -> None:
        """Count a wrong token from this address."""
        group = network_of(address)
        left, now = self._bucket(group)
        self._buckets[group] = (max(0.0, left - 1), now)
        self._buckets.move_to_end(group)
        if len(self._buckets) > _ADDRESSES_MAX:
            self._buckets.popitem(last=False)

    def _bucket(self, group: str) -> tuple[float, float]:
        now = self._clock()
        left, moment = self._buckets.get(group, (float(ATTEMPTS), now))
        return min(float(ATTEMPTS), left + (now - moment) / REFILL_S), now


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def network_of(address: str) -> str:
    """The address itself, or for IPv6 the /64 network, which is what one household has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address

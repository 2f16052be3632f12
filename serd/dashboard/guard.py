"""What every request has to pass before anything looks at it, and what every answer carries.

In this order: the ``Host`` must be one of ours (against DNS rebinding), what changes something
must come from a page of ours (against forged requests), and with a token the visitor must have
shown it. Behind Home Assistant's ingress the address of the proxy stands for the first and the last
of these: it comes from where nobody else can, and whoever it asks for has logged in there.
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

from serd.dashboard.settings import is_loopback, own_names

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from serd.dashboard.settings import Settings

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy of every answer."""

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
"""What differs behind ingress: Home Assistant shows the page in a frame of its own."""

_OPEN: Final = ("/static/", "/login", "/healthz")
_SESSIONS_TRIED: Final = 8
_CHANGING: Final = frozenset({"POST", "PUT", "PATCH", "DELETE"})

SESSION_S: Final = 7 * 86_400
"""Seconds after which somebody has to log in again."""

SESSIONS_MAX: Final = 256
"""Sessions at a time; the oldest ends when there is one more."""

ATTEMPTS: Final = 5
"""Wrong tokens at once from one address; then one for every :data:`REFILL_S` seconds."""

REFILL_S: Final = 12.0

_ADDRESSES_MAX: Final = 1024


def cookie_name(settings: Settings) -> str:
    """Of the session; with TLS the prefix keeps other hosts and plain HTTP from setting it."""
    return "__Host-serd" if settings.https else "serd"


def sessions_of(headers: Headers, settings: Settings) -> list[str]:
    """Ids of sessions in the request's cookies, the likeliest first.

    Cookies of a host are shared by all programs on it, whatever their port: others' are skipped,
    however they are written (RFC 6265, 5.4: names and values are what stands between ``;`` and
    ``=``). Of ours there may be several, one of them left over from before.
    """
    name = cookie_name(settings)
    pairs = (part.partition("=") for line in headers.getlist("cookie") for part in line.split(";"))
    values = [value.strip().strip('"') for key, _, value in pairs if key.strip() == name]
    return values[:_SESSIONS_TRIED]


def client_of(scope: Scope) -> str:
    """The visitor's address, for the limit on attempts."""
    client = scope.get("client")
    return client[0] if client else "?"


class Guard:
    """ASGI middleware; see the module.

    Args:
        app: What is guarded.
        settings: How the page is served.
        sessions: Who has shown the token; None if none is needed.
        throttle: Who has tried too often.
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
                if not scope["path"].startswith("/static/"):
                    headers["cache-control"] = "no-store"
            await send(message)

        headers = Headers(scope=scope)
        refusal = (
            self._judge_caller(scope)
            or self._judge_host(headers)
            or self._judge_origin(scope, headers)
            or self._judge_visitor(scope, headers)
        )
        await (refusal or self._app)(scope, receive, send_with_headers)

    def _judge_caller(self, scope: Scope) -> Response | None:
        ingress = self._settings.ingress
        if ingress is None or _same_address(client_of(scope), ingress):
            return None
        if scope["path"] == "/healthz" and is_loopback(client_of(scope)):  # our own health check
            return None
        return refuse(403, "this dashboard is reached through Home Assistant alone")

    def _judge_host(self, headers: Headers) -> Response | None:
        if self._settings.ingress is not None:  # whatever name Home Assistant is reached by
            return None
        hosts = headers.getlist("host")
        name = host_name(hosts[0]) if len(hosts) == 1 else None
        # An address cannot be rebound: only a name can be made to point somewhere else.
        if name is not None and (name in self._names or _is_address(name)):
            return None
        return PlainTextResponse(
            "This name is not one of this dashboard's. Start it with --allow-host NAME to allow "
            "another.\n",
            status_code=421,
        )

    def _judge_origin(self, scope: Scope, headers: Headers) -> Response | None:
        if scope["method"] not in _CHANGING:
            return None
        origin = headers.get("origin")
        scheme = "https" if self._settings.https else "http"
        if origin is None:
            # A program. Browsers always say where a POST comes from; none may rely on a cookie.
            ours = headers.get("sec-fetch-site") in {None, "same-origin", "none"} and (
                self._sessions is None or "cookie" not in headers
            )
        elif self._settings.ingress is not None:
            # Proxies before Home Assistant may speak TLS for it, or be called by another name.
            named = (headers.get("host", ""), headers.get("x-forwarded-host", ""))
            ours = origin.partition("://")[2].lower() in {name.lower() for name in named if name}
        else:
            ours = origin.lower() == f"{scheme}://{headers.get('host', '').lower()}"
        if ours:
            return None
        page = f"{scheme}://{headers.get('host', '')[:100]}"
        came = "a page of another address" if origin is None else origin[:100]
        return refuse(
            403,
            f"this request comes from {came}, and this dashboard is {page}; a proxy in between "
            "must pass on the header Host (nginx: proxy_set_header Host $http_host), and if it "
            "speaks HTTPS the dashboard must know (--behind-proxy)",
        )

    def _judge_visitor(self, scope: Scope, headers: Headers) -> Response | None:
        path: str = scope["path"]
        sessions = self._sessions
        if sessions is None or path.startswith(_OPEN):
            return None
        bearer = headers.get("authorization")
        if bearer is not None:
            return self._judge_bearer(sessions, scope, bearer)
        if any(sessions.valid(session) for session in sessions_of(headers, self._settings)):
            return None
        if path.startswith("/api/"):
            return refuse(
                401, "log in, or send the header Authorization: Bearer TOKEN",
                {"www-authenticate": "Bearer"},
            )  # fmt: skip
        return RedirectResponse("login", status_code=303)

    def _judge_bearer(self, sessions: Sessions, scope: Scope, bearer: str) -> Response | None:
        address = client_of(scope)
        if wait := self._throttle.wait_s(address):
            return too_many(wait)
        kind, _, token = bearer.partition(" ")
        if kind.lower() == "bearer" and sessions.right(token.strip()):
            return None
        self._throttle.failed(address)
        return refuse(401, "this is not the token", {"www-authenticate": "Bearer"})


def refuse(status: int, reason: str, headers: dict[str, str] | None = None) -> Response:
    """An error as JSON."""
    return JSONResponse({"error": reason}, status_code=status, headers=headers)


def too_many(wait_s: float) -> Response:
    """The answer to somebody who has guessed too often."""
    seconds = math.ceil(wait_s)
    return refuse(
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
    """The token and the sessions of those who knew it. In memory: a restart ends them all.

    Args:
        token: What a visitor must know.
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, token: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._token = _digest(token)
        self._clock = clock
        self._ends: OrderedDict[bytes, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._ends)

    def right(self, token: str) -> bool:
        """Whether this is the token; takes as long for a nearly right one as for a wrong one."""
        return hmac.compare_digest(_digest(token), self._token)

    def begin(self) -> str:
        """Begin a session; its id is for the cookie and is kept here only as a digest."""
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
        """End a session, if there is such a one."""
        self._ends.pop(_digest(session), None)


class Throttle:
    """Counts wrong tokens by address (IPv6: by /64), as a bucket of attempts that refills.

    While the bucket is empty the right token is refused as well, or guessing would go on unseen.

    Args:
        clock: Seconds of a monotonic clock.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()
        self.failures = 0
        """Wrong tokens so far."""

    def wait_s(self, address: str) -> float:
        """Seconds until this address may try again; 0 if now."""
        left, _ = self._bucket(group_of(address))
        return 0.0 if left >= 1 else (1 - left) * REFILL_S

    def failed(self, address: str) -> None:
        """This address has sent a wrong token."""
        group = group_of(address)
        left, now = self._bucket(group)
        self.failures += 1
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


def group_of(address: str) -> str:
    """Whose address it is: itself, or for IPv6 the network that one household has."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 6:
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return address

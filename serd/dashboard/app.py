"""The web application: page, login, health, static files, and the API behind the guard."""

from __future__ import annotations

import html
import logging
import re
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from serd.dashboard.api import CONFIRM_S, Api, json_response, read_body
from serd.dashboard.guard import (
    REFILL_S,
    SESSION_S,
    Guard,
    Sessions,
    Throttle,
    client_of,
    cookie_name,
    error_response,
    sessions_of,
)
from serd.language import accepted, catalogue

if TYPE_CHECKING:
    from starlette.requests import Request

    from serd.dashboard.broker import Monitor, NodeCommands
    from serd.dashboard.settings import Settings

_log = logging.getLogger(__name__)

STATIC: Final = Path(__file__).parent / "static"
"""Folder of the page's files."""

_FORM_MAX: Final = 4096
_TEXT: Final = re.compile(r">([^<>]+)<")
_ATTRIBUTE: Final = re.compile(r'(?<= )(aria-label|placeholder)="([^"]*)"')


def make_app(
    settings: Settings, monitor: Monitor, commands: NodeCommands, *, confirm_s: float = CONFIRM_S
) -> Starlette:
    """Build the application.

    Args:
        settings: How the page is served.
        monitor: What is known of the nodes.
        commands: Sends commands to nodes.
        confirm_s: Seconds a node has to confirm a mute command.
    """
    sessions = None if settings.token is None else Sessions(settings.token)
    throttle = Throttle()
    pages = _Pages(settings, sessions, throttle, monitor)
    api = Api(monitor, commands, settings.journals, login=sessions is not None, confirm_s=confirm_s)
    return Starlette(
        routes=[
            Route("/", pages.index),
            Route("/login", pages.login, methods=["GET", "POST"]),
            Route("/logout", pages.logout, methods=["POST"]),
            Route("/healthz", pages.health),
            *api.routes(),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        middleware=[Middleware(Guard, settings=settings, sessions=sessions, throttle=throttle)],
        exception_handlers={404: _missing, 405: _wrong_method, 500: _bug},
    )


class _Pages:
    """Everything but the API."""

    def __init__(
        self, settings: Settings, sessions: Sessions | None, throttle: Throttle, monitor: Monitor
    ) -> None:
        self._settings = settings
        self._sessions = sessions
        self._throttle = throttle
        self._monitor = monitor

    async def index(self, request: Request) -> Response:
        return _html(request, "index.html")

    async def health(self, _: Request) -> Response:
        """For supervisors; reveals no more than whether it works."""
        failure = self._monitor.failure
        health = {"status": failure or "ok", "broker": self._monitor.connected}
        return json_response(health, status=503 if failure else 200)

    async def login(self, request: Request) -> Response:
        sessions = self._sessions
        if sessions is None:
            return RedirectResponse("./", status_code=303)
        if request.method != "POST":
            return _html(request, "login.html")
        body = await read_body(request, _FORM_MAX)
        address = client_of(request.scope)
        if self._throttle.wait_s(address):
            return self._login_again(request, "slow", 429)
        fields = parse_qs((body or b"").decode("ascii", "replace"), max_num_fields=10)
        if not sessions.is_token(fields.get("token", [""])[0].strip()):
            self._throttle.failed(address)
            _log.warning("a wrong token from %s", address)
            return self._login_again(request, "wrong", 401)
        response = RedirectResponse("./", status_code=303)
        response.set_cookie(
            cookie_name(self._settings),
            sessions.start(),
            max_age=SESSION_S,
            path="/",
            secure=self._settings.https,
            httponly=True,
            samesite="strict",
        )
        return response

    def _login_again(self, request: Request, why: str, status: int) -> Response:
        """The login page with a reason, shown by an attribute that CSS selects: no script runs."""
        response = _html(request, "login.html", replacing=('data-why=""', f'data-why="{why}"'))
        response.status_code = status
        if status == 429:
            response.headers["retry-after"] = f"{REFILL_S:.0f}"
        return response

    async def logout(self, request: Request) -> Response:
        if self._sessions is not None:
            for session in sessions_of(request.headers, self._settings):
                self._sessions.end(session)
        response = RedirectResponse("login", status_code=303)
        response.delete_cookie(
            cookie_name(self._settings), path="/", secure=self._settings.https, httponly=True,
            samesite="strict",
        )  # fmt: skip
        return response


def _html(request: Request, name: str, *, replacing: tuple[str, str] = ("", "")) -> Response:
    """A page in the browser's preferred language."""
    language = accepted(request.headers.get("accept-language", ""))
    headers = {"content-language": language, "vary": "accept-language"}
    page = translated_page(name, language).replace(*replacing, 1)
    return Response(page, media_type="text/html", headers=headers)


@lru_cache(maxsize=32)
def translated_page(name: str, language: str) -> str:
    """Translate the texts of a page's HTML, which scripts then only fill with data.

    Args:
        name: File name of the page.
        language: As in the name of a catalogue; what it lacks stays English.
    """
    words = catalogue(language)

    def translate(text: str) -> str:
        stripped = text.strip()
        return text.replace(stripped, html.escape(words.gettext(stripped))) if stripped else text

    page = (STATIC / name).read_text("utf-8").replace('lang="en"', f'lang="{words.language}"')
    page = _TEXT.sub(lambda found: f">{translate(found[1])}<", page)
    return _ATTRIBUTE.sub(lambda found: f'{found[1]}="{translate(found[2])}"', page)


async def _missing(_: Request, __: Exception) -> Response:
    return error_response(404, "no such page")


async def _wrong_method(_: Request, __: Exception) -> Response:
    return error_response(405, "method not allowed")


async def _bug(_: Request, error: Exception) -> Response:
    _log.error("a bug in serd dashboard: %s: %s", type(error).__name__, error)
    return error_response(500, "a bug in serd dashboard; its log says more")

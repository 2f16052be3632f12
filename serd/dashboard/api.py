"""The JSON API, for the page and for other programs."""

from __future__ import annotations

import asyncio
import threading
import time
from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from serd.dashboard import history
from serd.dashboard.guard import error_response
from serd.errors import SerdError
from serd.events.clock import parse_rfc3339, rfc3339
from serd.events.history import csv_lines
from serd.language import accepted, catalogue
from serd.model.emotions import COORDINATES, EMOTIONS, UNCERTAIN
from serd.mqtt.commands import CorrectRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from pathlib import Path

    from starlette.requests import Request

    from serd.dashboard.broker import Monitor, NodeCommands
    from serd.dashboard.nodes import KnownNode
    from serd.events.event import Event

CONFIRM_S: Final = 5.0
"""How long a node has to confirm a mute command."""

EVENTS_DEFAULT: Final = 500
EVENTS_MAX: Final = 5000
BINS_DEFAULT: Final = 288
BINS_MAX: Final = 1000

_BODY_MAX: Final = 1024
_RANGE_MAX_MS: Final = 366 * 86_400_000
_DAY_MS: Final = 86_400_000
_READERS: Final = 2
_PIECE: Final = 1000
"""Events of a download that are in memory at a time."""

_T = TypeVar("_T")


class _MuteCommand(msgspec.Struct, forbid_unknown_fields=True):
    muted: bool


class _CorrectCommand(msgspec.Struct, forbid_unknown_fields=True):
    id: str
    emotion: str | UnsetType | None = UNSET
    forget: bool = False


class Api:
    """Answers below ``/api/``.

    Args:
        monitor: What is known of the nodes.
        commands: Sends commands to nodes.
        journals: To read history from.
        login: Whether visitors have to log in.
        confirm_s: Seconds a node has to confirm a mute command.
    """

    def __init__(
        self,
        monitor: Monitor,
        commands: NodeCommands,
        journals: Sequence[Path] = (),
        *,
        login: bool = False,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        self._monitor = monitor
        self._commands = commands
        self._journals = tuple(journals)
        self._login = login
        self._confirm_s = confirm_s
        self._readers = asyncio.Semaphore(_READERS)

    def routes(self) -> list[Route]:
        """All of them."""
        return [
            Route("/api/info", self._info),
            Route("/api/nodes", self._nodes),
            Route("/api/nodes/{name}", self._node),
            Route("/api/nodes/{name}", self._forget, methods=["DELETE"]),
            Route("/api/nodes/{name}/mute", self._mute, methods=["POST"]),
            Route("/api/nodes/{name}/correct", self._correct, methods=["POST"]),
            Route("/api/events", self._events),
            Route("/api/timeline", self._timeline),
            Route("/api/stream", self._stream),
            Route("/api/words", _words),
            Route("/api/{rest:path}", _nothing),
        ]

    async def _info(self, _: Request) -> Response:
        sources = await in_background(history.sources, self._journals, len(self._monitor.recent))
        classes = [
            {"name": name, "valence": COORDINATES[name][0], "arousal": COORDINATES[name][1]}
            for name in EMOTIONS
        ]
        return json_response(
            {
                **self._monitor.info(),
                "login": self._login,
                "full": self._monitor.hub.full,
                "history": sources,
                "emotions": classes,
            }
        )

    async def _nodes(self, _: Request) -> Response:
        return json_response({"nodes": [node.as_dict() for node in self._monitor.nodes]})

    async def _node(self, request: Request) -> Response:
        node = self._monitor.nodes.get(request.path_params["name"])
        if node is None:
            return error_response(404, "no such node is known")
        return json_response(node.as_dict())

    async def _forget(self, request: Request) -> Response:
        """Clear what a node left on the broker; a running one would only come back."""
        node = self._monitor.nodes.get(request.path_params["name"])
        if node is None:
            return error_response(404, "no such node is known")
        if node.online:
            return error_response(409, f"{node.name} is online and would come back; stop it first")
        try:
            await in_background(self._commands.forget, node.name)
        except SerdError as error:
            return error_response(502, error.message)
        gone = await self._monitor.hub.until(
            lambda: self._monitor.nodes.get(node.name) is None, self._confirm_s
        )
        if gone:
            return json_response({"node": node.name, "forgotten": True})
        return error_response(504, f"the broker has not confirmed within {self._confirm_s:g} s")

    async def _mute(self, request: Request) -> Response:
        name = request.path_params["name"]
        body = await read_body(request, _BODY_MAX)
        if not request.headers.get("content-type", "").startswith("application/json"):
            return error_response(415, "send application/json")
        try:
            wanted = msgspec.json.decode(body or b"", type=_MuteCommand).muted
        except (msgspec.DecodeError, UnicodeDecodeError):
            return error_response(400, 'send {"muted": true} or {"muted": false}')
        node = self._monitor.nodes.get(name)
        if node is None:
            return error_response(404, "no such node is known")
        return await self._set_mute(node, wanted)

    async def _set_mute(self, node: KnownNode, wanted: bool) -> Response:
        """Send the command and wait until the node confirms it."""
        if node.online is False:
            return error_response(409, f"{node.name} is offline and would not hear the command")
        try:
            await in_background(self._commands.mute, node.name, wanted)
        except SerdError as error:
            return error_response(502, error.message)
        if await self._monitor.hub.until(lambda: node.muted is wanted, self._confirm_s):
            return json_response({"node": node.name, "muted": wanted})
        return error_response(504, f"{node.name} has not confirmed within {self._confirm_s:g} s")

    async def _correct(self, request: Request) -> Response:
        """Pass a correction to a node and return the node's answer."""
        body = await read_body(request, _BODY_MAX)
        if not request.headers.get("content-type", "").startswith("application/json"):
            return error_response(415, "send application/json")
        try:
            command = msgspec.json.decode(body or b"", type=_CorrectCommand)
        except (msgspec.DecodeError, UnicodeDecodeError):
            command = None
        if command is None or (command.emotion is UNSET) is not command.forget:
            return error_response(
                400, 'send {"id": EVENT_ID, "emotion": "happy"}; null means "not that"'
            )
        node = self._monitor.nodes.get(request.path_params["name"])
        if node is None:
            return error_response(404, "no such node is known")
        wanted = CorrectRequest(
            id=command.id.strip().lower(),
            emotion=None if command.emotion is UNSET else command.emotion,
            forget=command.forget,
        )
        return await self._send_correction(node, wanted)

    async def _send_correction(self, node: KnownNode, wanted: CorrectRequest) -> Response:
        """Send a correction and return the node's answer."""
        if node.online is False:
            return error_response(409, f"{node.name} is offline and would not hear the correction")
        try:
            result = await in_background(self._commands.correct, node.name, wanted)
        except SerdError as error:
            return error_response(502, error.message)
        if not result.ok:
            return error_response(422, result.message)
        self._monitor.add_correction(result.id, result.emotion)
        return json_response(result)

    async def _events(self, request: Request) -> Response:
        wanted = request.query_params.get("format", "json")
        everything = request.query_params.get("limit") == "all"
        try:
            query = read_query(request)
            limit = 0 if everything else _integer(request, "limit", EVENTS_DEFAULT, EVENTS_MAX)
        except ValueError as error:
            return error_response(400, str(error))
        if wanted not in {"json", "csv"}:
            return error_response(400, "format: write json or csv")
        kind = "text/csv" if wanted == "csv" else "application/json"
        if everything:
            pieces = self._csv(query) if wanted == "csv" else self._json(query)
            return StreamingResponse(pieces, media_type=kind)
        async with self._readers:
            found = await in_background(history.find, self._journals, self._recent(), query, limit)
            if wanted == "csv":
                return Response("".join(csv_lines(found.events)), media_type=kind)
            corrections = await self._corrections(found.events)
        return json_response(
            {
                "events": found.events,
                "truncated": found.truncated,
                "corrections": corrections,
            }
        )

    async def _corrections(self, events: list[Event]) -> dict[str, str]:
        return await in_background(
            history.corrections, self._journals, events, self._monitor.corrections
        )

    async def _csv(self, query: history.Query) -> AsyncIterator[str]:
        """All events as a table, in pieces; a slow reader keeps none of the others waiting."""
        lines = csv_lines(history.every(self._journals, self._recent(), query))
        while True:
            async with self._readers:
                piece = await in_background("".join, islice(lines, _PIECE))
            if not piece:
                return
            yield piece

    async def _json(self, query: history.Query) -> AsyncIterator[bytes]:
        """As :meth:`_csv`, with the fields of an ordinary response."""
        events = history.every(self._journals, self._recent(), query)
        corrections: dict[str, str] = {}
        head = b'{"events":['
        while True:
            async with self._readers:
                piece: list[Event] = await in_background(list, islice(events, _PIECE))
                corrections |= await self._corrections(piece)
            if not piece:
                break
            yield head + b",".join(map(msgspec.json.encode, piece))
            head = b","
        end = b"" if head == b"," else head
        yield end + b'],"truncated":false,"corrections":' + msgspec.json.encode(corrections) + b"}"

    async def _timeline(self, request: Request) -> Response:
        try:
            query = read_query(request)
            bins = _integer(request, "bins", BINS_DEFAULT, BINS_MAX)
        except ValueError as error:
            return error_response(400, str(error))
        return await self._read(history.timeline, query, bins)

    async def _read(self, work: Any, query: history.Query, number: int) -> Response:
        # Reading takes time; a hundred browsers at once must not starve the live view.
        async with self._readers:
            found = await in_background(work, self._journals, self._recent(), query, number)
            return json_response(found)

    def _recent(self) -> list[Event]:
        return self._monitor.recent.newest_first()

    async def _stream(self, _: Request) -> Response:
        if self._monitor.hub.full:
            return error_response(503, "too many browsers are connected", {"retry-after": "30"})
        return StreamingResponse(
            self._monitor.hub.stream(),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )


async def _words(request: Request) -> Response:
    """Translations in the browser's preferred language; what is missing stays English."""
    return json_response(catalogue(accepted(request.headers.get("accept-language", ""))).words)


async def _nothing(_: Request) -> Response:
    return error_response(404, "no such endpoint; see docs/dashboard.md")


def json_response(content: object, *, status: int = 200) -> Response:
    """A JSON response."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def read_body(request: Request, most: int) -> bytes | None:
    """The request's body; None if it is longer than ``most`` bytes, without reading the rest."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return body


def read_query(request: Request) -> history.Query:
    """Read the selection of events from a request.

    Raises:
        ValueError: With a sentence that names the parameter.
    """
    now = time.time_ns() // 1_000_000
    until = _moment(request, "until", now + 60_000)  # nodes' clocks may be a little fast
    since = _moment(request, "since", until - _DAY_MS)
    if not 0 <= until - since <= _RANGE_MAX_MS:
        raise ValueError("since must be before until, and at most 366 days")
    emotions = frozenset(request.query_params.getlist("emotion"))
    if wrong := emotions - {*EMOTIONS, UNCERTAIN}:
        raise ValueError(f"emotion: there is no {min(wrong)!a}")
    return history.Query(
        since_ms=since,
        until_ms=until,
        node=request.query_params.get("node") or None,
        emotions=emotions,
    )


def _moment(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name)
    if not text:
        return default
    wrong = f"{name}: write milliseconds since 1970, or like 2026-03-01T08:15:00.250Z"
    try:
        ms = int(text) if text.isdecimal() and text.isascii() else parse_rfc3339(text)
        rfc3339(ms)
    except (ValueError, OverflowError):
        raise ValueError(wrong) from None
    return ms


def _integer(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if not text:
        return default
    if not (text.isdecimal() and text.isascii() and len(text) < 9 and 1 <= int(text) <= most):
        raise ValueError(f"{name}: write a whole number from 1 to {most}")
    return int(text)


async def in_background(work: Callable[..., _T], *arguments: Any) -> _T:
    """Run a blocking function on a thread of its own; returns or raises what it does.

    The thread is a daemon thread: unlike those of the loop's own executor, it does not keep the
    process alive while it waits for a dead network.
    """
    loop = asyncio.get_running_loop()
    done: asyncio.Future[_T] = loop.create_future()

    def settle(result: _T | None, error: BaseException | None) -> None:
        if done.cancelled():
            return
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(result)  # type: ignore[arg-type] # None only where _T is None

    def run() -> None:
        result, failure = None, None
        try:
            result = work(*arguments)
        except Exception as error:  # noqa: BLE001 - raised in the caller
            failure = error
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(settle, result, failure)
            except RuntimeError:  # the loop was closed meanwhile
                return

    threading.Thread(target=run, name="serd-dashboard-work", daemon=True).start()
    return await done

"""The JSON interface: what the page asks for, and what programs may."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, Final, TypeVar

import msgspec
from msgspec import UNSET, UnsetType
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from serd.dashboard import history as past
from serd.dashboard.guard import refuse
from serd.errors import SerdError
from serd.events.clock import parse_rfc3339, rfc3339
from serd.events.history import csv_lines
from serd.language import accepted, catalogue
from serd.model.emotions import COORDINATES, EMOTIONS, UNCERTAIN
from serd.mqtt.commands import CorrectRequest

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from starlette.requests import Request

    from serd.dashboard.broker import Switch, Watch
    from serd.dashboard.nodes import Room

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
        watch: What is known of the nodes.
        switch: Sends mute commands.
        journals: To read history from.
        login: Whether visitors have to log in.
        confirm_s: How long a node has to confirm a mute command.
    """

    def __init__(
        self,
        watch: Watch,
        switch: Switch,
        journals: Sequence[Path] = (),
        *,
        login: bool = False,
        confirm_s: float = CONFIRM_S,
    ) -> None:
        self._watch = watch
        self._switch = switch
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
        sources = await in_background(past.describe, self._journals, len(self._watch.seen))
        classes = [
            {"name": name, "valence": COORDINATES[name][0], "arousal": COORDINATES[name][1]}
            for name in EMOTIONS
        ]
        return answer(
            {
                **self._watch.info(),
                "login": self._login,
                "history": sources,
                "emotions": classes,
            }
        )

    async def _nodes(self, _: Request) -> Response:
        return answer({"nodes": [room.as_dict() for room in self._watch.rooms]})

    async def _node(self, request: Request) -> Response:
        room = self._watch.rooms.get(request.path_params["name"])
        if room is None:
            return refuse(404, "no such node has been heard of")
        return answer(room.as_dict())

    async def _forget(self, request: Request) -> Response:
        """Clear what a node has left on the broker; one that runs would only come back."""
        room = self._watch.rooms.get(request.path_params["name"])
        if room is None:
            return refuse(404, "no such node has been heard of")
        if room.online:
            return refuse(409, f"{room.name} is online and would come back; stop it first")
        try:
            await in_background(self._switch.forget, room.name)
        except SerdError as error:
            return refuse(502, error.message)
        gone = await self._watch.hub.until(
            lambda: self._watch.rooms.get(room.name) is None, self._confirm_s
        )
        if gone:
            return answer({"node": room.name, "forgotten": True})
        return refuse(504, f"the broker has not confirmed within {self._confirm_s:g} s")

    async def _mute(self, request: Request) -> Response:
        name = request.path_params["name"]
        body = await body_of(request, _BODY_MAX)
        if not request.headers.get("content-type", "").startswith("application/json"):
            return refuse(415, "send application/json")
        try:
            wanted = msgspec.json.decode(body or b"", type=_MuteCommand).muted
        except (msgspec.DecodeError, UnicodeDecodeError):
            return refuse(400, 'send {"muted": true} or {"muted": false}')
        room = self._watch.rooms.get(name)
        if room is None:
            return refuse(404, "no such node has been heard of")
        return await self._switch_over(room, wanted)

    async def _switch_over(self, room: Room, wanted: bool) -> Response:
        """Send the command and wait for the node to say that it has obeyed."""
        if room.online is False:
            return refuse(409, f"{room.name} is offline and would not hear the command")
        try:
            await in_background(self._switch.send, room.name, wanted)
        except SerdError as error:
            return refuse(502, error.message)
        if await self._watch.hub.until(lambda: room.muted is wanted, self._confirm_s):
            return answer({"node": room.name, "muted": wanted})
        return refuse(504, f"{room.name} has not confirmed within {self._confirm_s:g} s")

    async def _correct(self, request: Request) -> Response:
        """Tell a node what an utterance really was; the node's own answer comes back."""
        body = await body_of(request, _BODY_MAX)
        if not request.headers.get("content-type", "").startswith("application/json"):
            return refuse(415, "send application/json")
        try:
            said = msgspec.json.decode(body or b"", type=_CorrectCommand)
        except (msgspec.DecodeError, UnicodeDecodeError):
            said = None
        if said is None or (said.emotion is UNSET) is not said.forget:
            return refuse(400, 'send {"id": EVENT_ID, "emotion": "happy"}; null is "not that"')
        room = self._watch.rooms.get(request.path_params["name"])
        if room is None:
            return refuse(404, "no such node has been heard of")
        wanted = CorrectRequest(
            id=said.id.strip().lower(),
            emotion=None if said.emotion is UNSET else said.emotion,
            forget=said.forget,
        )
        return await self._pass_on(room, wanted)

    async def _pass_on(self, room: Room, wanted: CorrectRequest) -> Response:
        """Send a correction, and give the node's answer."""
        if room.online is False:
            return refuse(409, f"{room.name} is offline and would not hear the correction")
        try:
            result = await in_background(self._switch.correct, room.name, wanted)
        except SerdError as error:
            return refuse(502, error.message)
        if not result.ok:
            return refuse(422, result.message)
        self._watch.said(result.id, result.emotion)
        return answer(result)

    async def _events(self, request: Request) -> Response:
        try:
            query = read_query(request)
            limit = _whole(request, "limit", EVENTS_DEFAULT, EVENTS_MAX)
        except ValueError as error:
            return refuse(400, str(error))
        wanted = request.query_params.get("format", "json")
        if wanted not in {"json", "csv"}:
            return refuse(400, "format: write json or csv")
        async with self._readers:
            seen = self._watch.seen.newest_first()
            found = await in_background(past.find, self._journals, seen, query, limit)
            if wanted == "csv":
                return Response("".join(csv_lines(found.events)), media_type="text/csv")
            corrections = await in_background(
                past.corrections, self._journals, found.events, self._watch.corrections
            )
        return answer(
            {
                "events": found.events,
                "truncated": found.truncated,
                "corrections": corrections,
            }
        )

    async def _timeline(self, request: Request) -> Response:
        try:
            query = read_query(request)
            bins = _whole(request, "bins", BINS_DEFAULT, BINS_MAX)
        except ValueError as error:
            return refuse(400, str(error))
        return await self._read(past.timeline, query, bins)

    async def _read(self, work: Any, query: past.Query, number: int) -> Response:
        # Reading is work; a hundred browsers that ask at once must not starve the live view.
        async with self._readers:
            seen = self._watch.seen.newest_first()
            return answer(await in_background(work, self._journals, seen, query, number))

    async def _stream(self, _: Request) -> Response:
        if self._watch.hub.full:
            return refuse(503, "too many browsers are connected", {"retry-after": "30"})
        return StreamingResponse(
            self._watch.hub.stream(),
            media_type="text/event-stream",
            headers={"x-accel-buffering": "no"},
        )


async def _words(request: Request) -> Response:
    """Emotions and states in the language that a browser likes best; what is missing is English."""
    return answer(catalogue(accepted(request.headers.get("accept-language", ""))).words)


async def _nothing(_: Request) -> Response:
    return refuse(404, "there is nothing of that name; see docs/dashboard.md")


def answer(content: object, *, status: int = 200) -> Response:
    """Something as JSON."""
    return Response(msgspec.json.encode(content), status, media_type="application/json")


async def body_of(request: Request, most: int) -> bytes | None:
    """What was sent; None if it is more than ``most`` bytes, of which the rest is not read."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            return None
    return body


def read_query(request: Request) -> past.Query:
    """Which events a request asks for.

    Raises:
        ValueError: With a sentence that names the parameter.
    """
    now = time.time_ns() // 1_000_000
    until = _moment(request, "until", now + 60_000)  # clocks of nodes may be a little ahead
    since = _moment(request, "since", until - _DAY_MS)
    if not 0 <= until - since <= _RANGE_MAX_MS:
        raise ValueError("since must be before until, and at most 366 days")
    emotions = frozenset(request.query_params.getlist("emotion"))
    if wrong := emotions - {*EMOTIONS, UNCERTAIN}:
        raise ValueError(f"emotion: there is no {min(wrong)!a}")
    return past.Query(
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


def _whole(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if not text:
        return default
    if not (text.isdecimal() and text.isascii() and len(text) < 9 and 1 <= int(text) <= most):
        raise ValueError(f"{name}: write a whole number from 1 to {most}")
    return int(text)


async def in_background(work: Callable[..., _T], *arguments: Any) -> _T:
    """Run a function on a thread of its own and wait for what it returns or raises.

    The thread is a daemon: one that waits for a dead network does not keep the process from
    ending, as those of the loop's own executor would.
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
        except Exception as error:  # noqa: BLE001 - handed to whoever waits
            failure = error
        if not loop.is_closed():
            try:
                loop.call_soon_threadsafe(settle, result, failure)
            except RuntimeError:  # it was closed meanwhile: nobody waits any more
                return

    threading.Thread(target=run, name="serd-dashboard-work", daemon=True).start()
    return await done

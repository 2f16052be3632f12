"""Authentication, permitted hosts and origins, and the headers of every response."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from starlette.testclient import TestClient

from serd.dashboard.guard import (
    ATTEMPTS,
    HEADERS,
    REFILL_S,
    SESSION_S,
    SESSIONS_MAX,
    Sessions,
    Throttle,
    host_name,
)
from serd.dashboard.settings import Settings, read_token
from serd.errors import UsageError
from serd.events.corrections import Correction, CorrectionStore
from serd.events.journal import Journal
from serd.mqtt.commands import CorrectRequest
from serd.mqtt.messages import StatusMessage
from serd.network import is_loopback
from tests.dashboard.fakes import TOKEN, World
from tests.dashboard.making import made_event, now_ms

if TYPE_CHECKING:
    from serd.events.event import Event

ORIGIN = "http://localhost:7373"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def client_of(world: World) -> TestClient:
    return TestClient(world.app, base_url=ORIGIN, follow_redirects=False)


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.8.8.8", True), ("::1", True), ("[::1]", True), ("localhost", True),
     ("0.0.0.0", False), ("::", False), ("192.168.0.7", False), ("pi.lan", False),
     ("localhost.evil.test", False)],
)  # fmt: skip
def test_a_token_is_required_beyond_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback
    Settings(host=host, token=TOKEN).check()
    if loopback:
        Settings(host=host).check()
    else:
        with pytest.raises(UsageError, match="a token is needed"):
            Settings(host=host).check()


def test_contradictory_settings_are_rejected() -> None:
    for settings in (
        Settings(cert=Path("c")),
        Settings(cert=Path("c"), key=Path("k"), behind_proxy=True),
        Settings(host="0.0.0.0", token=TOKEN, behind_proxy=True),
    ):
        with pytest.raises(UsageError):
            settings.check()


def test_tokens_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.write_text(f"{TOKEN}\nmore\n")
    assert read_token(path, {}) == TOKEN
    assert read_token(None, {"SERD_DASHBOARD_TOKEN": TOKEN}) == TOKEN
    assert read_token(None, {}) is None
    for content in (b"short\n", b"\xff" * 20, b"", b"x" * 5000):
        path.write_bytes(content)
        with pytest.raises(UsageError) as refused:
            read_token(path, {})
        assert "short" not in str(refused.value)
    with pytest.raises(UsageError, match="cannot read"):
        read_token(tmp_path / "none", {})


@pytest.mark.parametrize(
    ("host", "status"),
    [("localhost:7373", 200), ("LOCALHOST", 200), ("127.0.0.1:7373", 200), ("[::1]:7373", 200),
     ("192.168.0.7", 200), ("evil.test", 421), ("localhost.evil.test:7373", 421),
     ("127.0.0.1.evil.test", 421), ("evil.test:80:80", 421), ("[evil]", 421), ("", 421)],
)  # fmt: skip
def test_foreign_host_names_are_rejected(host: str, status: int) -> None:
    """DNS rebinding: evil.test can resolve to this server, but the Host header gives it away."""
    response = client_of(World()).get("/api/nodes", headers={"host": host})
    assert response.status_code == status
    assert ("attic" in response.text) is (status == 200)


def test_host_names() -> None:
    assert host_name("pi.local.:80") == "pi.local"
    assert host_name("[::1]x") is None
    assert host_name(":80") is None


@pytest.mark.parametrize(
    "path", ["/", "/login", "/healthz", "/api/nodes", "/api/x", "/static/main.js", "/x"]
)
@pytest.mark.parametrize("token", [None, TOKEN])
def test_every_response_has_the_security_headers(path: str, token: str | None) -> None:
    response = client_of(World(token)).get(path)
    for name, value in HEADERS.items():
        assert response.headers[name] == value
    assert "access-control-allow-origin" not in response.headers
    assert "server" not in response.headers
    assert "unsafe" not in response.headers["content-security-policy"]


def test_browsers_ask_again_for_the_files_of_the_page() -> None:
    """Otherwise they would run old scripts for days after an upgrade."""
    client = client_of(World())
    response = client.get("/static/main.js")
    assert (response.status_code, response.headers["cache-control"]) == (200, "no-cache")
    again = client.get("/static/main.js", headers={"if-none-match": response.headers["etag"]})
    assert (again.status_code, again.headers["cache-control"]) == (304, "no-cache")
    assert client.get("/api/nodes").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("headers", "status"),
    [({"origin": ORIGIN}, 200), ({}, 200), ({"origin": "http://evil.test"}, 403),
     ({"origin": "null"}, 403), ({"origin": "https://localhost:7373"}, 403),
     ({"origin": "http://localhost"}, 403), ({"sec-fetch-site": "cross-site"}, 403)],
)  # fmt: skip
def test_commands_from_other_origins_are_rejected(headers: dict[str, str], status: int) -> None:
    world = World()
    response = client_of(world).post("/api/nodes/attic/mute", json={"muted": True}, headers=headers)
    assert response.status_code == status
    assert world.commands.sent == ([("attic", True)] if status == 200 else [])


def test_a_rejected_login_names_the_header_that_a_proxy_must_pass_on() -> None:
    world = World(TOKEN)
    public = {"origin": "https://serd.example.org"}
    refusal = client_of(world).post("/login", data={"token": TOKEN}, headers=public)
    assert refusal.status_code == 403
    for words in (
        "https://serd.example.org",  # where the request came from
        ORIGIN,  # the origin that the dashboard expects
        "Host header (nginx: proxy_set_header Host $http_host)",
        "--behind-proxy",
    ):
        assert words in refusal.json()["error"]


def test_events_can_be_downloaded_as_csv() -> None:
    world = World()
    events = [world.hear(seq=seq) for seq in (1, 2)]
    client = client_of(world)
    response = client.get("/api/events?format=csv&node=attic")
    assert response.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [row["id"] for row in rows] == [event.id for event in events]
    assert rows[0]["valence"] == str(events[0].valence)
    for row, event in zip(rows, events, strict=True):
        assert row["emotion"] == event.emotion
        assert float(row["confidence"]) == pytest.approx(event.confidence)
    assert client.get("/api/events?format=xml").json() == {"error": "format: write json or csv"}


def correction_of(event: Event, emotion: str) -> Correction:
    return Correction(
        id=event.id, node=event.node, seq=event.seq, heard_at=event.started_at, told=event.emotion,
        emotion=emotion, scores=event.own_scores, corrected_at=event.ended_at, model=event.model,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1+1"])
def test_a_spreadsheet_does_not_run_the_texts_of_a_node(name: str) -> None:
    world = World()
    event = made_event("attic", 1, now_ms() - 60_000)
    event = world.hear(replace(event, model=replace(event.model, name=name), valence=-0.25))
    response = client_of(world).get("/api/events?format=csv")
    (row,) = csv.DictReader(io.StringIO(response.text))
    assert (row["model_name"], row["valence"]) == (f"'{name}", "-0.25")
    assert row["level_dbfs"] == "-31.4"


@pytest.mark.parametrize("count", [0, 2, 7])
def test_a_download_contains_every_event(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """Beyond the limits of other requests, and in pieces; those in the journal come once."""
    monkeypatch.setattr("serd.dashboard.api._PIECE", 3)
    monkeypatch.setattr("serd.dashboard.api.EVENTS_DEFAULT", 4)
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        started = [now_ms() - 60_000 + seq * 1000 for seq in range(count)]
        events = journal.append_many(
            [made_event("attic", seq, at) for seq, at in enumerate(started, 1)]
        )
    world = World(journals=(path,))
    for event in events[-2:]:
        world.hear(event)
    client = client_of(world)
    if events:
        CorrectionStore(path).put([correction_of(events[0], "calm")])
    ids = [event.id for event in events]
    response = client.get("/api/events?limit=all")
    assert response.headers["content-type"] == "application/json"
    assert response.json()["truncated"] is False
    assert [event["id"] for event in response.json()["events"]] == ids
    assert response.json()["corrections"] == dict.fromkeys(ids[:1], "calm")
    table = client.get("/api/events?limit=all&format=csv")
    assert table.headers["content-type"].startswith("text/csv")
    assert [row["id"] for row in csv.DictReader(io.StringIO(table.text))] == ids
    assert len(client.get("/api/events").json()["events"]) == min(count, 4)
    assert client.get("/api/events?limit=all&emotion=bored").status_code == 400
    assert client.get("/api/events?limit=all&format=xml").status_code == 400


def test_data_is_not_accessible_without_the_token() -> None:
    client = client_of(World(TOKEN))
    page = client.get("/")
    assert (page.status_code, page.headers["location"]) == (303, "login")
    for path in ("/api/nodes", "/api/info", "/api/events", "/api/stream", "/api/nodes/attic/mute"):
        response = client.get(path)
        assert response.status_code == 401
        assert "attic" not in response.text
        assert response.headers["www-authenticate"] == "Bearer"
    assert client.post("/api/nodes/attic/mute", json={"muted": True}).status_code == 401
    assert client.get(f"/api/nodes?token={TOKEN}").status_code == 401  # not accepted in the URL
    assert client.get("/login").status_code == 200
    assert client.get("/static/style.css").status_code == 200
    assert client.get("/healthz").json() == {"status": "ok", "broker": False}
    assert client.get("/static/../api/nodes").status_code in {401, 404}


def test_programs_send_the_token_in_a_header() -> None:
    client = client_of(World(TOKEN))
    assert client.get("/api/nodes", headers=BEARER).status_code == 200
    assert client.get("/api/nodes", headers={"authorization": TOKEN}).status_code == 401
    assert client.get("/api/nodes", headers={"authorization": "Bearer x"}).status_code == 401
    world = World(TOKEN)
    response = client_of(world).post("/api/nodes/attic/mute", json={"muted": True}, headers=BEARER)
    assert response.status_code == 200


def test_login_session_and_logout() -> None:
    client = client_of(World(TOKEN))
    origin = {"origin": ORIGIN}
    assert (
        client.post(
            "/login", data={"token": TOKEN}, headers={"origin": "http://e.test"}
        ).status_code
        == 403
    )
    wrong = client.post("/login", data={"token": "x" * 20}, headers=origin)
    assert wrong.status_code == 401
    assert 'data-why="wrong"' in wrong.text
    assert "set-cookie" not in wrong.headers
    right = client.post("/login", data={"token": TOKEN}, headers=origin)
    assert right.status_code == 303
    cookie = right.headers["set-cookie"]
    for part in ("HttpOnly", "SameSite=strict", "Path=/"):
        assert part in cookie
    assert "Secure" not in cookie
    assert TOKEN not in cookie
    assert client.get("/").status_code == 200
    assert client.get("/api/nodes").status_code == 200
    # A forged form would carry the cookie, but a foreign origin or none.
    path = "/api/nodes/attic/mute"
    assert client.post(path, json={"muted": True}).status_code == 403
    assert client.post(path, json={"muted": True}, headers=origin).status_code == 200
    assert client.post("/logout", headers=origin).status_code == 303
    assert client.get("/api/nodes").status_code == 401


def test_the_session_cookie_is_secure_behind_tls() -> None:
    world = World(TOKEN)
    from serd.dashboard.app import make_app

    app = make_app(Settings(token=TOKEN, behind_proxy=True), world.monitor, world.commands)
    client = TestClient(app, base_url="https://localhost", follow_redirects=False)
    response = client.post("/login", data={"token": TOKEN}, headers={"origin": "https://localhost"})
    assert response.headers["set-cookie"].startswith("__Host-serd=")
    assert "Secure" in response.headers["set-cookie"]
    assert client.get("/api/nodes").status_code == 200


def test_token_guessing_is_throttled() -> None:
    client = client_of(World(TOKEN))
    for _ in range(ATTEMPTS):
        assert client.get("/api/nodes", headers={"authorization": "Bearer no"}).status_code == 401
    slow = client.get("/api/nodes", headers=BEARER)
    assert slow.status_code == 429
    assert 0 < int(slow.headers["retry-after"]) <= REFILL_S
    form = client.post("/login", data={"token": TOKEN}, headers={"origin": ORIGIN})
    assert form.status_code == 429
    assert 'data-why="slow"' in form.text


def test_the_throttle_refills_and_is_bounded() -> None:
    now = [0.0]
    throttle = Throttle(clock=lambda: now[0])
    for _ in range(ATTEMPTS):
        throttle.failed("2001:db8::1")
    assert throttle.wait_s("2001:db8::ffff") == REFILL_S  # the same /64
    assert throttle.wait_s("2001:db8:0:1::1") == 0
    now[0] += REFILL_S
    assert throttle.wait_s("2001:db8::1") == 0
    for number in range(3000):
        throttle.failed(f"10.0.{number // 256}.{number % 256}")
    assert len(throttle._buckets) <= 1024


def test_sessions_expire_and_are_bounded() -> None:
    now = [0.0]
    sessions = Sessions(TOKEN, clock=lambda: now[0])
    first = sessions.start()
    assert sessions.valid(first)
    assert not sessions.valid(first + "x")
    now[0] += SESSION_S
    assert not sessions.valid(first)
    ids = [sessions.start() for _ in range(SESSIONS_MAX + 1)]
    assert (sessions.valid(ids[0]), sessions.valid(ids[1]), len(sessions)) == (
        False, True, SESSIONS_MAX,
    )  # fmt: skip


def test_api_responses_and_errors() -> None:
    world = World()
    client = client_of(world)
    event = world.hear()
    info = client.get("/api/info").json()
    assert info["broker"] == "broker.test:1883"
    assert (info["full"], info["history"]["nodes"]) == (False, [])
    assert abs(info["now_ms"] - now_ms()) < 60_000
    assert next(one["name"] for one in info["emotions"]) == "neutral"
    (node,) = client.get("/api/nodes").json()["nodes"]
    assert node == client.get("/api/nodes/attic").json()
    assert node["event"]["id"] == event.id
    assert [e["id"] for e in client.get("/api/events").json()["events"]] == [event.id]
    assert client.get("/api/timeline").json()["total"] == 1
    for path, error in {
        "/api/nodes/cellar": "no such node",
        "/api/nothing": "no such endpoint",
        "/api/events?since=yesterday": "since: write",
        "/api/events?since=99999999999999999999": "since: write",
        "/api/events?until=1&since=2": "before until",
        "/api/events?limit=0": "limit: write",
        "/api/events?limit=99999": "1 to 5000",
        "/api/events?emotion=bored": "'bored'",
        "/api/timeline?bins=x": "bins: write",
    }.items():
        response = client.get(path)
        assert response.status_code in {400, 404}
        assert error in response.json()["error"]
    assert client.post("/api/nodes").status_code == 405


def test_a_mute_command_waits_for_confirmation_by_the_node() -> None:
    world = World()
    client = client_of(world)
    path = "/api/nodes/attic/mute"
    assert client.post(path, json={"muted": True}).json() == {"node": "attic", "muted": True}
    world.commands.obeyed = False
    silent = client.post(path, json={"muted": False})
    assert silent.status_code == 504
    assert "not confirmed" in silent.json()["error"]
    world.commands.broken = True
    assert client.post(path, json={"muted": False}).status_code == 502
    from serd.mqtt.messages import StatusMessage

    world.monitor.handle(StatusMessage(node="attic", online=False))
    assert client.post(path, json={"muted": False}).status_code == 409
    assert client.post("/api/nodes/cellar/mute", json={"muted": False}).status_code == 404
    for body in ("", "{}", '{"muted": "yes"}', '{"muted": true, "x": 1}', "x" * 5000):
        headers = {"content-type": "application/json"}
        assert client.post(path, content=body, headers=headers).status_code == 400
    form = client.post(path, content=json.dumps({"muted": True}))
    assert form.status_code == 415  # a foreign page may send this without a preflight
    assert world.commands.sent == [("attic", True), ("attic", False)]


FOREIGN_COOKIES = (
    "x[1]=2", 'j={"a":1}', "u=ä", "bareword", "=nameless", "a=b=c", 'q="a; b"', "$Version=1",
    "serd2=x", "Serd=x", " ", ";;", "__Host-serd=x", "serd", "x=\x7f",
)  # fmt: skip


@pytest.mark.parametrize("other", FOREIGN_COOKIES)
@pytest.mark.parametrize("first", [True, False])
def test_foreign_cookies_do_not_break_the_session(other: str, first: bool) -> None:
    world = World(TOKEN)
    client = client_of(world)
    client.post("/login", data={"token": TOKEN}, headers={"origin": ORIGIN})
    ours = f"serd={client.cookies['serd']}"
    client.cookies.clear()
    line = f"{other}; {ours}" if first else f"{ours}; {other}"
    response = client.get("/api/nodes", headers=[(b"cookie", line.encode("latin-1"))])
    assert response.status_code == 200
    split = [(b"cookie", other.encode("latin-1")), (b"cookie", ours.encode())]
    assert client.get("/api/nodes", headers=split).status_code == 200


def test_a_stale_session_cookie_beside_the_valid_one() -> None:
    world = World(TOKEN)
    client = client_of(world)
    client.post("/login", data={"token": TOKEN}, headers={"origin": ORIGIN})
    ours = client.cookies["serd"]
    client.cookies.clear()
    for line in (f"serd=stale; serd={ours}", f"serd={ours}; serd=stale", f'serd="{ours}"'):
        assert client.get("/api/nodes", headers={"cookie": line}).status_code == 200
    assert client.get("/api/nodes", headers={"cookie": "serd=stale; serd="}).status_code == 401
    # Logging out ends the session, whichever of the cookies is valid.
    client.post("/logout", headers={"origin": ORIGIN, "cookie": f"serd=stale; serd={ours}"})
    assert client.get("/api/nodes", headers={"cookie": f"serd={ours}"}).status_code == 401


def test_a_correction_is_sent_and_remembered() -> None:
    world = World()
    client = client_of(world)
    event = world.hear()
    path = "/api/nodes/attic/correct"

    def shown() -> dict[str, str]:
        corrections: dict[str, str] = client.get("/api/events").json()["corrections"]
        return corrections

    assert shown() == {}
    response = client.post(path, json={"id": event.id.upper(), "emotion": "happy"})
    assert (response.status_code, response.json()["emotion"]) == (200, "happy")
    assert world.commands.corrections == [("attic", CorrectRequest(id=event.id, emotion="happy"))]
    assert shown() == {event.id: "happy"}
    assert client.post(path, json={"id": event.id, "emotion": None}).json()["emotion"] == "not"
    assert shown() == {event.id: "not"}
    assert client.post(path, json={"id": event.id, "forget": True}).json()["emotion"] is None
    assert shown() == {}
    wrong: list[object] = [
        {}, {"id": event.id}, {"id": 3, "emotion": "sad"}, [],
        {"id": event.id, "emotion": "sad", "forget": True},
        {"id": event.id, "emotion": "sad", "more": 1},
    ]  # fmt: skip
    for content in wrong:
        assert client.post(path, json=content).status_code == 400, content
    assert client.post(path, content=b"{}").status_code == 415
    sad = {"id": event.id, "emotion": "sad"}
    assert client.post("/api/nodes/cellar/correct", json=sad).status_code == 404
    world.commands.obeyed = False
    refused = client.post(path, json=sad)
    assert (refused.status_code, refused.json()) == (422, {"error": "as said"})
    world.commands.broken = True
    assert client.post(path, json=sad).status_code == 502
    world.monitor.handle(StatusMessage(node="attic", online=False))
    assert client.post(path, json=sad).status_code == 409


def test_corrections_made_elsewhere_are_read_from_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    with Journal(path) as journal:
        event = journal.append(made_event("attic", 1, now_ms() - 60_000, "sad"))
    world = World(journals=(path,))
    client = client_of(world)
    CorrectionStore(path).put([correction_of(event, "calm")])
    assert client.get("/api/events").json()["corrections"] == {event.id: "calm"}
    sad = {"id": event.id, "emotion": "sad"}
    assert client.post("/api/nodes/attic/correct", json=sad).status_code == 200
    assert client.get("/api/events").json()["corrections"] == {
        event.id: "calm"
    }  # as in the journal
    CorrectionStore(path).forget()
    assert client.get("/api/events").json()["corrections"] == {}

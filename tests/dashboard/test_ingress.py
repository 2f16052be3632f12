"""Behind Home Assistant's ingress: who may connect, send commands and frame the page."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from serd.dashboard.settings import Settings
from serd.errors import UsageError
from tests.dashboard.fakes import TOKEN, World

INGRESS = "172.30.32.2"
HOME = "https://home.example.org"
HEADERS = {
    "host": "home.example.org",
    "x-ingress-path": "/api/hassio_ingress/abc",
    "x-forwarded-proto": "https",
    "x-remote-user-name": "anna",
}


def client_of(world: World, address: str = INGRESS) -> TestClient:
    return TestClient(world.app, follow_redirects=False, client=(address, 50_000), headers=HEADERS)


@pytest.fixture
def world() -> World:
    return World(ingress=INGRESS)


def test_the_proxy_needs_no_token(world: World) -> None:
    client = client_of(world)
    assert client.get("/").status_code == 200
    assert client.get("/api/nodes").json()["nodes"][0]["name"] == "attic"
    assert client.get("/login").headers["location"] == "./"


@pytest.mark.parametrize(
    "address", ["172.30.32.1", "172.30.33.4", "127.0.0.1", "::1", "testclient"]
)
def test_other_addresses_are_rejected(world: World, address: str) -> None:
    client = client_of(world, address)
    for path in ("/", "/api/nodes", "/api/stream", "/static/main.js", "/login"):
        response = client.get(path)
        assert response.status_code == 403, path
        assert "through Home Assistant" in response.json()["error"]
    assert client.post("/api/nodes/attic/mute", json={"muted": True}).status_code == 403
    assert world.commands.sent == []


def test_a_forwarded_address_is_not_trusted(world: World) -> None:
    client = client_of(world, "172.30.33.4")
    assert client.get("/", headers={"x-forwarded-for": INGRESS}).status_code == 403


def test_an_ipv4_mapped_address_is_accepted(world: World) -> None:
    client = client_of(world, f"::ffff:{INGRESS}")
    assert client.get("/").status_code == 200


def test_the_health_check_of_the_container_is_accepted(world: World) -> None:
    client = client_of(world, "127.0.0.1")
    assert client.get("/healthz").status_code == 200
    client = client_of(world, "172.30.33.4")
    assert client.get("/healthz").status_code == 403


def test_only_home_assistant_may_frame_the_page(world: World) -> None:
    client = client_of(world)
    headers = client.get("/").headers
    assert headers["x-frame-options"] == "SAMEORIGIN"
    assert "frame-ancestors 'self'" in headers["content-security-policy"]
    client = TestClient(World().app, base_url="http://localhost")
    headers = client.get("/").headers
    assert headers["x-frame-options"] == "DENY"
    assert "frame-ancestors 'none'" in headers["content-security-policy"]


@pytest.mark.parametrize(
    ("origin", "more", "status"),
    [
        (HOME, {}, 200),
        ("http://home.example.org", {}, 200),  # a proxy before Home Assistant terminates TLS
        ("https://outside.example.org", {"x-forwarded-host": "outside.example.org"}, 200),
        ("https://evil.example.org", {}, 403),
        ("null", {}, 403),
    ],
)
def test_commands_from_other_origins_are_rejected(
    world: World, origin: str, more: dict[str, str], status: int
) -> None:
    client = client_of(world)
    response = client.post(
        "/api/nodes/attic/mute", json={"muted": True}, headers={"origin": origin, **more}
    )
    assert response.status_code == status
    assert len(world.commands.sent) == (status == 200)


def test_contradictory_settings_are_rejected() -> None:
    Settings(host="0.0.0.0", ingress=INGRESS).check()
    for settings, message in (
        (Settings(ingress=INGRESS, token=TOKEN), "no token"),
        (Settings(ingress=INGRESS, behind_proxy=True), "no certificate"),
        (Settings(ingress="supervisor"), "not an address"),
    ):
        with pytest.raises(UsageError, match=message):
            settings.check()

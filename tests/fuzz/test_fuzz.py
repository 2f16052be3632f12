"""Hostile configurations, commands, models and recordings: no crash, no hang, no traceback.

A few hundred cases of each by default; `make fuzz` runs thousands. Cases found earlier, and
cases known to break parsers, are kept in ``tests/fuzz/found``.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
import os
import socket
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import pytest
import soundfile as sf
import yaml
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from paho.mqtt.enums import MQTTProtocolVersion
from starlette.testclient import TestClient

from serd.cli.terminal import EventFormatter
from serd.config import MqttConfig
from serd.config.loading import load
from serd.dashboard.nodes import KnownNodes
from serd.errors import ConfigError, UsageError
from serd.events.event import decode, encode
from serd.events.state import encode_state
from serd.model.emotions import EMOTIONS
from serd.model.model_file import pack
from serd.mqtt.access import Access
from serd.mqtt.commands import Commands, mute_command
from serd.mqtt.follower import Follower
from serd.mqtt.link import Link, LinkError
from serd.mqtt.messages import EventMessage, decode_message
from serd.mqtt.topics import KINDS
from tests.dashboard.fakes import TOKEN, World
from tests.fuzz.isolation import Isolated
from tests.fuzz.mutations import damaged
from tests.mqtt.samples import new_event, poison, room
from tests.mqtt.test_follower import varint

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from serd.model.metadata import ModelInfo

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "300"))
FOUND = Path(__file__).with_name("found")
ROOT = Path(__file__).parents[2]

fuzzed = settings(
    max_examples=EXAMPLES,
    # The same examples in every test run; `make fuzz` looks for new ones.
    derandomize="FUZZ_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=list(HealthCheck),
)

# ---------------------------------------------------------------------------- configuration

texts = st.text(max_size=20) | st.sampled_from(["mic", "-", "default", "22:00", "1e999", "~", "!!"])
numbers = st.integers() | st.floats() | st.integers(-3, 70_000)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
WHOLE_FILES = [path.read_bytes() for path in (ROOT / "config.yaml",)]


@st.composite
def configurations(draw: st.DrawFn) -> bytes:
    """A valid configuration in which some values are replaced by arbitrary ones, as YAML."""
    tree: dict[str, Any] = yaml.safe_load((ROOT / "config.yaml").read_text())
    for _ in range(draw(st.integers(1, 4))):
        branch: Any = tree
        while isinstance(branch, dict) and branch:
            key = draw(st.sampled_from(sorted(branch, key=str)))
            if not isinstance(branch[key], dict) or draw(st.booleans()):
                branch[key] = draw(values)
                break
            branch = branch[key]
    return yaml.safe_dump(tree, allow_unicode=True).encode("utf-8", "replace")


def try_configuration(folder: Path, content: bytes) -> None:
    path = folder / "config.yaml"
    path.write_bytes(content)
    try:
        loaded = load(path, env={})
    except (ConfigError, UsageError):
        return
    # An accepted configuration is the same after it was serialised and read again.
    again = msgspec.convert(msgspec.to_builtins(loaded.config), type(loaded.config))
    assert again == loaded.config


@fuzzed
@given(content=configurations() | damaged(WHOLE_FILES) | st.binary(max_size=300))
@pytest.mark.slow
def test_any_configuration_is_loaded_or_rejected(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    try_configuration(tmp_path_factory.getbasetemp(), content)


# ---------------------------------------------------------------------------- the dashboard

COOKIES = [b"serd=x", b"x[1]=2", b'j={"a":1}', "u=ä".encode("latin-1"), b"bareword", b"; ; ="]
HERE = "http://localhost:7373"


@functools.cache
def browser() -> tuple[TestClient, bytes]:
    """A dashboard that requires a token, and the session of a logged-in user."""
    client = TestClient(World(TOKEN).app, base_url=HERE, follow_redirects=False)
    client.post("/login", data={"token": TOKEN}, headers={"origin": HERE})
    session = client.cookies["serd"].encode()
    client.cookies.clear()
    return client, session


@fuzzed
@given(
    before=st.lists(damaged(COOKIES) | st.binary(max_size=60), max_size=4),
    after=st.lists(damaged(COOKIES) | st.binary(max_size=60), max_size=4),
)
@pytest.mark.slow
def test_foreign_cookies_neither_end_nor_grant_a_session(
    before: list[bytes], after: list[bytes]
) -> None:
    """Whatever cookies other programs set: a session stays valid, and nobody else gets in."""
    client, session = browser()

    def status_of(parts: list[bytes]) -> int:
        line = b"; ".join(parts)
        return client.get("/api/nodes", headers=[(b"cookie", line)]).status_code

    first, last = ([part for part in parts if b"serd" not in part] for parts in (before, after))
    assert status_of([*first, b"serd=" + session, *last]) == 200
    assert status_of([*before, *after]) == 401


@fuzzed
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "OPTIONS", "X"]),
    path=st.sampled_from(["/", "/login", "/logout", "/healthz", "/api/nodes", "/api/x"]),
    headers=st.lists(
        st.tuples(
            st.sampled_from([b"host", b"origin", b"cookie", b"authorization", b"sec-fetch-site",
                             b"content-length", b"content-type", b"accept", b"x-forwarded-host"]),
            st.binary(max_size=60) | st.sampled_from([b"localhost", b"[::1", b"Bearer ", b"-1"]),
        ),
        max_size=6,
    ),
    body=st.binary(max_size=200),
)  # fmt: skip
@pytest.mark.slow
def test_request_headers_neither_break_nor_open_the_dashboard(
    method: str, path: str, headers: list[tuple[bytes, bytes]], body: bytes
) -> None:
    """No header makes the dashboard fail, or gives access without the token."""
    client, _ = browser()
    answer = client.request(method, path, headers=headers, content=body)
    assert answer.status_code < 500 or answer.status_code == 501
    if path.startswith("/api/"):
        assert answer.status_code >= 400
    assert b"Traceback" not in answer.content


# ---------------------------------------------------------------------------- MQTT

PAYLOADS = [b"ON", b"OFF", b"online", b"offline", b"{}", b'{"emotion":"happy"}']


@fuzzed
@given(
    topic=st.text(max_size=40) | st.sampled_from(["serd/a/mute/set", "serd/a/mute", "serd/a"]),
    payload=damaged(PAYLOADS) | st.binary(max_size=2000),
    retained=st.booleans(),
)
def test_only_valid_commands_are_accepted(topic: str, payload: bytes, retained: bool) -> None:
    calls: list[bool] = []
    mute = mute_command("serd/a/mute/set", calls.append)
    commands = Commands([mute])  # not started: nothing is carried out
    taken = commands.receive(topic, payload, retained=retained)
    switch = len(payload) <= 64 and payload.strip().lower() in {b"on", b"off"}
    assert taken == (topic == "serd/a/mute/set" and switch and not retained)
    assert commands.ignored == (not taken)


@fuzzed
@given(
    topic=st.sampled_from([f"serd/a/{kind}" for kind in ("status", "emotion", "state", "speech",
                                                         "mute", "telemetry", "?")]),
    payload=damaged(PAYLOADS) | st.binary(max_size=500) | values.map(lambda v: repr(v).encode())
    | values.map(lambda v: json.dumps(v).encode()),
)  # fmt: skip
@pytest.mark.slow
def test_any_message_is_decoded_or_rejected(topic: str, payload: bytes) -> None:
    """What `serd tail` and the dashboard may receive from any client."""
    for read in (lambda: decode_message("serd", topic, payload), lambda: decode(payload)):
        with contextlib.suppress(ValueError):
            read()


TOPICS = [f"serd/attic/{kind}".encode() for kind in KINDS] + [b"serd/\xff/emotion", b"serd", b"$x"]
MESSAGES = [payload for _, payload in poison()] + [
    encode(replace(new_event(), seq=1, latency_ms=1.0)), encode_state(room()), b"ON", b"online",
]  # fmt: skip


@st.composite
def packets(draw: st.DrawFn) -> bytes:
    """A PUBLISH packet, almost as a broker would send it."""
    qos = draw(st.integers(0, 3))
    topic = draw(st.sampled_from(TOPICS) | st.binary(max_size=40))
    payload = draw(damaged(MESSAGES, most=3) | st.binary(max_size=200))
    properties = draw(st.sampled_from([b"", b"\0", b"\x07\x26\0\1a\0\1b", b"\xff\xff\xff\x7f"]))
    body = len(topic).to_bytes(2, "big") + topic + (b"\0\7" if qos else b"") + properties + payload
    length = draw(st.just(len(body)) | st.sampled_from([0, 1, 127, 300_000, 268_435_455]))
    return bytes([0x30 | qos << 1 | draw(st.integers(0, 1))]) + varint(length) + body


@fuzzed
@given(
    version=st.sampled_from([MQTTProtocolVersion.MQTTv5, MQTTProtocolVersion.MQTTv311]),
    stream=st.lists(packets(), max_size=5).map(b"".join) | st.binary(max_size=300)
    | st.lists(packets(), min_size=1, max_size=3).flatmap(lambda sent: damaged([b"".join(sent)])),
)  # fmt: skip
@pytest.mark.slow
def test_a_follower_survives_any_bytes(version: MQTTProtocolVersion, stream: bytes) -> None:
    """Any bytes, from the socket to the dashboard's rooms and the lines of `serd tail`."""
    follower = Follower(MqttConfig())
    rooms, lines = KnownNodes(), EventFormatter()
    link = Link(Access(MqttConfig()), "fuzz")
    link._begin(version)
    ours, theirs = socket.socketpair()
    with theirs, ours:
        ours.setblocking(False)
        link._client._sock = ours
        theirs.sendall(stream[:60_000])
        theirs.shutdown(socket.SHUT_WR)
        with contextlib.suppress(LinkError):
            while True:
                link.step(0.0)
        for raw in link.received:
            message = follower._read(raw)
            if message is None or (taken := rooms.update(message)) is None:
                continue
            msgspec.json.encode(taken[0].as_dict())
            if isinstance(message, EventMessage):
                assert "\x1b" not in lines.format_event(message.event, 120).plain


# ---------------------------------------------------------------------------- native code


@pytest.fixture(scope="module")
def audio_files() -> list[bytes]:
    """Half a second of noise in every common format."""
    rng = np.random.default_rng(3)
    wave = (0.2 * rng.standard_normal((8_000, 2))).astype(np.float32)
    made = []
    for kind, subtype in (("WAV", "PCM_16"), ("WAV", "FLOAT"), ("WAV", "IMA_ADPCM"),
                          ("WAVEX", "PCM_24"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"),
                          ("OGG", "OPUS"), ("MP3", "MPEG_LAYER_III"), ("AIFF", "PCM_16"),
                          ("AU", "ULAW"), ("CAF", "PCM_16"), ("W64", "PCM_16")):  # fmt: skip
        file = io.BytesIO()
        sf.write(file, wave, 16_000, format=kind, subtype=subtype)
        made.append(file.getvalue())
    return made


@pytest.fixture(scope="module")
def audio() -> Iterator[Isolated]:
    with Isolated("audio") as isolated:
        yield isolated


@fuzzed
@given(data=st.data())
@pytest.mark.slow
def test_damaged_audio_files(
    audio: Isolated, audio_files: list[bytes], data: st.DataObject
) -> None:
    audio.run(data.draw(damaged(audio_files)))


@pytest.fixture(scope="module")
def models(network: Callable[[str], bytes]) -> list[bytes]:
    return [network("eight")]


@pytest.fixture(scope="module")
def model() -> Iterator[Isolated]:
    with Isolated("model") as isolated:
        yield isolated


@fuzzed
@given(data=st.data())
def test_damaged_model_files(
    model: Isolated, models: list[bytes], tiny_info: ModelInfo, data: st.DataObject
) -> None:
    """Damage to the file as a whole."""
    model.run(data.draw(damaged([pack(models[0], EMOTIONS, tiny_info)])))


@fuzzed
@given(data=st.data())
def test_damaged_networks(
    model: Isolated, models: list[bytes], tiny_info: ModelInfo, data: st.DataObject
) -> None:
    """Damage to the network, packed with checksums that fit: it gets through to native code."""
    network = data.draw(damaged(models, most=6))
    try:
        content = pack(network, EMOTIONS, tiny_info)
    except Exception:  # noqa: BLE001 - the packer is not what is tested
        return
    model.run(content)


@fuzzed
@given(data=st.data())
def test_damaged_model_metadata(
    model: Isolated, models: list[bytes], tiny_info: ModelInfo, data: st.DataObject
) -> None:
    """Nonsensical labels and parameters in an intact archive."""
    whole = pack(models[0], EMOTIONS, tiny_info)
    with zipfile.ZipFile(io.BytesIO(whole)) as archive:
        document = json.loads(archive.read("serd.json"))
        labels = archive.read("labels.txt")
    for _ in range(data.draw(st.integers(0, 3))):
        branch: Any = document
        while isinstance(branch, dict) and branch:
            key = data.draw(st.sampled_from(sorted(branch)))
            if not isinstance(branch[key], dict):
                branch[key] = data.draw(values)
                break
            branch = branch[key]
    text = data.draw(
        st.just(json.dumps(document).encode()) | damaged([json.dumps(document).encode()])
    )
    file = io.BytesIO(models[0])
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("labels.txt", data.draw(st.just(labels) | damaged([labels])))
        archive.writestr("serd.json", text)
    model.run(file.getvalue())


# ---------------------------------------------------------------------------- earlier findings


@pytest.mark.parametrize("path", sorted(FOUND.glob("*.*")), ids=lambda path: path.name)
def test_earlier_findings(path: Path, tmp_path: Path) -> None:
    content = path.read_bytes()
    if path.suffix == ".yaml":
        try_configuration(tmp_path, content)
        return
    with Isolated("model" if path.suffix == ".tflite" else "audio") as isolated:
        isolated.run(content)

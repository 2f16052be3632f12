"""Topics are the documented ones, and invalid names are rejected."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serd.errors import ConfigError
from serd.mqtt.topics import KINDS, Topics, filters, parse


def test_topic_names() -> None:
    topics = Topics("serd", "living-room")
    assert topics.status == "serd/living-room/status"
    assert topics.emotion == "serd/living-room/emotion"
    assert topics.state == "serd/living-room/state"
    assert topics.speech == "serd/living-room/speech"
    assert topics.mute == "serd/living-room/mute"
    assert topics.mute_set == "serd/living-room/mute/set"
    assert topics.sensitivity == "serd/living-room/sensitivity"
    assert topics.sensitivity_set == "serd/living-room/sensitivity/set"
    assert topics.telemetry == "serd/living-room/telemetry"


def test_filters_of_one_node_and_of_all() -> None:
    assert filters("home/serd", "attic", ("emotion",)) == ["home/serd/attic/emotion"]
    assert filters("serd") == [f"serd/+/{kind}" for kind in KINDS]


@pytest.mark.parametrize("node", ["", "a/b", "+", "#", "küche", "a b", "a\0", "a.b", "a" * 65])
def test_an_invalid_node_name_is_rejected(node: str) -> None:
    with pytest.raises(ConfigError, match="cannot be part of a topic"):
        Topics("serd", node)
    if node != "+":
        with pytest.raises(ConfigError):
            filters("serd", node)


@pytest.mark.parametrize(
    "base", ["", "/serd", "serd/", "a//b", "a/+", "#", "$SYS", "a\0b", "a\nb", "ä" * 101]
)
def test_an_invalid_base_topic_is_rejected(base: str) -> None:
    with pytest.raises(ConfigError, match=r"mqtt\.base_topic"):
        Topics(base, "node")
    with pytest.raises(ConfigError, match=r"mqtt\.base_topic"):
        filters(base)


@pytest.mark.parametrize("kind", KINDS)
def test_parse_is_the_inverse_of_topics(kind: str) -> None:
    topic = getattr(Topics("home/serd", "attic"), kind)
    assert parse("home/serd", topic) == ("attic", kind)


@pytest.mark.parametrize(
    "topic",
    ["serd", "serd/", "serd/attic", "serd/attic/mute/set", "serd/attic/other", "other/attic/state",
     "serd//state", "serd/a b/state", "serdx/attic/state", "serd/attic/state/"],
)  # fmt: skip
def test_parse_ignores_other_topics(topic: str) -> None:
    assert parse("serd", topic) is None


@given(st.text())
def test_parse_accepts_any_string(topic: str) -> None:
    parse("serd", topic)
    parse("serd", f"serd/{topic}")

"""The topics of a node, and the node and kind of a received topic.

::

    BASE/NODE/status      online | offline     retained, last will
    BASE/NODE/emotion     an event             not retained
    BASE/NODE/state       the room's state     retained
    BASE/NODE/speech      ON | OFF             retained
    BASE/NODE/mute        ON | OFF             retained
    BASE/NODE/mute/set    ON | OFF             command to the node
    BASE/NODE/sensitivity      low | normal | high  retained, if the model has sensitivities
    BASE/NODE/sensitivity/set  low | normal | high  command to the node
    BASE/NODE/telemetry   health and counters  retained
    BASE/NODE/correct     a correction: command to the node
    BASE/NODE/correct/result    the answer     not retained
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias, get_args

from serd.config.fields import MAX_TOPIC, NODE_NAME, NODE_NAME_WORDS, TOPIC, TOPIC_WORDS
from serd.errors import ConfigError

Kind: TypeAlias = Literal[
    "status", "emotion", "state", "speech", "mute", "sensitivity", "telemetry"
]
"""Kinds of messages of a node; each is the last level of its topic."""

KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_NODE: Final = re.compile(NODE_NAME)
_BASE: Final = re.compile(TOPIC)


class Topics:
    """The topics of one node.

    Args:
        base: First levels of every topic, e.g. ``serd`` or ``home/serd``.
        node: Name of the node: letters, digits, ``_`` and ``-`` (Home Assistant takes no others).

    Raises:
        ConfigError: The base or the node is invalid.
    """

    __slots__ = ("base", "correct", "correct_result", "emotion", "mute", "mute_set", "node",
                 "sensitivity", "sensitivity_set", "speech", "state", "status",
                 "telemetry")  # fmt: skip

    def __init__(self, base: str, node: str) -> None:
        _check_base(base)
        if not _NODE.fullmatch(node):
            raise ConfigError(
                f"node: {node!r} cannot be part of a topic",
                remedy=f"use {NODE_NAME_WORDS}",
            )
        self.base = base
        self.node = node
        prefix = f"{base}/{node}"
        self.status = f"{prefix}/status"
        self.emotion = f"{prefix}/emotion"
        self.state = f"{prefix}/state"
        self.speech = f"{prefix}/speech"
        self.mute = f"{prefix}/mute"
        self.mute_set = f"{prefix}/mute/set"
        self.sensitivity = f"{prefix}/sensitivity"
        self.sensitivity_set = f"{prefix}/sensitivity/set"
        self.telemetry = f"{prefix}/telemetry"
        self.correct = f"{prefix}/correct"
        self.correct_result = f"{prefix}/correct/result"

    def __repr__(self) -> str:
        return f"Topics(base={self.base!r}, node={self.node!r})"


def filters(base: str, node: str = "+", kinds: tuple[Kind, ...] = KINDS) -> list[str]:
    """Subscription filters for kinds of messages of one node, or of all (``+``).

    Raises:
        ConfigError: The base or the node is invalid.
    """
    if node == "+":
        _check_base(base)
    else:
        Topics(base, node)
    return [f"{base}/{node}/{kind}" for kind in kinds]


def parse(base: str, topic: str) -> tuple[str, Kind] | None:
    """Node and kind of a topic under ``base``; None for any other topic."""
    if not topic.startswith(f"{base}/"):
        return None
    node, _, kind = topic[len(base) + 1 :].partition("/")
    if kind in KINDS and _NODE.fullmatch(node):
        return node, kind
    return None


def _check_base(base: str) -> None:
    if len(base) > MAX_TOPIC or not _BASE.fullmatch(base):
        raise ConfigError(
            f"mqtt.base_topic: {base!r} cannot begin a topic",
            remedy=f"use {TOPIC_WORDS}, at most {MAX_TOPIC} characters",
        )

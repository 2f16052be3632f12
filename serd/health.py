"""Is the daemon well? One judgement for systemd's watchdog, the metrics and ``/healthz``.

Well is: every part works, or waits and knows why (muted, quiet hours, a microphone that is absent
and retried). Not well is above all: deaf without a reason, when no sound arrives or nobody works on
it. The judgement itself is the supervisor's (:mod:`serd.supervisor`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from serd.supervisor import Standstill  # noqa: TC001 - msgspec looks types up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from serd.node import Node


class NodeHealth(msgspec.Struct, frozen=True, kw_only=True):
    """How one node is."""

    state: str
    """starting, listening, dead, muted, quiet, waiting, ended or stopped."""
    said: str
    """The same in words, with what is wrong."""
    trouble: str | None
    """What is wrong with its microphone, the journal, or what the broker takes of it; or null."""
    connected: bool
    """Whether its broker listens."""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon is; the body of ``/healthz``."""

    status: str
    """``ok``, ``starting``, or what is wrong."""
    nodes: dict[str, NodeHealth]
    """By name."""
    parts: list[Standstill]
    """Of every part, how long it has stood still."""

    @property
    def well(self) -> bool:
        """Whether the watchdog may be fed."""
        return self.status == "ok"


def examine(nodes: Sequence[Node], parts: list[Standstill], *, ready: bool) -> Health:
    """Judge.

    Args:
        nodes: All of the daemon.
        parts: What the supervisor has found (:meth:`serd.supervisor.Supervisor.standstills`).
        ready: Whether every pipeline has begun.
    """
    still = [part for part in parts if not part.well]
    status = "; ".join(f"{part.name}: no sign of life for {part.seconds:.0f} s" for part in still)
    if not status:
        status = "ok" if ready else "starting"
    return Health(
        status=status,
        nodes={
            node.name: NodeHealth(
                state=node.state,
                said=node.sentence(),
                trouble=node.trouble,
                connected=node.publisher.connected,
            )
            for node in nodes
        },
        parts=parts,
    )

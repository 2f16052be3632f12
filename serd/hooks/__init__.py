"""Room of the hooks: programs that serd runs for events, as the configuration says."""

from __future__ import annotations

from serd.hooks.hooks import Hooks, HookStats

__all__ = ["HookStats", "Hooks"]

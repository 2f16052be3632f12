"""Signals that arrive while one daemon ends and the next one starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serd.config.loading import load
from serd.daemon import process

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

    from serd.config.loading import Loaded


class FakeDaemon:
    """Ends at each reload; the first one is asked for another while it ends."""

    made: list[FakeDaemon]

    def __init__(self, *_: object, **__: object) -> None:
        self.reloads = 0
        self.reload_requested = False
        self.unwritten = ()
        self.unsaved: dict[str, str] = {}
        self.made.append(self)

    def stop(self) -> None:
        pass

    def reload(self) -> None:
        self.reload_requested = True

    def run(self, reload: Callable[[], Loaded]) -> Loaded | None:
        if len(self.made) > 1 and not self.reload_requested:
            return None
        self.reload_requested = False
        loaded = reload()
        if len(self.made) == 1:
            self.reload()  # as by SIGHUP, after the configuration was read
        return loaded


def test_a_reload_requested_while_a_daemon_ends_is_done_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    FakeDaemon.made = []
    monkeypatch.setattr(process, "Daemon", FakeDaemon)
    loaded: Any = load(None, env={}, overrides=[])
    assert process.run_daemon(loaded) == 0
    assert len(FakeDaemon.made) == 3

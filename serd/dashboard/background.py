"""Work that blocks, beside the event loop."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")


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

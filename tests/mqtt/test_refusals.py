"""What a broker refuses, in words."""

from __future__ import annotations

from serd.mqtt.link import Refusal
from serd.mqtt.refusals import NO_ECHO, Refusals


class Emptied(dict[str, Refusal]):
    """Has been emptied by another thread just after its length was looked at."""

    def __bool__(self) -> bool:
        return True


def test_what_is_refused_is_told_while_another_thread_changes_it() -> None:
    refusals = Refusals()
    refusals.refused("serd/den/state", NO_ECHO)
    refusals.refused("serd/den/mute", NO_ECHO)
    assert refusals.trouble.startswith("serd/den/state does not come back")
    assert refusals.trouble.endswith("(not taken either: serd/den/mute)")
    refusals._known = Emptied()
    assert refusals.trouble == ""

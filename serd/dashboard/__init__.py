"""The web page: a subscriber like any other, in a process of its own.

::

    Follower (MQTT) ──► watch ──► rooms ──► stream ──► browsers
                                  past (journals + what was seen)
    browsers ──► api ──► switch ──► MQTT

Everything but the follower, the journals and the switch runs on one event loop, without locks.
Needs the extra ``serd-emotion[dashboard]``.
"""

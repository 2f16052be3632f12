"""The dashboard: a web page fed by a subscriber like any other, in a process of its own.

::

    Follower (MQTT) ──► broker ──► nodes ──► stream ──► browsers
                                   history (journals and recent events)
    browsers ──► api ──► broker ──► MQTT

Everything but the follower, the journals and the commands runs on one event loop, without locks.
Needs the extra ``serd-emotion[dashboard]``.
"""

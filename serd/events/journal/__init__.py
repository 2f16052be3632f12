"""The journal: every event is in it, on the disk, before it is published.

``journal`` is what the daemon holds; ``file`` opens and prepares the SQLite file, ``writer`` and
``rows`` know its tables, ``mark`` remembers numbers beside it, ``latency`` keeps what is measured
after an event was written, ``retention`` prunes, ``dating`` knows whether the clock can be
believed, ``damage`` puts a broken file aside. ``corrections`` keeps what people said of events, in
a table of its own.
"""

from serd.events.journal.journal import Journal

__all__ = ["Journal"]

"""``serd bench``: how fast serd is on this machine."""

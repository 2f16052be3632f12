"""``make bench``: compares serd with common pipelines and the bare arithmetic, on one machine.

Only speed is measured: the other pipelines' networks have random weights, because weights do not
change how long an inference takes.
"""

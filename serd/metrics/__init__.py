"""Room of the metrics: figures for Prometheus over HTTP, on a thread of its own.

Nothing here touches audio, and nothing is counted for it on the way of the sound: at each question
the figures that the daemon keeps anyway are read. What the figures are is in
:mod:`serd.metrics.figures`, which needs no library; serving them needs the extra ``metrics``.
"""

"""A thousand simulated nodes on one broker: what is lost, how long it takes, what it costs.

``python -m benchmarks.fleet`` runs it on loopback; ``report`` writes the table of docs/fleet.md.
"""

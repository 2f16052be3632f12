"""The figures of a fleet run as a table, for a terminal and for docs/fleet.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from benchmarks.report import insert

if TYPE_CHECKING:
    from pathlib import Path

BEGIN: Final = "<!-- fleet: begin (written by `python -m benchmarks.fleet report`) -->"
END: Final = "<!-- fleet: end -->"


def rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Descriptions and values of all measurements."""
    run = result["stored"]
    found = [*_paced(run), *_kept(run)]
    for one in (result["pace"], run):
        found += [_tail(one, "pipe", "into a pipe"), _tail(one, "terminal", "on a terminal")]
    return found + _flooded(result["flood"])


def _paced(run: dict[str, Any]) -> list[tuple[str, str]]:
    seen, broker = run["observed"], run["broker"]
    return [
        ("nodes; how long they spoke", f"{run['nodes']}; {run['seconds'] / 60:g} min"),
        ("events", f"{run['sent']}: {run['sent'] / run['seconds']:.0f} a second"),
        ("messages of all kinds from nodes", f"{run['messages'] / run['seconds']:.0f} a second"),
        ("connections refused; lost", f"{run['refused']}; {run['reconnects']}"),
        ("all nodes connected after", f"{run['connect_s']:.1f} s"),
        ("events acknowledged by the broker", f"{run['acknowledged']} of {run['sent']}"),
        ("of these missing at a subscriber; twice", f"{seen['missing']}; {seen['twice']}"),
        ("publish to subscriber", _times(seen["latency_ms"])),
        ("publish to acknowledgement", _times(run["ack_ms"])),
        ("broker: processor", f"{broker['cpu_percent']:.1f} % of one core"),
        ("broker: most memory", f"{broker['peak_rss_mb']:.0f} MB"),
    ]


def _kept(run: dict[str, Any]) -> list[tuple[str, str]]:
    kept, away = run["stored"], run["seconds"] / 10
    consumers = 100 * run["consumer_cpu_s"] / run["wall_s"]
    database = 100 * run["database_cpu_s"] / run["wall_s"]
    memory = run["consumer_rss_mb"]
    return [
        ("three consumers into PostgreSQL, one killed half way", f"and away for {away:.0f} s"),
        ("acknowledged events missing in the table; twice", f"{kept['missing']}; {kept['twice']}"),
        ("delivered again and ignored", f"{sum(one['known'] for one in run['consumers']):.0f}"),
        ("publish to the storing transaction", _times(kept["latency_ms"])),
        ("three consumers: processor; memory of one", f"{_core(consumers)}; {memory:.0f} MB"),
        ("PostgreSQL: processor", _core(database)),
    ]


def _tail(run: dict[str, Any], kind: str, where: str) -> tuple[str, str]:
    tail = run["tail"][kind]
    missing = run["acknowledged"] - tail["events"]
    return (
        f"`serd tail`, {run['nodes']} nodes, {where}: missing; processor; memory",
        f"{missing}; {_core(tail['cpu_percent'])}; {tail['rss_mb']:.0f} MB",
    )


def _flooded(flood: dict[str, Any]) -> list[tuple[str, str]]:
    speed = f"{flood['events_per_s']} events a second of {flood['bytes']} bytes"
    cost = f"{flood['broker_cpu_us_per_event']:.0f} µs an event"
    return [
        (
            f"as fast as it goes: {flood['publishers']} publishers, one subscriber, QoS 1",
            f"{speed}; {flood['missing']} missing",
        ),
        (
            "broker then: processor; most memory",
            f"{_core(flood['broker_cpu_percent'])}, {cost}; {flood['peak_rss_mb']:.0f} MB",
        ),
    ]


def _core(percent: float) -> str:
    return f"{percent:.1f} % of one core"


def _times(values: dict[str, float]) -> str:
    names = (("p50", "p50"), ("p99", "p99"), ("most", "max"))
    return ", ".join(f"{what} {_time(values[key])}" for what, key in names)


def _time(milliseconds: float) -> str:
    if milliseconds >= 1000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.1f} ms"


def measured(result: dict[str, Any]) -> str:
    """Date, machine, software and load of the measurement."""
    machine, run = result["machine"], result["stored"]
    nice = f", niceness {result['nice']}" if result["nice"] else ""
    software = f"mosquitto {result['mosquitto']}, PostgreSQL {result['postgresql']}"
    return (
        f"Measured {result['date']} on {machine['model']} ({machine['cores']} cores, "
        f"{machine['architecture']}, {machine['system']}, Python {machine['python']}, {software}). "
        "Nodes, broker, consumers and database shared this machine with other work"
        f"{nice}: load average {run['load_before']:.1f} before the nodes spoke and "
        f"{run['load_after']:.1f} after."
    )


def text(result: dict[str, Any]) -> str:
    """The table for a terminal."""
    return "\n".join(
        [
            measured(result),
            "",
            *(f"{what.replace('`', ''):82} {found}" for what, found in rows(result)),
        ]
    )


def markdown(result: dict[str, Any]) -> str:
    """The table for the documentation."""
    lines = [f"| {what} | {found} |" for what, found in rows(result)]
    return "\n".join([measured(result), "", "| what | measured |", "|---|---|", *lines])


def write(path: Path, result: dict[str, Any]) -> None:
    """Put the table between the markers of a document."""
    insert(path, markdown(result), begin=BEGIN, end=END)

"""``serd run``: the daemon."""

from __future__ import annotations

import logging
import sys
from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

import click

from serd.cli import lean
from serd.cli.command import Command, Invocation, as_milliseconds, pass_invocation

if TYPE_CHECKING:
    from serd.config.loading import Loaded

log = logging.getLogger(__name__)


def _moment_or_file(
    context: click.Context, parameter: click.Parameter, value: str | None
) -> int | Literal["file"] | None:
    return "file" if value == "file" else as_milliseconds(context, parameter, value)


@click.command(cls=Command)
@click.option(
    "--source",
    type=click.Path(),
    metavar="mic|PATH|URL|-",
    help="What to listen to: sets audio.source, and replaces audio.command and all of sources.",
)
@click.option(
    "--rate",
    type=click.IntRange(2000, 768_000),
    help="Sample rate of standard input in hertz (sets audio.rate_hz).",
)
@click.option(
    "--pace",
    type=click.Choice(["real", "fast"]),
    help="How a file is played: in real time, or as fast as possible (sets audio.pace).",
)
@click.option(
    "--started-at",
    "started_at",
    callback=_moment_or_file,
    metavar="TIME|file",
    help="When a recording started, as in 2026-03-01T08:15; or file: it ended at the file's "
    "modification time. Default: it ends now.",
)
@click.option(
    "--keep",
    is_flag=True,
    help="After a file, keep what the broker retains of the node: its state, and its device in "
    "Home Assistant.",
)
@click.option("--quiet", is_flag=True, help="Do not show events on the terminal.")
@pass_invocation
def run(
    invocation: Invocation,
    *,
    source: str | None,
    rate: int | None,
    pace: str | None,
    started_at: int | Literal["file"] | None,
    keep: bool,
    quiet: bool,
) -> int:
    """Listen and publish events over MQTT until stopped; a terminal shows them, too.

    PATH is an audio file: serd ends when all of it has been processed and delivered, and then
    clears what the broker retains of its node. URL is a live stream, such as a camera's (rtsp://),
    and needs ffmpeg. With - serd reads raw 16-bit little-endian mono samples, or a recording, from
    standard input.
    """
    invocation.override_source(source)
    invocation.override("audio.rate_hz", rate, "--rate")
    invocation.override("audio.pace", pace, "--pace")
    loaded = _load(invocation)
    mqtt = loaded.config.mqtt
    if not (mqtt.embedded or mqtt.tls.active):
        lean.load_client()
    from serd.daemon.process import run_daemon

    with ExitStack() as stack:
        on_event = None
        if sys.stdout.isatty() and not quiet:
            from serd.cli.terminal import BackgroundPrinter

            on_event = stack.enter_context(BackgroundPrinter(loaded.config))
        return run_daemon(
            loaded,
            reload=lambda: _load(invocation),
            temporary="none" if keep else "recordings",
            started_at=started_at,
            on_event=on_event,
        )


def _load(invocation: Invocation) -> Loaded:
    """Load the configuration, and log its warnings."""
    loaded = invocation.load()
    for warning in loaded.warnings:
        log.warning("%s", warning)
    return loaded

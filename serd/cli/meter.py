"""``serd meter``: the level live, for placing a microphone and setting its gain."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Final, Protocol, Self

import click

from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import echo
from serd.errors import UnavailableError

if TYPE_CHECKING:
    from rich.text import Text

    from serd.audio.level import Reading
    from serd.audio.source import Source
    from serd.config import Config
    from serd.doctor.sound import Advice

_LOWEST_DBFS: Final = -60
"""Left end of the bar."""

_ZONES: Final = ((-12, "green"), (-3, "yellow"), (0, "bold red"))
"""Colours of the bar, by upper level in dBFS."""

_REFRESH_S: Final = 0.1
_LINE_S: Final = 1.0
_BESIDE: Final = 31
"""Columns beside the bar, for the figures."""


@click.command(cls=Command)
@click.option(
    "--source",
    type=click.Path(),
    metavar="mic|PATH|URL|-",
    help="What to listen to: sets audio.source, and replaces audio.command and all of sources.",
)
@click.option(
    "--seconds",
    type=click.FloatRange(0.1, 86_400),
    metavar="N",
    help="Stop after this many seconds of sound. Default: at Ctrl-C or the end of the file.",
)
@click.option("--node", metavar="NAME", help="Which of several sources. Default: the first.")
@click.option(
    "--listen", is_flag=True, help="Open the microphone even while muted or in quiet hours."
)
@pass_invocation
def meter(
    invocation: Invocation,
    source: str | None,
    seconds: float | None,
    node: str | None,
    listen: bool,
) -> None:
    """Show the level live, for placing a microphone and setting its gain.

    The bar ranges from -60 to 0 dBFS; its mark is the latest peak. Speak as people will speak
    there: peaks should be between -30 and -6 dBFS, and the room (the level between words) at least
    20 dB below. "voice" appears where the daemon would detect speech. Into a pipe, one line per
    second.
    """
    invocation.override_source(source, node)
    loaded = invocation.load().config
    config = loaded.of(node)
    from serd.audio.factory import make_source
    from serd.daemon.mute import why_closed

    if not listen and config.audio.kind != "stdin" and make_source(config.audio).live:
        reason = why_closed(config, alone=not loaded.sources)
        if reason is not None:
            raise UnavailableError(
                f"{config.node} {reason}, so its microphone stays closed",
                remedy="`serd meter --listen` opens it anyway",
            )

    live = sys.stdout.isatty() and os.environ.get("TERM") not in {None, "", "dumb"}
    with _LiveDisplay() if live else _LineDisplay() as display:
        heard = make_source(config.audio)
        try:
            heard.open()
            _measure(config, heard, display, seconds)
        except KeyboardInterrupt:  # the normal way to end it
            pass
        finally:
            heard.close()


class Display(Protocol):
    """Where readings are shown."""

    every_s: float
    """Seconds between two readings."""

    def __enter__(self) -> Self:
        """Open the display."""

    def __exit__(self, *_: object) -> None:
        """Close it, restoring the terminal."""

    def show(self, reading: Reading, advice: Advice | None, *, voice: bool) -> None:
        """Show a reading."""


def _measure(config: Config, source: Source, display: Display, seconds: float | None) -> None:
    from serd.audio.format import SAMPLE_RATE
    from serd.audio.level import LevelMeter
    from serd.audio.source import EndOfSource
    from serd.doctor.sound import advise
    from serd.speech import Segmenter, make_vad

    segmenter = Segmenter(config.speech, make_vad(config.speech))
    levels = LevelMeter()
    voice, heard, shown = False, 0, 0.0
    # In a recording read as fast as possible, readings are spaced by sound rather than time.
    by_sound = config.audio.kind in {"file", "stdin"} and config.audio.pace == "fast"
    while seconds is None or heard < seconds * SAMPLE_RATE:
        try:
            block = source.read(display.every_s)
        except EndOfSource:
            break
        if block is not None:
            levels.feed(block.samples, offset=block.offset, clipped=block.clipped)
            segmenter.feed(block.samples)
            voice |= segmenter.speaking
            heard += len(block)
        now = heard / SAMPLE_RATE if by_sound else time.monotonic()
        if now - shown >= display.every_s and heard:
            reading = levels.read()
            display.show(reading, advise(reading, gain_db=source.stats.gain_db), voice=voice)
            voice, shown = segmenter.speaking, now


class _LineDisplay:
    """One line per second, for pipes and simple terminals."""

    every_s = _LINE_S

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, reading: Reading, advice: Advice | None, *, voice: bool) -> None:
        hint = f"  {advice.message}" if advice else ""
        echo(
            f"{reading.seconds:7.1f} s  level {reading.rms_dbfs:6.1f}  "
            f"peak {reading.peak_dbfs:6.1f}  room {reading.room_dbfs:6.1f} dBFS  "
            f"clipped {reading.clipped_share:6.2%}  {'voice' if voice else '-':<5}{hint}".rstrip()
        )
        sys.stdout.flush()


class _LiveDisplay:
    """Three lines that are updated in place."""

    every_s = _REFRESH_S

    def __init__(self) -> None:
        from rich.console import Console
        from rich.live import Live

        self._console = Console(highlight=False)
        self._live = Live(console=self._console, auto_refresh=False, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, reading: Reading, advice: Advice | None, *, voice: bool) -> None:
        self._live.update(picture(reading, advice, self._console.width, voice=voice), refresh=True)


def picture(reading: Reading, advice: Advice | None, width: int, *, voice: bool) -> Text:
    """The three lines of the live display, none longer than the terminal is wide.

    Args:
        reading: What to show.
        advice: The problem with the level, if any.
        width: Columns of the terminal.
        voice: Whether the daemon would detect speech.
    """
    from rich.text import Text

    cells = max(10, width - _BESIDE)
    bar = Text(no_wrap=True)
    bar.append_text(_bar(reading, cells))
    bar.append(f" {reading.rms_dbfs:4.0f} dBFS  peak {reading.held_dbfs:4.0f}  ")
    bar.append("voice" if voice else "", "bold cyan")
    scale = Text(_scale(cells), "dim", no_wrap=True)
    scale.append(f" room {reading.room_dbfs:4.0f}  clipped {reading.clipped_share:6.2%}")
    if advice is None:
        hint = Text("good" if reading.loudest_dbfs > -40 else "", "green")
    else:
        hint = Text(f"{advice.message}: {advice.remedy}", "bold yellow")
    for line in (bar, scale, hint):
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return Text("\n").join([bar, scale, hint])


def _bar(reading: Reading, cells: int) -> Text:
    from rich.text import Text

    full = _cell(reading.rms_dbfs, cells)
    mark = min(cells - 1, _cell(reading.held_dbfs, cells))
    bar = Text()
    for cell in range(cells):
        level = _LOWEST_DBFS * (1 - (cell + 1) / cells)
        style = next(colour for upto, colour in _ZONES if level <= upto)
        if cell == mark and reading.held_dbfs > _LOWEST_DBFS:
            bar.append("┃", style)
        elif cell < full:
            bar.append("█", style)
        else:
            bar.append("·", "dim")
    return bar


def _cell(dbfs: float, cells: int) -> int:
    """Cells of the bar that a level fills."""
    return max(0, min(cells, round((dbfs - _LOWEST_DBFS) / -_LOWEST_DBFS * cells)))


def _scale(cells: int) -> str:
    """Numbers below the bar, each ending at its level."""
    line = [" "] * cells
    for dbfs in range(_LOWEST_DBFS, 1, 10 if cells >= 40 else 20):
        text = str(dbfs)
        end = max(len(text), _cell(dbfs, cells))
        line[end - len(text) : end] = text
    return "".join(line)

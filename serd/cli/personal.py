"""``serd personal``: the corrections, and what was learned from them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import click

from serd.cli.command import Group, Invocation, parse_moment, pass_invocation
from serd.cli.terminal import echo
from serd.errors import InputError, UnavailableError, UsageError, shown
from serd.language import many

if TYPE_CHECKING:
    from serd.config import Config
    from serd.events.corrections import Correction, CorrectionStore
    from serd.events.personalisation import Summary

_FORMAT: Final = "serd-corrections"
_LARGEST: Final = 64 * 1024 * 1024
_EVENTS: Final = 20_000


@click.group(cls=Group)
def personal() -> None:
    """Show, forget, export or import what was learned from corrections.

    The corrections are in the journal's file, so this works on the node's machine, as the daemon's
    user. A running daemon follows within a second.
    """


@personal.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def show(invocation: Invocation, as_json: bool) -> None:
    """Show how many corrections there are, of what, and what they change."""
    config = invocation.load().config
    import msgspec

    from serd.events.history import History
    from serd.events.personalisation import summarise
    from serd.model.model_file import ModelFile

    corrections = _store(config).all()
    model = ModelFile.load(config.model.path)
    with History(Path(config.journal.path)) as journal:
        events = list(journal.query(limit=_EVENTS, newest_first=True))
    summary = summarise(corrections, model, events)
    if as_json:
        content = {"enabled": config.personal.enabled, "scope": config.personal.scope}
        content |= msgspec.to_builtins(summary)
        echo(msgspec.json.encode(content).decode())
        return
    for line in _lines(config, summary):
        echo(line)


def _lines(config: Config, summary: Summary) -> list[str]:
    if not summary.corrections:
        text = (
            "No corrections yet. `serd correct happy` says that the latest utterance was happy, "
            "`serd correct not` that serd was wrong."
        )
        return [text]
    count = many(summary.corrections, "correction", "corrections")
    since = f", {summary.first_at} to {summary.last_at}" if summary.first_at else ""
    lines = [f"{count}{since}"]
    lines += [f"  {number:5}  {words}" for words, number in summary.emotions.items()]
    if len(summary.nodes) > 1:
        nodes = ", ".join(f"{name} {number}" for name, number in summary.nodes.items())
        lines.append(f"Heard by: {nodes}")
    for number, reason in (
        (summary.other_model, "made with another model. With that model they count again."),
        (summary.other_class, "the current model has no such emotion."),
    ):
        if number:
            lines.append(f"{many(number, 'correction', 'corrections')} set aside: {reason}")
    if not config.personal.enabled:
        lines.append("They have no effect now: personal.enabled is false.")
    elif summary.used:
        lines += _benefit(summary)
    return lines


def _benefit(summary: Summary) -> list[str]:
    used = summary.used
    if used == 1:
        alone = "right" if summary.right_alone else "wrong"
        lines = [f"One corrected utterance counts; the model alone gets it {alone}."]
    else:
        text = (
            f"Of the {used} corrected utterances that count, the model alone gets "
            f"{summary.right_alone} right. With what it learned from the others, it gets "
            f"{summary.right_adapted} right."
        )
        lines = [text]
    wrong = used - summary.right_alone
    if wrong and used > 1:
        lines.append(
            f"So the corrections fix {summary.low:.0%} to {summary.high:.0%} of its mistakes "
            "(90% confidence interval)."
        )
    if summary.uncorrected:
        share = summary.changed / summary.uncorrected
        others = many(summary.uncorrected, "other utterance", "other utterances")
        lines.append(
            f"Of {others} in the journal, {summary.changed} ({share:.0%}) would be classified "
            "differently than by the model alone; whether better or worse is not known."
        )
    lines.append(
        "In simulations accuracy rose in most households and fell in some (docs/personal.md). "
        "`serd personal forget all` restores the original model."
    )
    return lines


@personal.command()
@click.argument("which", nargs=-1, metavar="[ID ...|all]")
@click.option(
    "--since",
    metavar="TIME",
    help="Corrections made since: 90s, 15m, 24h, 7d ago; 14:30 today; 2026-03-01T08:15.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def forget(
    invocation: Invocation, which: tuple[str, ...], since: str | None, as_json: bool
) -> None:
    """Forget corrections: of certain events, made since some time, or all.

    They are overwritten in the file; exported or backed-up copies remain.
    """
    words = [word.strip().lower() for word in which]
    if (since is None) == (not words):
        raise UsageError(
            "say what to forget", remedy="ids of events, `all`, or --since TIME; one of the three"
        )
    if "all" in words and len(words) > 1:
        raise UsageError("`all` cannot be combined with ids")
    store = _store(invocation.load().config)
    if words == ["all"]:
        count = store.forget()
    elif words:
        count = store.forget(identifiers=[_identifier(word) for word in words])
    else:
        from datetime import datetime

        try:
            moment = parse_moment(since or "", datetime.now())  # noqa: DTZ005 - local on purpose
        except ValueError as error:
            raise UsageError(f"--since: {error}") from None
        count = store.forget(since_ms=round(moment.timestamp() * 1000))
    left = len(store.all())
    if as_json:
        echo(f'{{"forgotten":{count},"left":{left}}}')
    else:
        echo(f"{many(count, 'correction', 'corrections')} forgotten, {left} left")


@personal.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.option("--json", "as_json", is_flag=True, help="JSON, which is the only format.")
@pass_invocation
def export(invocation: Invocation, file: Path | None, as_json: bool) -> None:  # noqa: ARG001
    """Write all corrections as JSON, to a file or to standard output."""
    import msgspec

    corrections = _store(invocation.load().config).all()
    content = {"format": _FORMAT, "version": 1, "corrections": corrections}
    text = msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n"
    if file is None:
        echo(text.decode(), lines=True, nl=False)
        return
    try:
        file.touch(mode=0o600)
        file.write_bytes(text)
    except OSError as error:
        raise UnavailableError(
            f"{shown(file)} cannot be written: {error.strerror or error}",
            remedy="choose another file",
        ) from None
    echo(f"{file}: {many(len(corrections), 'correction', 'corrections')}")


@personal.command(name="import")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE|-")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@pass_invocation
def import_(invocation: Invocation, file: Path, as_json: bool) -> None:
    """Import exported corrections, in addition to those here.

    Of two corrections of one utterance the later one counts.
    """
    found = _read(file)
    store = _store(invocation.load().config)
    known = {one.id: one for one in store.all()}
    newer = [
        one for one in found if one.id not in known or one.corrected_at > known[one.id].corrected_at
    ]
    changed = store.put(newer)
    if as_json:
        echo(f'{{"read":{len(found)},"taken":{changed}}}')
    else:
        echo(f"{many(changed, 'correction', 'corrections')} taken of {len(found)} in {file}")


def _read(file: Path) -> list[Correction]:
    """Read the corrections of a file; all are checked before any is imported."""
    import msgspec

    from serd.events.corrections import Correction

    class Exported(msgspec.Struct, frozen=True):
        format: str
        version: int
        corrections: list[Any]

    name = "standard input" if str(file) == "-" else str(file)
    try:
        if str(file) == "-":
            if sys.stdin is None:  # it is closed
                raise InputError("there is no standard input to read from")
            text = sys.stdin.buffer.read(_LARGEST + 1)
        else:
            with file.open("rb") as opened:
                text = opened.read(_LARGEST + 1)
    except OSError as error:
        raise InputError(f"{name} cannot be read: {error.strerror or error}") from None
    wrong = f"{name} is not an export of `serd personal export`"
    if len(text) > _LARGEST:
        raise InputError(f"{name} has more than {_LARGEST >> 20} MiB")
    try:
        exported = msgspec.json.decode(text, type=Exported)
        if exported.format != _FORMAT or exported.version != 1:
            raise InputError(wrong)
        return msgspec.convert(exported.corrections, list[Correction])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"{wrong}: {' '.join(str(error).split())[:200]}") from None


def _identifier(word: str) -> str:
    try:
        return str(UUID(word))
    except ValueError:
        raise UsageError(f"{word!a} is not the id of an event") from None


def _store(config: Config) -> CorrectionStore:
    from serd.events.corrections import CorrectionStore

    return CorrectionStore(Path(config.journal.path))

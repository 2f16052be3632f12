"""``serd correct``: correct the emotion of an utterance."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final, get_args
from uuid import UUID

import click

from serd.cli.command import Command, Invocation, pass_invocation
from serd.cli.terminal import echo
from serd.config.schema import Emotion
from serd.errors import ConfigError, SerdError, UsageError

if TYPE_CHECKING:
    from serd.config import Config

_LAST: Final = "last"
_NOT: Final = "not"
_FORGET: Final = "forget"
_WORDS: Final = (*(name for name in get_args(Emotion) if name != "uncertain"), _NOT)


@click.command(cls=Command)
@click.argument("words", nargs=-1, required=True, metavar="[last|ID] EMOTION|not|forget")
@click.option(
    "--node", metavar="NAME", help="Node that was wrong. Default: the one configured here."
)
@pass_invocation
def correct(invocation: Invocation, words: tuple[str, ...], node: str | None) -> None:
    """Correct the emotion of an utterance; serd learns from it at once.

    EMOTION is neutral, calm, happy, sad, angry, fearful, disgust or surprised; `not` says only that
    serd's emotion was wrong, and `forget` withdraws a correction. Without ID it applies to the
    latest utterance; ids are in `serd tail --json` and `serd history --json`. The correction goes
    over MQTT, so it works from any machine; the answer is printed.
    """
    which, word = _words(words)
    config = invocation.load().config
    from serd.mqtt.access import Access
    from serd.mqtt.commands import CorrectRequest, send_correction
    from serd.mqtt.topics import Topics

    try:
        topics = Topics(config.mqtt.base_topic, node or _node(config, which))
    except ConfigError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
    request = CorrectRequest(
        id=which,
        emotion=None if word in {_NOT, _FORGET} else word,
        forget=word == _FORGET,
    )
    answer = send_correction(Access(config.mqtt), topics, request)
    if not answer.ok:
        raise UsageError(f"{topics.node} refuses: {answer.message}")
    many = "1 correction" if answer.corrections == 1 else f"{answer.corrections} corrections"
    echo(f"{answer.message}; {topics.node} learns from {many}")


def _words(words: tuple[str, ...]) -> tuple[str, str]:
    """The id (or ``last``) and the emotion, from one or two words in any case."""
    lowered = [word.strip().lower() for word in words]
    if len(lowered) > 2:
        raise UsageError(
            f"{len(words)} words are too many", remedy="serd correct [last|ID] EMOTION|not"
        )
    which, word = (_LAST, lowered[0]) if len(lowered) == 1 else (lowered[0], lowered[1])
    if word not in {*_WORDS, _FORGET}:
        known = ", ".join(_WORDS)
        raise UsageError(f"{words[-1]!a} is not an emotion", remedy=f"write one of: {known}")
    if which != _LAST:
        try:
            which = str(UUID(which))
        except ValueError:
            raise UsageError(
                f"{words[0]!a} is not the id of an event",
                remedy="`serd history --json` shows them; without one the latest is corrected",
            ) from None
    return which, word


def _node(config: Config, which: str) -> str:
    """The node configured here; of several, the one that heard the utterance."""
    names = [single.node for single in config.each()]
    if len(names) == 1:
        return names[0]
    if which != _LAST:
        from serd.events.corrections import CorrectionStore

        store = CorrectionStore(Path(config.journal.path))
        for name in names:
            try:
                if store.event(name, which) is not None:
                    return name
            except SerdError:
                break
    raise UsageError("there are several nodes here", remedy=f"name one: --node {names[0]}")

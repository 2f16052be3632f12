"""The parts of the card that say how the model was tried."""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.report.tables import missing, number, paragraph, picture, table, title, with_spread

if TYPE_CHECKING:
    from training.report.sources import Sources

_COMMAND = "serd-train probe"

_SITUATIONS = {
    "speaker": "one speaker",
    "household": "three in a room",
    "mostly_neutral": "three, mostly neutral",
}
_METHODS = {
    "features": "mean of the features moved towards that of training",
    "scores": "classes that are said too often get less",
}


def hardship(sources: Sources) -> str:
    """Noise, rooms, telephones."""
    about = sources.probed("robustness", "about")
    if not about:
        return missing("Noise, rooms, telephones", _COMMAND)
    corpora = list(sources.probed("robustness", "corpora"))
    header = ["", *(f"{title(name)}, {what}" for name in corpora for what in ("accuracy", "UAR"))]
    rows = [
        (
            words,
            *(
                with_spread(sources.probe("robustness", "corpora", corpus, "conditions", name, key))
                for corpus in corpora
                for key in ("accuracy", "uar")
            ),
        )
        for name, words in about.items()
    ]
    words = f"""\
Test clips, put through what a living room may do to them. The everyday sounds are recordings of
ESC-10 that training never heard. {_whose(sources, "robustness")}"""
    return f"""\
## Noise, rooms, telephones

{paragraph(words)}

{table(header, rows)}

{picture(sources.name, "noise", "accuracy against the signal-to-noise ratio")}
"""


def habituation(sources: Sources) -> str:
    """Adaptation without labels."""
    heading = "Getting used to a room"
    methods = sources.probed("adaptation", "methods")
    if not methods:
        return missing(heading, _COMMAND)
    heard = [f"{one.value:.0f}" for one in sources.numbers("adaptation", "heard") if one]
    rows = []
    for method, found in methods.items():
        for situation, by_corpus in found["test"].items():
            for corpus in by_corpus:
                path = ("adaptation", "methods", method, "test", situation, corpus)
                curve = sources.numbers(*path, "uar")
                gain = sources.probe(*path, "gain_20")
                rows.append(
                    (
                        _METHODS.get(method, method),
                        _SITUATIONS.get(situation, situation),
                        title(corpus),
                        *(number(one.value if one else None, 3) for one in curve),
                        f"{100 * gain.value:+.1f}" if gain else "",
                    )
                )
    header = ["what is done", "who speaks", "", *(f"UAR after {count}" for count in heard)]
    header.append("points of accuracy gained by 20, mean over voices")
    strangers = ""
    if sources.probed("adaptation").get("validation_heard"):
        strangers = (
            "How strongly it is done was chosen on validation speakers, whom the last stretch of"
            " training had heard: strangers might have chosen otherwise."
        )
    words = f"""\
What a daemon could gain by remembering how the voices of its room sound, never told what they
felt: utterances of test speakers in random order, and the UAR after it has heard so many others.
These are simulations and no part of any other figure here. {strangers}
{_whose(sources, "adaptation")}"""
    return f"""\
## {heading}

{paragraph(words)}

{table(header, rows)}

{picture(sources.name, "adaptation", "UAR after so many utterances of the same voice")}
"""


def no_speech(sources: Sources) -> str:
    """Events per hour where nobody speaks."""
    heading = "Not speech, not emotion"
    engines = sources.probed("environment", "engines")
    if not engines:
        return missing(heading, _COMMAND)
    rows = []
    for engine, found in engines.items():
        path = ("environment", "engines", engine)
        for part, words in (
            (("held_out", "sounds"), "everyday sounds that training never heard"),
            (("all", "sounds"), "all everyday sounds"),
            (("held_out", "human"), "crying babies and sneezes, never heard"),
            *((("silence", level), f"silence, {level}") for level in found.get("silence", {})),
        ):
            events = sources.probe(*path, *part, "events_per_hour")
            seconds = sources.probe(*path, *part, "seconds")
            if events is None or seconds is None:
                continue
            rows.append((words, engine, f"{seconds.value / 60:.0f}", with_spread(events, 1)))
    words = f"""\
What reaches the `emotion` topic though nobody speaks: sounds of ESC-10 and silence, played through
the whole daemon (floor, voice detector, segmenter, network, threshold). An utterance that the model
calls `uncertain` is not counted. {_whose(sources, "environment")}"""
    return f"""\
## {heading}

{paragraph(words)}

{table(("", "voice detector", "minutes of it", "emotion events an hour"), rows)}
"""


def baselines(sources: Sources) -> str:
    """Where the published systems stand."""
    if sources.baselines is None:
        return missing("Published systems", "serd-train baselines")
    return """\
## Published systems

Eleven published small systems, as their authors reported them and as they came out here, on their
own random splits and on speakers never heard, with this network in both columns:
[baselines.md](baselines.md).
"""


def _whose(sources: Sources, part: str) -> str:
    folds = sources.folds or {}
    if part in (folds.get("probes") or {}):
        return f"Means over folds and seeds, ± the SD between folds; runs: {folds['probed']}."
    return "Of the shipped file, on its own fold."

"""The sections of the card that report figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serd.model.metadata import ORDINARY
from training.report.goals import goals_table
from training.report.markdown import (
    NOT_YET,
    listed,
    missing,
    number,
    paragraph,
    picture,
    table,
    title,
    with_spread,
)
from training.report.sources import measured

if TYPE_CHECKING:
    from training.report.sources import Sources

LISTENERS = {"ravdess": "62.4 %", "crema_d": "40.9 %"}
"""Accuracy of people on the same recordings, by voice alone. RAVDESS: Livingstone and Russo 2018
(PLoS ONE 13(5) e0196391); CREMA-D: Cao and others 2014 (PMC4313618)."""

_FIGURES = (
    ("uar", "UAR"),
    ("accuracy", "accuracy"),
    ("uar_own_classes", "UAR, own classes"),
    ("four_groups_accuracy", "4 groups: accuracy"),
    ("four_groups_accuracy_at_coverage", "4 groups: accuracy on the most confident {coverage} %"),
    ("valence_sign_accuracy", "sign of valence: accuracy"),
    ("valence_sign_uar", "sign of valence: UAR"),
    ("arousal_sign_accuracy", "sign of arousal: accuracy"),
    ("arousal_sign_uar", "sign of arousal: UAR"),
    ("ece", "expected calibration error"),
    ("accuracy_at_coverage", "accuracy on the most confident {coverage} %"),
    ("decided_share", "share decided"),
    ("decided_accuracy", "accuracy where decided"),
    ("speaker_accuracy_sd", "SD between speakers of a fold"),
)


def in_short(sources: Sources) -> str:
    """The headline."""
    rows = []
    for corpus in sources.corpora:
        found = sources.figure(corpus, "uar")
        crossed = found if found is not None and found.crossed else None
        seeds_sd = crossed.seeds_sd if crossed else None
        rows.append(
            (
                _named(sources, corpus),
                len(sources.shipped(corpus)["classes"]),
                f"**{with_spread(crossed)}**" if crossed else NOT_YET,
                number(seeds_sd, 3),
                number(sources.shipped(corpus)["uar"]),
                LISTENERS.get(corpus, ""),
            )
        )
    header = ["UAR, int8", "classes", "mean over folds ± SD between them", "SD between seeds"]
    header += [
        "all folds together; for corpora never trained on, the shipped file"
        if not sources.release["recipe"]["fold"]
        else "the shipped file, its own fold",
        "human listeners, audio only (accuracy)",
    ]
    return f"""\
## In short

{table(header, rows)}

All figures are for speakers not used in training: {sources.extent or "1 fold, 1 seed"}.
"""


def goals(sources: Sources) -> str:
    """What was to be reached."""
    words = """\
These goals were set before training: a minimum, and a better value to aim for. What was measured
are means over folds and seeds of the int8 network, ± the standard deviation between folds. What
cross-validation does not measure is given for the shipped file. UAR of CREMA-D and EMO-DB is over
their own classes, like the published figures next to them; see below for all classes. The rate of
false events allowed at `normal` was chosen so that half of CREMA-D's emotional clips are
recognised, so the minimum of that row is met by construction."""
    return f"""\
## Goals

{paragraph(words)}

{goals_table(sources)}
"""


def every_figure(sources: Sources) -> str:
    """All figures of all corpora, mean beside shipped."""
    coverage = round(100 * sources.release["recipe"]["coverage"])
    header = [
        "",
        *(f"{title(name)}{what}" for name in sources.corpora for what in _columns(sources, name)),
    ]
    rows = []
    for key, words in _FIGURES:
        row: list[object] = [words.format(coverage=coverage)]
        for corpus in sources.corpora:
            found = sources.figure(corpus, key)
            crossed = found if found is not None and found.crossed else None
            row += [
                with_spread(crossed) if crossed else "",
                number(sources.shipped(corpus).get(key)),
            ]
        if any(row[1:]):
            rows.append(row)
    sizes = "; ".join(
        f"{title(name)} {len(one['speakers'])} speakers, {_clips(sources, name)}"
        for name in sources.corpora
        if (one := sources.shipped(name))
    )
    words = f"""\
Tested on: {sizes}. {_once_per_seed(sources)} {_said(sources)} The four groups are neutral and
calm; happy and surprised; sad; angry, fearful and disgusted; their scores are added up. The signs
are those of the `valence` and `arousal` that the daemon publishes; neutral has none and is left
out, calm counts as pleasant and sleepy."""
    return f"""\
## Figures

{table(header, rows)}

{paragraph(words)}
"""


def _times_tested(sources: Sources, corpus: str) -> int:
    """How often each clip of a corpus is counted in the figures of all folds together."""
    if sources.release["recipe"]["fold"] or corpus not in sources.release["test"]:
        return 1
    return len((sources.folds or {}).get("seeds", ())) or 1


def _clips(sources: Sources, corpus: str) -> str:
    """The number of clips that a corpus was tested with, each counted once if that is exact."""
    counted, times = sources.shipped(corpus)["clips"], _times_tested(sources, corpus)
    if counted % times:
        return f"{counted} clips, those of all {times} seeds together"
    return f"{counted // times} clips"


def _once_per_seed(sources: Sources) -> str:
    """That clips count more than once; empty if they do not."""
    more = [title(one) for one in sources.corpora if _times_tested(sources, one) > 1]
    if not more:
        return ""
    return (
        f"Each clip of {listed(more)} is tested once per seed and counts as often where all folds "
        "are taken together."
    )


def _said(sources: Sources) -> str:
    """When the shipped file reports an emotion."""
    calibration = sources.release["calibration"]
    temperature, threshold = calibration["temperature"], calibration["abstain_threshold"]
    home = sources.release.get("home")
    if not home:
        return f"Temperature {temperature}. Below a confidence of {threshold} it says `uncertain`."
    together = home.get("threshold_on") == "all_emotions"
    reaches = (
        f"all emotions together reach a probability of {threshold} and it is likelier than neutral "
        "and calm"
        if together
        else f"it reaches a probability of {threshold}"
    )
    return (
        f"Temperature {temperature}. At sensitivity `normal` an emotion is reported if {reaches}; "
        "otherwise the answer is neutral or calm if these two together reach 0.5, and if not, "
        "`uncertain`."
    )


def spread_between(sources: Sources) -> str:
    """Folds, seeds and speakers."""
    if sources.folds is None:
        return missing("Folds, seeds and speakers", "serd-train folds")
    rows = []
    for corpus in sources.corpora:
        people = sources.crossed(corpus).get("speakers")
        if not people:
            continue
        uar = sources.crossed(corpus)["figures"]["uar"]
        rows.append(
            (
                _named(sources, corpus),
                " ".join(number(value, 3) for value in uar["folds"].values()),
                number(uar["folds_sd"], 3),
                " ".join(number(value, 3) for value in uar["seeds"].values()),
                number(uar["seeds_sd"], 3),
                people["count"],
                number(people["sd"], 3),
                f"{people['lowest']:.2f} to {people['highest']:.2f}",
            )
        )
    header = ["", "UAR of each fold", "SD", "UAR of each seed", "SD"]
    header += ["speakers", "SD of their accuracies", "from, to"]
    return f"""\
## Folds, seeds and speakers

{table(header, rows)}

A fold's figure is the mean of its seeds, a seed's the mean of its folds, a speaker's the mean of
the runs that were tested on him or her.

{picture(sources.name, "folds", "UAR of each fold and seed")}

{picture(sources.name, "speakers", "accuracy of each test speaker")}
"""


def quantised(sources: Sources) -> str:
    """int8 against float32."""
    rows = []
    pooled = not sources.release["recipe"]["fold"]
    for corpus in sources.release["test"]:
        alone = sources.release["float32"].get(corpus, {})
        crossed = sources.crossed(corpus)
        mean, loss = crossed.get("float32", {}), crossed.get("int8_less_float32", {})
        for key, words in (("uar", "UAR"), ("accuracy", "accuracy")):
            shipped = sources.shipped(corpus)
            lost = measured(loss.get(key))
            rows.append(
                (
                    title(corpus),
                    words,
                    with_spread(measured(mean.get(key))),
                    with_spread(measured(crossed.get("figures", {}).get(key))),
                    f"{100 * lost.value:+.2f}" if lost else "",
                    _ends(loss.get(key)),
                    # Nobody is held out from a file that is trained on everybody.
                    *([] if pooled else [number(alone.get(key))]),
                    number(shipped.get(key)),
                )
            )
    header = ["", "", "float32, mean", "int8, mean", "difference, points", "lowest, highest"]
    header += ["int8, all folds together"] if pooled else ["float32, shipped", "int8, shipped"]
    return f"""\
## int8 against float32

The table compares the same weights before and after quantisation, on the same test clips.

{table(header, rows)}
"""


def class_by_class(sources: Sources) -> str:
    """Recall of each class and what is taken for what."""
    parts = ["## Class by class\n"]
    labels = {label for corpus in sources.corpora for label in sources.shipped(corpus)["recall"]}
    header = [
        "recall",
        *(f"{title(name)}{what}" for name in sources.corpora for what in _columns(sources, name)),
    ]
    rows = []
    for label in sorted(labels):
        row: list[object] = [label]
        for corpus in sources.corpora:
            mean = measured(sources.crossed(corpus).get("recall", {}).get(label))
            row += [
                with_spread(mean) if mean else "",
                number(sources.shipped(corpus)["recall"].get(label)),
            ]
        rows.append(row)
    parts.append(table(header, rows) + "\n")
    parts.append(picture(sources.name, "confusion", "acted and predicted emotions") + "\n")
    for corpus in sources.corpora:
        one = sources.shipped(corpus)
        counts = [
            (f"**{label}**", *one["confusion"][place])
            for place, label in enumerate(one["labels"])
            if label in one["recall"]
        ]
        counted = ", each clip once per seed" if _times_tested(sources, corpus) > 1 else ""
        parts.append(
            f"{title(corpus)}: one row per acted emotion, one column per predicted "
            f"emotion{counted}.\n"
        )
        parts.append(table(("", *one["labels"]), counts) + "\n")
    return "\n".join(parts)


def confidence(sources: Sources) -> str:
    """Reliability and abstaining."""
    rows = []
    for corpus in sources.corpora:
        crossed = sources.crossed(corpus)
        risks = crossed.get("risk_coverage") or sources.shipped(corpus).get("risk_coverage")
        if risks:
            rows.append(
                (
                    _named(sources, corpus),
                    *(number(1.0 - risks[at], 3) for at in (49, 44, 39, 34, 24, 14)),
                    number(crossed.get("ece_pooled", {}).get("mean"), 3),
                    number(crossed.get("ece_pooled", {}).get("by_chance"), 3),
                )
            )
    if not rows:
        return missing("Confidence", "serd-train release")
    header = ["accuracy on the most confident", "100 %", "90 %", "80 %", "70 %", "50 %", "30 %"]
    header += ["calibration error, all folds together", "by chance"]
    return f"""\
## Confidence

{table(header, rows)}
{_by_chance(sources)}
{picture(sources.name, "reliability", "how often the model is right at each confidence")}

{picture(sources.name, "risk-coverage", "share of mistakes among the most confident answers")}
"""


def _by_chance(sources: Sources) -> str:
    """How much of a fold's calibration error is chance, in words; empty if nothing was crossed."""
    said = []
    for corpus in sources.corpora:
        alone, chance = sources.figure(corpus, "ece"), sources.crossed(corpus).get("ece_by_chance")
        if alone is not None and chance is not None:
            said.append(f"{alone.value:.3f} in {title(corpus)}, {chance:.3f} of it by chance")
    if not said:
        return ""
    text = (
        "With few clips, even a perfectly calibrated model shows an error: of a hundred"
        " clips that are"
        " right with a probability of one half, rarely exactly fifty are right. The error"
        " is therefore"
        " computed over all folds together, each clip once per seed, and the error that a perfectly"
        " calibrated model would show on as many clips is given with it. Computed fold by"
        " fold and then"
        f" averaged, it is {'; '.join(said)}."
    )
    return f"\n{paragraph(text)}\n"


def _columns(sources: Sources, corpus: str) -> tuple[str, str]:
    """What stands in the two columns of a corpus."""
    pooled = not sources.release["recipe"]["fold"] and corpus in sources.release["test"]
    return (", mean", ", all folds together" if pooled else ", the shipped file")


def _named(sources: Sources, corpus: str) -> str:
    return title(corpus) + ("" if corpus in sources.release["test"] else ", never trained on")


def _ends(spread: dict[str, Any] | None) -> str:
    if not spread:
        return ""
    return f"{100 * spread['lowest']:+.1f}, {100 * spread['highest']:+.1f}"


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
Test clips are put through what a living room may do to them. The everyday sounds are recordings of
ESC-10 that training never heard. {_whose(sources, "robustness")}"""
    return f"""\
## Noise, rooms, telephones

{paragraph(words)}

{table(header, rows)}

{picture(sources.name, "noise", "accuracy against the signal-to-noise ratio")}
"""


def habituation(sources: Sources) -> str:
    """Adaptation without labels."""
    heading = "Adapting to voices without corrections"
    methods = sources.probed("adaptation", "methods")
    if not methods:
        corpora = sources.release["recipe"]["corpora"].values()
        if any(corpus.get("validation_speakers") for corpus in corpora):
            return missing(heading, _COMMAND)
        why = "there are no validation speakers to choose the strength on"
        return f"## {heading}\n\nNot measured: {why}.\n"
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
            "Its strength was chosen on validation speakers that the last part of training"
            " had used;"
            " other speakers might have led to another choice."
        )
    words = f"""\
What a daemon could gain by adapting to the voices of its room without labels:
utterances of test speakers in random order, and the UAR after the given number of utterances.
These are simulations and are not part of any other figure here. {strangers}
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
        # The segmenter counts what silero did not confirm only where it was asked to.
        confirmed = engine != "silero" and found.get("segmenter", {}).get("unconfirmed")
        detector = f"{engine}, confirmed by silero" if confirmed else engine
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
            rows.append((words, detector, f"{seconds.value / 60:.0f}", with_spread(events, 1)))
    words = f"""\
This is what reaches the `emotion` topic although nobody speaks: sounds of ESC-10 and silence are
played through the whole daemon (floor, voice detector, segmenter, network, threshold). Every event
that is not `uncertain` is counted, `neutral` too. {_emotions_without_speech(engines)}
{_whose(sources, "environment")}"""
    return f"""\
## {heading}

{paragraph(words)}

{table(("", "voice detector", "minutes of it", "events an hour, `neutral` included"), rows)}
"""


def _emotions_without_speech(engines: dict[str, Any]) -> str:
    """Which emotions the counted events were; empty if the probes do not say, or there are none."""
    found = {
        emotion
        for engine in engines.values()
        for one in (
            *engine.get("all", {}).get("kinds", {}).values(),
            *engine.get("held_out", {}).get("kinds", {}).values(),
            *engine.get("silence", {}).values(),
        )
        for emotion in one.get("emotions", {})
    }
    if not found:
        return ""
    names = listed([f"`{name}`" for name in sorted(found)])
    if found.isdisjoint(ORDINARY):
        return f"These events were {names}."
    if found <= set(ORDINARY):
        return f"All of these events were {names}; no emotion was reported."
    return f"Among these events were {names}."


def baselines(sources: Sources) -> str:
    """Where the published systems stand."""
    if sources.baselines is None:
        return missing("Published systems", "serd-train baselines")
    return """\
## Published systems

[baselines.md](baselines.md) compares eleven published small systems, as their authors reported them
and as they came out here, on their own random splits and on held-out speakers. Beside them is an
earlier, shallower network of serd's, trained on RAVDESS alone without a teacher.
"""


def _whose(sources: Sources, part: str) -> str:
    folds = sources.folds or {}
    if part in (folds.get("probes") or {}):
        return (
            "The figures are means over folds and seeds, ± the SD between folds; runs: "
            f"{folds['probed']}."
        )
    if sources.release["recipe"]["fold"]:
        return "The figures are those of the shipped file, on its own fold."
    return (
        "The figures are those of the shipped file, with clips and sounds that it was not trained "
        "on."
    )

"""The model card: a page about a released model, made from its run's figures and nothing else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from serd.model.emotions import EMOTIONS
from serd.model.model_file import PACKAGED
from training.report import household, sections
from training.report.markdown import figures_folder, listed, number, paragraph, table, title

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from training.report.sources import Sources

_WORDS = {6: "six", 8: "eight"}

_IN_VIEW = {
    "default": (
        "the room",
        "the shares of old weights kept",
        "the rate allowed at `normal`",
        "the places",
        "the factor of the fitted temperature",
    ),
    "permissive": ("the shares of old weights kept", "the rate allowed at `normal`"),
}
"""What was chosen with the figures of the card in view (docs/experiments.md)."""

_WHOLE = {
    "crema_d": "91 speakers of CREMA-D",
    "nemo": "9 speakers of nEMO (at most 36 clips per speaker and emotion)",
}
"""Corpora of which only a part was used, as their authors publish them."""

_ETHICS = """\
## Ethics

Speech emotion recognition is easy to believe and often wrong. A label is a guess about a sound,
learned from how actors express emotions. It says nothing certain about a person, least of all about
someone whose language, age or manner of speaking differs from the actors'. It must not be used to
judge, rank, monitor or exclude people. Anyone who can be heard should know about it and be able to
switch it off. serd neither stores nor sends audio, but what it publishes is still about people, so
treat events and their history as personal data. Children, people who are ill and people under
stress sound different from the actors in these corpora; the figures on this page do not apply to
them.
"""


def write_card(sources: Sources, out: Path) -> Path:
    """Write the model card, and draw its figures beside it.

    Args:
        sources: Results of the model.
        out: The Markdown file to write.

    Returns:
        ``out``.
    """
    from training.report.plots import draw_all

    out.parent.mkdir(parents=True, exist_ok=True)
    draw_all(sources, out.parent / figures_folder(sources.name))
    out.write_text(card(sources), encoding="utf-8")
    return out


def card(sources: Sources) -> str:
    """The model card as Markdown.

    Args:
        sources: Results of the model.
    """
    figures = sources.release
    parts = [
        _head(figures),
        household.section(sources),
        sections.in_short(sources),
        # Set for the models that come with serd, and for no other.
        sections.goals(sources) if sources.name in PACKAGED else "",
        _use(figures),
        _data(sources),
        _teacher(figures),
        _protocol(sources),
        sections.every_figure(sources),
        sections.spread_between(sources),
        sections.quantised(sources),
        sections.class_by_class(sources),
        sections.confidence(sources),
        sections.hardship(sources),
        sections.habituation(sources),
        sections.no_speech(sources),
        sections.baselines(sources),
        _limits(figures),
        _ETHICS,
        _reproduction(sources),
    ]
    return "\n".join(part for part in parts if part)


def _revision(run: dict[str, Any]) -> str:
    """The revision that a run was trained from."""
    return f"`{run['git'][:12]}`" + ("" if run["git_clean"] else ", with changes")


def _head(figures: dict[str, Any]) -> str:
    model, run = figures["model"], figures["run"]
    first = (figures.get("pretraining") or {}).get("run", run)
    earlier = (
        "" if _revision(first) == _revision(run) else f" (the first stage: {_revision(first)})"
    )
    about = f"""\
{_about(figures["recipe"]["about"])}. It is a convolutional network on {_shape(figures)} MFCCs in
full-integer int8, {model["bytes"]} bytes with its metadata, trained on {run["date"]} with seed
{run["seed"]} from revision {_revision(run)}{earlier}."""
    # The licence is also in the model file, which is not written again for a turn of phrase.
    licence = figures["recipe"]["licence"].replace("sounds that are no speech", "non-speech sounds")
    return f"""\
# Model card: {model["name"]} {model["version"]}

Written by `serd-train report` from the figures of the run that made the model; do not edit.

{paragraph(about)}

**Licence: {licence}.**
"""


def _about(words: str) -> str:
    """A recipe's description as a sentence."""
    first, _, rest = words.partition(" ")
    return f"Recognises {first.lower()} {rest}" if first.lower() in _WORDS.values() else words


def _use(figures: dict[str, Any]) -> str:
    classes = len(figures["recipe"]["labels"] or EMOTIONS)
    return f"""\
## What it is for

Telling, on a small computer in a home, roughly in what tone somebody speaks: to dim a light, to
draw a room's mood over a day, to play with. It hears at most three seconds at a time and answers
with {_WORDS.get(classes, classes)} probabilities, or with `uncertain` where they say too little.

## What it is not for

- Decisions about people: hiring, schooling, policing, insurance, diagnosis, care. In the European
  Union, emotion recognition at work and in education is prohibited (Regulation 2024/1689, article
  5).
- Knowing what somebody feels. It learned how actors sound when they are asked to sound angry or
  sad. How people sound when they are is another matter, and differs between people and cultures.
- Listening to people who have not agreed to it.
- Languages and ways of speaking other than acted {_languages(figures["recipe"]["corpora"])},
  without measuring first: see the corpora that it never trained on, below.
"""


def _languages(corpora: Collection[str]) -> str:
    return "North American English" + (" and Polish" if "nemo" in corpora else "")


def _data(sources: Sources) -> str:
    figures = sources.release
    rows = [
        (entry["name"], entry["licence"], entry["speakers"], entry["clips"])
        for entry in figures["training"]
    ]
    left_out = "; ".join(
        f"{title(corpus)}: {count} {reason}"
        for corpus, reasons in figures["left_out"].items()
        for reason, count in reasons.items()
    )
    binding = ""
    if "ravdess" in figures["recipe"]["corpora"]:
        binding = (
            " RAVDESS may not be used commercially without a licence from its authors; whether that"
            " binds a network trained on it, nobody has decided, so treat the model as bound by it."
        )
    return f"""\
## Data

{table(("trained on", "licence", "speakers", "clips"), rows)}

{paragraph(f"Left out: {left_out or 'nothing'}. No speech travels with the model.{binding}")}
{_needed(sources)}"""


def _needed(sources: Sources) -> str:
    """Which data a second training needs; empty for models that do not come with serd."""
    ordinary = sources.release["recipe"]["corpora"].get("ordinary", {}).get("speakers")
    if sources.name not in PACKAGED or not ordinary:
        return ""
    parts = [
        f"{len(one['speakers'])} of the {whole}"
        for corpus, whole in _WHOLE.items()
        if (one := sources.shipped(corpus))
    ]
    used = f"The figures on this page were made with {listed(parts)}. " if parts else ""
    text = (
        f"{used}Training the model again needs the {len(ordinary)} sources of ordinary speech in "
        "the table, each in its own folder ([which and where](training.md#corpora)); without them, "
        "write your own recipe."
    )
    return f"\n{paragraph(text)}\n"


def _kept(start: dict[str, Any]) -> str:
    """The share of the weights before training in those after it, in words."""
    keep = start["keep"]
    if isinstance(keep, float):
        return f"The share of the first network's weights kept is {100 * keep:.0f} %."
    shares = ", ".join(f"{100 * one:.0f} %" for one in keep)
    return (
        f"The share of the first network's weights kept in each layer, first to last, is {shares}."
    )


def _stages(recipe: dict[str, Any]) -> str:
    """What training starts from, and what is kept of it; empty for random weights."""
    start = recipe.get("start")
    if not start:
        return ""
    if stage := start.get("pretraining"):
        *others, last = [title(name) for name in stage["shares"]]
        corpora = f"{', '.join(others)} and {last}" if others else last
        return (
            f"Training has two stages. In the first, {stage['steps']} steps from random weights,"
            f" the network learns from {corpora} alone. In the second,"
            f" {recipe['optimiser']['steps']} steps, it learns from all corpora, and beside the"
            f" labels from the first network's answers where they are right. {_kept(start)}"
        )
    return (
        f"Training begins with the network of {start['model']}. {_kept(start)} That network"
        " had a teacher, so what it remembers goes back to one; this training had none: it learned"
        " from labels alone, and from the answers of the network that it began with, where they"
        " are right."
    )


def _teacher(figures: dict[str, Any]) -> str:
    recipe = figures["recipe"]
    settings, taught = recipe.get("teaching"), figures.get("teaching")
    stages = _stages(recipe)
    if taught is None and (before := figures.get("pretraining")):
        settings, taught = recipe["start"]["pretraining"]["teaching"], before["teaching"]
    if taught is None:
        # A packed model that training starts from may have had one.
        inherited = stages and recipe["start"]["model"]
        text = stages if inherited else f"None: it learned from labels alone. {stages}"
        return f"## Teacher\n\n{paragraph(text)}\n"
    rows = [
        (
            title(corpus),
            what,
            one["clips"],
            number(one["accuracy"]),
            number(one["uar"]),
            number(one["confidence"]),
        )
        for side, what in (("training", "taught"), ("validation", "only measured"))
        for corpus, one in taught.get(side, {}).items()
    ]
    header = ("corpus", "role in training", "clips", "accuracy", "UAR", "mean confidence")
    share, groups = settings["share"], settings["groups"]
    weights = f"weights {1 - share:.1f} and {share:.1f} x {settings['gain']:g}"
    layers = ", ".join(str(layer) for layer in settings["layers"])
    where = "In the first stage it" if figures.get("pretraining") else "It"
    words = f"""\
{where} learned, besides the labels, from the answers of a larger network ({weights}, temperature
{settings["temperature"]:g}): small heads on the hidden layers {layers} of the frozen encoder
`{taught["teacher"]}`, which is published under this licence: {taught["licence"]}. Each training
speaker's targets come from a head that was trained only on the {groups - 1} other groups of
{groups}.
Neither teacher nor heads were trained on test speakers. Nothing of the teacher is in the model
file."""
    hints = ""
    if settings.get("hints"):
        hints = f"""\
It also learned to predict {settings["hints"]["components"]} principal components of the encoder's
hidden features, with a layer that was discarded afterwards."""
    return "\n\n".join(
        filter(
            None,
            (
                "## Teacher",
                stages and paragraph(stages),
                paragraph(f"{words}\n{hints}"),
                f"{table(header, rows)}\n",
            ),
        )
    )


def _protocol(sources: Sources) -> str:
    figures = sources.release
    split, recipe = figures["run"]["split"], figures["recipe"]
    sides = [
        f"- **{what}**: " + "; ".join(_speakers(split[side]))
        for side, what in (("test", "Test"), ("validation", "Validation"))
    ]
    classes = len(recipe["labels"] or EMOTIONS)
    if not recipe["fold"]:
        return _protocol_of_everybody(sources, _WORDS.get(classes, str(classes)))
    how = f"""\
A clip is processed as the daemon does (`serd classify --whole`): trimmed to its speech, first 3
s.{_room(recipe)}{_placements(recipe)} The answer
is the class with the highest of all {_WORDS.get(classes, classes)} scores; where a corpus has no
calm, calm counts as neutral. Where a line says *own classes*, the highest of those that the corpus
has is taken instead, as papers that train on one corpus do. `uncertain` plays no part in accuracy
and UAR (the mean of the classes' recalls)."""
    return f"""\
## Protocol

No speaker is on more than one side. Each corpus is split into five folds by speaker: one fold's
speakers are the test set, some of the others the validation set, the rest are trained on.
Temperature
and threshold come from validation speakers, the quantiser's ranges from training speakers.
{_last_stretch(recipe)}
{paragraph(_crossing(sources))}

The shipped file comes from fold {recipe["fold"]} and seed {recipe["seed"]}. Its speakers:

{chr(10).join(sides)}

{paragraph(how)}
"""


def _protocol_of_everybody(sources: Sources, classes: str) -> str:
    """Where nobody is held out from the shipped file: how the recipe was judged."""
    recipe = sources.release["recipe"]
    how = f"""\
A clip is processed as the daemon does (`serd classify --whole`): trimmed to its speech, first 3
s.{_room(recipe)}{_placements(recipe)} The answer
is the class with the highest of all {classes} scores, which assume that all classes are equally
frequent; where a corpus has no calm, calm counts as neutral. Where a line says *own classes*, the
highest of those that the corpus has is taken instead. `uncertain` is not used for accuracy and UAR
(the mean of the classes' recalls). Only *decided* refers to the answers that serd gives at home
(sensitivity `normal`): decided is what is not `uncertain`. Weakly acted emotions are then mostly
reported as `neutral`, which counts as wrong."""
    everybody = f"""\
The shipped file is trained on all speakers. Except for size, time and what is marked as of the
shipped file, the figures on this page come from a cross-validation of the same recipe
({sources.extent}), in which no speaker is on more than one side.
Temperature, bias and thresholds of a fold were chosen on the test speakers and sources of
the other folds, those of the file on all of them; the prior is the
recipe's.{_in_view(sources)}{_unfinished(sources)}"""
    return f"## Protocol\n\n{paragraph(everybody)}\n\n{paragraph(how)}\n"


def _room(recipe: dict[str, Any]) -> str:
    """The room of the front end; empty if it has none."""
    reverb = recipe["features"].get("reverb")
    if reverb is None:
        return ""
    heard = recipe.get("training_reverb", "same")
    where = {
        "same": "in training, in these tests and at home,",
        "none": "in these tests and at home, but not in training,",
    }.get(heard if isinstance(heard, str) else "", "in these tests and at home,")
    text = (
        f" To every utterance, {where} the front end adds the same "
        f"artificial room (tail of {reverb['rt60_s']:g} s, {reverb['tail_db']:g} dB"
    )
    if not isinstance(heard, str):
        text += f"; in training {heard['rt60_s']:g} s, {heard['tail_db']:g} dB"
    return f"{text})."


def _placements(recipe: dict[str, Any]) -> str:
    """How often the network is asked; empty if once."""
    count = len(recipe.get("placements", (0,)))
    if count == 1:
        return ""
    text = (
        f" The network is run at {count} places of the utterance, a few frames apart, and the mean "
        "of its outputs counts ([experiments.md](experiments.md#several-places))."
    )
    factor = (recipe.get("home") or {}).get("caution", 1.0)
    if factor != 1.0:
        text += f" The fitted temperature is multiplied by {factor:g}."
    return text


def _in_view(sources: Sources) -> str:
    """What was chosen with the figures in view; empty for models that do not come with serd."""
    chosen = _IN_VIEW.get(sources.name)
    if chosen is None:
        return ""
    things = listed(chosen)
    return (
        f" {things[0].upper()}{things[1:]} were chosen with these figures in view, EMO-DB's "
        "included; expect slightly worse results elsewhere ([experiments.md](experiments.md))."
    )


def _last_stretch(recipe: dict[str, Any]) -> str:
    """Who is heard once nothing is left to choose; empty if that is nobody more."""
    if recipe.get("refit") is None:
        return ""
    text = f"""\
After that nothing is left to choose, and training goes on for {recipe["refit"]["steps"]} of its
{recipe["optimiser"]["steps"] + recipe["refit"]["steps"]} steps with the validation speakers among
those trained on; temperature and threshold are kept. Test speakers are not
used then either."""
    if (recipe["refit"].get("teaching") or {}).get("hints"):
        text += """
In these steps it also learns to predict the teacher's hidden features of a clip, besides the
teacher's
answer."""
    return f"\n{paragraph(text)}\n"


def _unfinished(sources: Sources) -> str:
    missing = sources.folds["planned"] - sources.folds["done"] if sources.folds else 0
    if missing <= 0:
        return ""
    return f" {missing} of the planned runs {'is' if missing == 1 else 'are'} not finished yet."


def _crossing(sources: Sources) -> str:
    folds = sources.folds
    if not folds or not sources.extent:
        return "No cross-validation yet: every figure below is of one fold and one seed."
    text = (
        "What stands as a mean below is one over folds, each of them the mean of its seeds "
        f"({sources.extent}); the runs share nothing but the recipe."
    )
    text += _unfinished(sources)
    ours = {k: v for k, v in sources.release["recipe"].items() if k not in {"fold", "seed"}}
    if ours != folds["recipe"]:
        text += (
            " The shipped file was made by a recipe that differs from theirs: "
            + ", ".join(sorted(_differences(ours, folds["recipe"])))
            + "."
        )
    return text


def _differences(ours: dict[str, Any], theirs: dict[str, Any]) -> set[str]:
    return {f"`{key}`" for key in {*ours, *theirs} if ours.get(key) != theirs.get(key)}


def _limits(figures: dict[str, Any]) -> str:
    corpora = figures["recipe"]["corpora"]
    sentences = " (RAVDESS has two sentences only)" if "ravdess" in corpora else ""
    lines = [
        f"""All emotional training speech is acted, in quiet rooms, by adults, in
        {_languages(corpora)}{sentences}. Expect less in a living room than in the tables.""",
        "Speakers differ more than models do: see the spread between speakers.",
        """Confidence is calibrated on speakers of the training corpora. On other speech it is too
        high.""",
        "A figure of one fold with a few test speakers is uncertain by several points.",
    ]
    if set(corpora) == {"ravdess", "crema_d"}:
        lines.insert(1, "Calm speech exists in RAVDESS alone, and so does surprise.")
    items = (paragraph(f"- {line}").replace("\n", "\n  ") for line in lines)
    return "## Limits\n\n" + "\n".join(items) + "\n"


def _reproduction(sources: Sources) -> str:
    name = sources.name
    seeds = ",".join(str(seed) for seed in (sources.folds or {}).get("seeds", (1,)))
    results = f"`training/results/{name}.json` and `{name}-folds.json`"
    words = f"""\
`serd-train folds --recipe {name} --seeds {seeds}` makes the runs behind the means, `serd-train
release --recipe {name}` then the model, its figures and this page. `serd-train evaluate --model
{name}` measures the shipped file on corpora that it was not trained on, `serd-train ordinary
FOLDER` does so on your own recordings; `serd-train report` writes this page and draws its
figures. Every figure is, with more digits, in {results}."""
    return f"## Doing it again\n\n{paragraph(words)}\n"


def _speakers(voices: Sequence[str]) -> list[str]:
    corpora: dict[str, list[str]] = {}
    for voice in voices:
        corpus, speaker = voice.split("/")
        corpora.setdefault(corpus, []).append(speaker)
    return [f"{title(corpus)} {', '.join(names)}" for corpus, names in corpora.items()]


def _shape(figures: dict[str, Any]) -> str:
    features = figures["recipe"]["features"]
    return f"{features['frames']} x {features['coefficients']}"

"""The user's own recordings: what they are good for, and the recipe and folds for them.

A folder that ``serd-train new`` writes, and that ``serd-train tune`` fills::

    mine/
        recipe.yaml       starts from a packed model and continues with the recordings
        folds.json        the speakers, or clips, that are held out in turn
        mine.tflite       the model
        report.md         its figures, beside those of the model that it started from
        figures.json      the same for programs
        work/             prepared clips and runs; may be removed

With two or more known speakers, speakers are held out in turn, so that the figures apply to
strangers. Otherwise clips are held out, and the report says that its figures are for voices that
the model knows.
"""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from pathlib import Path  # noqa: TC003 - msgspec reads the annotation
from typing import TYPE_CHECKING

import msgspec

from serd.errors import InputError, UsageError, shown
from serd.model.metadata import ORDINARY, FeatureParameters
from serd.model.model_file import PACKAGED, ModelFile
from training.corpora import Corpus  # noqa: TC001 - msgspec reads the annotation
from training.corpora.clip import UNKNOWN_SPEAKER
from training.corpora.folders import recordings
from training.dataset import no_progress, read_recordings_folder
from training.network import load_start_model, sizes_of
from training.prepare import prepare, usable
from training.recipe import OWN, load_recipe

if TYPE_CHECKING:
    from collections.abc import Sequence

    from training.corpora import Clip
    from training.dataset import Progress
    from training.prepare import Prepared
    from training.recipe.corpora import Preparation

CORPUS = "recordings"
"""Name of the user's recordings in the recipe."""
FOLDS = "folds.json"
WORK = "work"

SPEEDS = (1.0, 0.94, 1.06)
"""Speeds of the copies of each utterance."""

_MOST_FOLDS = 4
_FEW = 10
"""Classes with fewer recordings cause a warning."""
_STEPS = (200, 500)
"""Fewest and most training steps; in between they depend on the number of utterances."""
_STEP_S = 0.35
"""Seconds of one step on one core of a small computer, for the estimate of the time."""


class Survey(msgspec.Struct, frozen=True, kw_only=True):
    """The contents of a folder of recordings."""

    folder: Path
    corpus: Corpus
    """Its usable clips."""
    prepared: list[Prepared]
    """The utterances; a long recording contains several."""
    lost_speakers: tuple[str, ...]
    """Speakers without a usable clip."""
    unreadable: dict[str, str]
    """Reasons, by the clip's name."""

    @property
    def counts(self) -> Counter[str]:
        """Utterances of each class."""
        return Counter(one.clip.emotion for one in self.prepared)

    @property
    def seconds(self) -> float:
        """Of speech."""
        return sum(one.duration_s for one in self.prepared)


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How recordings are used, and what can and cannot be expected of them."""

    base: str
    """The model that training starts from, by its name in the recipe."""
    labels: tuple[str, ...]
    speakers: tuple[tuple[str, ...], ...]
    """Those that each fold holds out; empty: clips are held out."""
    clips: tuple[tuple[str, ...], ...]
    steps: int
    can: tuple[str, ...]
    cannot: tuple[str, ...]

    @property
    def folds(self) -> int:
        """Number of folds."""
        return len(self.speakers or self.clips)

    @property
    def minutes(self) -> int:
        """Rough duration of the training."""
        return max(1, round((self.folds + 1) * (self.steps * _STEP_S + 15) / 60))


def survey(
    folder: Path,
    labels: Sequence[str],
    settings: Preparation,
    *,
    cache: Path,
    jobs: int = 2,
    progress: Progress = no_progress,
) -> Survey:
    """Read, decode and cut all recordings of a folder.

    Args:
        folder: A folder for each emotion in it.
        labels: Classes of the model; clips of others are left out.
        settings: Of the preparation.
        cache: Folder of prepared clips.
        jobs: Processes.
        progress: Called with the stage, the amount done, and the total.

    Raises:
        InputError: There is no usable recording.
    """
    found = read_recordings_folder(CORPUS, folder)
    corpus = found.of_classes(labels)
    unreadable: dict[str, str] = {}
    done = 0

    def step(count: int) -> None:
        nonlocal done
        done += count
        progress("listen to the recordings", done, len(corpus.clips))

    ready = prepare(
        corpus.clips,
        settings,
        FeatureParameters(),
        cache=cache,
        jobs=jobs,
        progress=step,
        unreadable=unreadable,
    )
    corpus = corpus.without(dict.fromkeys(unreadable, "cannot be read"))
    heard = {one.clip.name.partition("#")[0] for one in ready}
    corpus = corpus.without(
        {clip.name: "no speech found" for clip in corpus.clips if clip.name not in heard}
    )
    whole, kept = usable(corpus, ready)
    left = {one.clip.name.partition("#")[0] for one in kept}
    whole = whole.without(
        {clip.name: "same audio as another clip" for clip in whole.clips if clip.name not in left}
    )
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in whole.left_out.items())
        raise InputError(
            f"None of the recordings in {shown(folder)} can be used ({why})",
            remedy=next(iter(unreadable.values()), None),
        )
    return Survey(
        folder=folder,
        corpus=whole,
        prepared=kept,
        lost_speakers=tuple(sorted({*found.speakers} - {*whole.speakers})),
        unreadable=unreadable,
    )


def plan(found: Survey, base: str) -> Plan:
    """Decide how recordings are used, and what can and cannot be expected of them.

    Args:
        found: The recordings.
        base: The model to start from.

    Raises:
        UsageError: They are not enough to train on.
    """
    model = load_start_model(base)
    labels, info = model.labels, model.info
    counts = found.counts
    per_class = Counter(clip.emotion for clip in found.corpus.clips)
    here = [label for label in labels if counts[label]]
    absent = [label for label in labels if not counts[label]]
    if len(here) < 2:
        raise UsageError(
            f"All recordings in {shown(found.folder)} are {here[0]}: with one emotion there is "
            "nothing to tell apart",
            remedy="add recordings of at least one more, best of neutral speech",
        )
    if sum(per_class[label] > 1 for label in here) < 2:
        raise UsageError(
            f"{shown(found.folder)} has one recording of each emotion or so: none can be held out",
            remedy="add recordings until at least two emotions have two, better ten or more",
        )
    by_speaker: dict[str, Counter[str]] = defaultdict(Counter)
    for clip in found.corpus.clips:
        by_speaker[clip.speaker][clip.emotion] += 1
    people = _deal_speakers(by_speaker) if found.corpus.knows_speakers else ()
    if any(len(_classes(by_speaker, without=fold)) < 2 for fold in people):
        people = ()
    clips = () if people else _deal_clips(found.corpus.clips)
    can = [f"A model that begins with {info.name} {info.version} and learns these voices."]
    cannot = []
    if people:
        can.append(
            f"Figures for people it was not trained on: the {len(by_speaker)} speakers are held "
            f"out in {len(people)} groups, one after the other."
        )
    else:
        can.append(
            f"Figures for recordings it was not trained on, of voices that it was: the recordings "
            f"are held out in {len(clips)} parts, one after the other."
        )
        cannot.append(f"Figures for other voices: {_why_no_people(by_speaker)}.")
    if absent:
        cannot.append(
            f"Anything new about {_listed(absent)}: there are no recordings. The model recognises "
            f"{'it' if len(absent) == 1 else 'them'} as the {info.name} model does."
        )
    if not set(here) & set(ORDINARY):
        cannot.append(
            "Whether it mistakes everyday speech for an emotion: there are no neutral or calm "
            "recordings. Without them this may happen more often."
        )
    few = [f"{label} ({counts[label]})" for label in here if counts[label] < _FEW]
    if few:
        cannot.append(f"Reliable figures for {_listed(few)}: there are too few recordings.")
    if info.home is None:
        cannot.append(
            f"Sensitivities for a home: the {info.name} model has none, so there is one threshold."
        )
    utterances = len(found.prepared)
    return Plan(
        base=base,
        labels=labels,
        speakers=people,
        clips=clips,
        steps=min(max(3 * utterances, _STEPS[0]), _STEPS[1]),
        can=tuple(can),
        cannot=tuple(cannot),
    )


def _classes(by_speaker: dict[str, Counter[str]], *, without: Sequence[str]) -> set[str]:
    return {
        emotion
        for speaker, counts in by_speaker.items()
        if speaker not in without
        for emotion in counts
    }


def _deal_speakers(by_speaker: dict[str, Counter[str]]) -> tuple[tuple[str, ...], ...]:
    """Speakers in groups of about as many clips; none if there is only one."""
    if len(by_speaker) < 2:
        return ()
    folds: list[list[str]] = [[] for _ in range(min(len(by_speaker), _MOST_FOLDS))]
    sizes = [0] * len(folds)
    order = sorted(by_speaker, key=lambda name: (-by_speaker[name].total(), name))
    for speaker in order:
        least = min(range(len(folds)), key=lambda place: (sizes[place], len(folds[place])))
        folds[least].append(speaker)
        sizes[least] += by_speaker[speaker].total()
    return tuple(tuple(sorted(fold)) for fold in folds)


def _deal_clips(clips: Sequence[Clip]) -> tuple[tuple[str, ...], ...]:
    """Clips in groups with as many of each class and speaker; a class's only clip in none."""
    of_class: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        of_class[clip.emotion].append(clip)
    count = min(_MOST_FOLDS, max(len(some) for some in of_class.values()))
    folds: list[list[str]] = [[] for _ in range(count)]
    place = 0
    for _, some in sorted(of_class.items()):
        if len(some) < 2:
            continue
        for clip in sorted(some, key=lambda one: (one.speaker, one.name)):
            folds[place % count].append(clip.name)
            place += 1
    return tuple(tuple(sorted(fold)) for fold in folds if fold)


def _why_no_people(by_speaker: dict[str, Counter[str]]) -> str:
    known = [speaker for speaker in by_speaker if speaker != UNKNOWN_SPEAKER]
    if not known:
        return "it is not known who speaks (folders of speakers would say it)"
    if UNKNOWN_SPEAKER in by_speaker:
        return f"of {by_speaker[UNKNOWN_SPEAKER].total()} recordings it is not known who speaks"
    if len(known) == 1:
        return f"all recordings are of one speaker ({shown(known[0])})"
    return "without one of the speakers only one emotion is left"


def write(found: Survey, wanted: Plan, name: str, into: Path) -> None:
    """Write recipe and folds.

    Args:
        found: The recordings.
        wanted: How they are used.
        name: Of the model.
        into: Folder, created if necessary.

    Raises:
        UsageError: The name is taken or invalid.
    """
    check_name(name)
    model = load_start_model(wanted.base)
    sizes = sizes_of(model)
    absent = [label for label in wanted.labels if not found.counts[label]]
    here = [label for label in wanted.labels if found.counts[label]]
    masked = dict.fromkeys(here, absent) if absent else {}
    if found.corpus.licence == "not stated":
        licence = model.info.licence or "not stated"
    else:
        licence = f"{model.info.licence or 'not stated'}; recordings: {found.corpus.licence}"
    text = _RECIPE.format(
        name=name,
        about=json.dumps(f"Trained on from {model.info.name} with {found.corpus.title}"),
        licence=json.dumps(licence),
        folder=json.dumps(str(found.folder.resolve()), ensure_ascii=False),
        masked=json.dumps(masked),
        labels=json.dumps(list(wanted.labels)),
        placements=json.dumps(list(model.info.placements)),
        base=json.dumps(wanted.base),
        stem=sizes.stem,
        widths=list(sizes.widths),
        depth=sizes.depth,
        steps=wanted.steps,
        speeds=list(SPEEDS),
        corpus=CORPUS,
        folds=FOLDS,
    )
    into.mkdir(parents=True, exist_ok=True)
    who = "speakers" if wanted.speakers else "clips"
    held_out = {
        "about": f"The {who} that are held out in turn; written by serd-train new",
        f"test_{who}": wanted.speakers or wanted.clips,
    }
    (into / FOLDS).write_text(
        json.dumps(held_out, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    (into / OWN).write_text(text, encoding="utf-8")
    load_recipe(into / OWN)


def check_name(name: str) -> None:
    """Check the name of a model.

    Raises:
        UsageError: It is taken or invalid.
    """
    if name in PACKAGED:
        raise UsageError(f"A model called {name} comes with serd", remedy="choose another name")
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,40}", name):
        raise UsageError(
            f"{name!r} cannot be a model's name",
            remedy="use small letters, digits and hyphens: kitchen, our-voices",
        )


def not_recordings(folder: Path) -> int:
    """Number of files below a folder that are neither recordings nor its description."""
    taken = set(recordings(folder))
    return sum(
        path.is_file() and path not in taken and path.name != "corpus.yaml"
        for path in folder.rglob("*")
        if not path.name.startswith(".")
    )


def base_model(name: str) -> ModelFile:
    """The model to start from.

    Raises:
        ModelError: There is no such model.
        UsageError: Its network or features are of another kind.
    """
    model = load_start_model(name)
    sizes_of(model)
    if model.info.features.bare != FeatureParameters():
        raise UsageError(
            f"{model.source} has other features than serd's models",
            remedy="begin with default, permissive, or a model that serd-train made",
        )
    return model


def _listed(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


_RECIPE = """\
# Written by `serd-train new`; `serd-train tune` follows it. docs/recipe.md explains every key.
name: {name}
version: "1"
about: {about}
licence: {licence}
seed: 1
fold: 0

corpora:
  {corpus}:
    share: 1.0
    folder: {folder}
    folds: {folds}
    # Classes without recordings are left as the first model knew them.
    masked: {masked}
labels: {labels}

# Training begins with this model; `keep` is the share of its weights in the result. With less of
# them, emotions are recognised better in these voices, and far more of other speech is mistaken for
# emotions (docs/training.md).
start: {{ model: {base}, keep: 0.6 }}
network: {{ stem: {stem}, widths: {widths}, depth: {depth}, dropout: 0.3 }}
placements: {placements}

preparation:
  speeds: {speeds}
  longest_s: 4.0

optimiser:
  steps: {steps}
  method: muon
  batch: 32
  peak_rate: 1.5e-3
  warm_up: 0.15
  transform_rate: 0.1
  weight_decay: 0.05
  clip_norm: 2.0
  label_smoothing: 0.05
  averaging: 0.98

augmentation:
  warp: {{ probability: 0.3, stretch: 0.15, shift: 0.08 }}
  exchange: {{ probability: 0.2 }}
  reverb: {{ probability: 0.4, rt60_s: [0.22, 1.1], tail_db: [-15.0, 0.0] }}
  noise: {{ probability: 0.6, snr_db: [5.0, 40.0], tilt_db: [-25.0, 5.0] }}
  equaliser: {{ probability: 0.7, tilt_db: [-8.0, 8.0], ripple_db: 4.0 }}
  band_limit: {{ probability: 0.2, low_hz: [80, 400], high_hz: [3000, 7000], slope_db: [18, 120] }}
  margin_frames: 20
  gain_db: [-20.0, 6.0]
"""

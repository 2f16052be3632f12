"""A recipe: everything that decides what a training run does, in one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta, Struct

from serd.config import Sensitivity  # noqa: TC001 - msgspec looks types up
from serd.errors import InputError, shown
from serd.model.metadata import FeatureParameters, Gathering
from training.document import read_document

if TYPE_CHECKING:
    from training.dataset import Split

OWN = "recipe.yaml"
"""The recipe's name in a folder that ``serd-train new`` wrote."""

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
Count = Annotated[int, Meta(ge=1)]
Span = tuple[float, float]

_RECIPES = Path(__file__).parent / "recipes"


class CorpusUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much a corpus is heard in training."""

    share: Share
    """Of the clips drawn, how many come from it (relative to the other corpora's shares)."""
    validation_speakers: Annotated[int, Meta(ge=0)] = 0
    """Training speakers set aside to choose temperature and threshold with."""
    votes_weight: Share = 0.0
    """Weight of the listeners' votes beside the actor's intention in the target."""
    target: dict[str, Share] = {}
    """What a network should say of every clip instead of the clip's own label; what is missing to
    1 is spread over the other classes. For speech of which nobody has said what is felt; such clips
    are not taught by a teacher either."""
    within: Count | None = None
    """Only the test speakers of this fold are ever held out: they are dealt into as many shares as
    there are folds, and each fold holds out one. For a network that goes on from one which has
    heard everybody else (``start``)."""
    balance: Share = 0.5
    """How far the classes are evened out: 0 draws all clips alike, 1 all classes alike."""
    speakers: dict[str, Positive] = {}
    """Only these speakers are heard, each with this share relative to the others; empty: all, each
    by the number of their clips."""
    masked: dict[str, list[str]] = {}
    """For clips of a class (key), classes left out of the loss: those that the corpus's own label
    cannot tell from it."""
    folder: str | None = None
    """Folder of the recordings, a folder for each emotion in it, seen from the recipe's folder;
    otherwise the corpus is one of those below ``--corpora``."""
    folds: str | None = None
    """JSON file of the speakers or clips that each fold holds out, seen from the recipe's folder;
    otherwise that of the corpus's name in ``training/folds``."""


class Preparation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is computed once for each clip and cached."""

    speeds: tuple[Positive, ...] = (1.0,)
    """Copies played faster or slower (voice and pace together); the first must be 1."""
    longest_s: Positive = 4.0
    """Seconds of speech kept, so that a window can be cropped anywhere from it."""


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the convolutional network (:mod:`training.network`)."""

    stem: Count = 24
    """Channels of the first convolution, 5 x 5 with stride 2."""
    widths: tuple[Count, ...] = (56, 112, 192)
    """Channels of the 3 x 3 convolutions, each behind a 2 x 2 max-pool."""
    dropout: Share = 0.3
    """Before the last layer."""


class Head(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The small network that learns emotions from what a teacher hears."""

    width: Count = 256
    """Of its one hidden layer."""
    dropout: tuple[Share, Share] = (0.3, 0.5)
    """Before the hidden layer and behind it."""
    epochs: Count = 12
    """Passes over the clips."""
    batch: Count = 64
    """Clips in a batch."""
    rate: Positive = 1e-3
    """Highest learning rate of one cycle."""
    weight_decay: Annotated[float, Meta(ge=0.0)] = 0.1
    """Of AdamW."""
    repeats: dict[str, Count] = {}
    """How often an epoch hears a corpus's clips; once unless said otherwise."""
    votes_weight: dict[str, Share] = {}
    """Weight of the listeners' votes beside the actor's intention, by corpus."""
    heads: Count = 2
    """Heads of different seeds whose answers are averaged."""


class Hints(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the teacher hears itself, for the pupil to tell as well (:mod:`training.teach`)."""

    components: Count = 64
    """Principal components of what it hears."""
    weight: Positive = 1.0
    """Of their mean squared error, in standard deviations, beside the rest of the loss."""


class Teaching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Distillation from a larger network (:mod:`training.teach`)."""

    teacher: str
    """A speech encoder of Whisper's family, by its name on the model hub."""
    licence: str
    """Under which the teacher is published."""
    layers: tuple[Annotated[int, Meta(ge=0)], ...] = (2, 3, 4, 5, 6)
    """Hidden layers that are listened to."""
    groups: Annotated[int, Meta(ge=2)] = 4
    """Groups of training speakers, each taught by a head that heard only the other groups."""
    share: Share = 0.7
    """Weight of the teacher's answers in the loss; the rest is the labels'."""
    temperature: Positive = 2.0
    """By which the logits of teacher and pupil are divided in the teacher's part of the loss."""
    gain: Positive = 2.0
    """Of the teacher's part: softened answers have weaker gradients."""
    head: Head = Head()
    """The small network between what the teacher hears and the emotions."""
    hints: Hints | None = None
    """None: the pupil gets the teacher's answers alone."""


class Optimiser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AdamW under a one-cycle learning rate."""

    steps: Count
    """Batches."""
    batch: Count = 32
    """Clips in a batch."""
    peak_rate: Positive = 3e-3
    """Highest learning rate."""
    warm_up: Share = 0.15
    """Share of the steps in which it rises, from a twentieth of the peak."""
    transform_rate: Share = 0.1
    """Learning rate of the first, linear layer relative to the others': it begins as the inverse
    cosine transform, whose small weights a full rate would soon scatter."""
    weight_decay: Annotated[float, Meta(ge=0.0)] = 0.05
    """On kernels only, and not on the first layer."""
    clip_norm: Positive = 2.0
    """Longest gradient, over all weights together."""
    label_smoothing: Share = 0.1
    """Share of the target that is spread over all classes."""
    method: Annotated[str, Meta(pattern="^(adamw|muon)$")] = "adamw"
    """For the convolutions' kernels (:mod:`training.train`); all else is trained by AdamW."""
    averaging: Share = 0.998
    """Decay of the running mean of all weights, which is what is shipped."""
    precision: Annotated[str, Meta(pattern="^(float32|mixed_bfloat16)$")] = "float32"
    """Of the arithmetic; weights are kept in float32 either way."""


class Noise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Steady coloured noise."""

    probability: Share = 0.0
    """Share of the clips that it happens to."""
    snr_db: Span = (3.0, 40.0)
    """Mean power of the utterance over that of the noise."""
    tilt_db: Span = (-25.0, 5.0)
    """From the lowest to the highest band."""


class Reverb(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A room: an exponential tail behind every frame."""

    probability: Share = 0.0
    """Share of the clips that it happens to."""
    rt60_s: Span = (0.2, 1.1)
    """Seconds in which the tail falls by 60 dB at low frequencies (half of it at the highest)."""
    tail_db: Span = (-15.0, -3.0)
    """Energy of the tail relative to the direct sound."""


class Equaliser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Microphones and distances: a slope and a ripple over frequency."""

    probability: Share = 0.0
    """Share of the clips that it happens to."""
    tilt_db: Span = (-6.0, 6.0)
    """From the lowest to the highest band."""
    ripple_db: Annotated[float, Meta(ge=0.0)] = 3.0
    """Standard deviation of what each part of the spectrum is raised or lowered by."""


class BandLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Telephones, headsets and small microphones: nothing below one corner and above another."""

    probability: Share = 0.0
    """Share of the clips that it happens to."""
    low_hz: Span = (80.0, 400.0)
    """The lower corner."""
    high_hz: Span = (3000.0, 7000.0)
    """The upper corner."""
    slope_db: Span = (18.0, 120.0)
    """Per octave beyond the corner."""


class Warp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other paces and other throats."""

    probability: Share = 0.0
    """Share of the clips that it happens to."""
    stretch: Share = 0.15
    """Largest change of length."""
    shift: Share = 0.08
    """Largest change of the bands' place, as a share of it."""


class Exchange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long-term spectrum of another clip of the batch, so that none tells of its corpus."""

    probability: Share = 0.0
    """Share of the clips that it happens to."""
    most_db: Positive = 20.0
    """Largest change of a band."""


class Augmentation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a clip goes through on its way into a batch, in this order."""

    warp: Warp = Warp()
    """Other paces and voices."""
    exchange: Exchange = Exchange()
    """Spectra exchanged between clips."""
    reverb: Reverb = Reverb()
    """Rooms."""
    noise: Noise = Noise()
    """Noise."""
    equaliser: Equaliser = Equaliser()
    """Microphones and distances."""
    band_limit: BandLimit = BandLimit()
    """Telephones and small microphones."""
    margin_frames: Annotated[int, Meta(ge=0)] = 20
    """Up to so many frames of tail and noise are heard before and after an utterance."""
    gain_db: Span = (0.0, 0.0)
    """Change of level; only the floor under very quiet sound notices."""


class Sounds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Recordings of no speech, from ESC-10's training folds (:mod:`training.augment`)."""

    share: Share
    """Of the clips in a batch: heard alone, all classes equally right."""
    as_noise: Share
    """Of the clips that get noise: their noise is a recording."""
    frames: tuple[Count, Count] = (40, 188)
    """Shortest and longest excerpt that is heard alone."""


class Refit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A last stage of training that includes the validation speakers (:func:`refit_recipe`)."""

    steps: Count
    """Batches."""
    peak_rate: Positive
    """Highest learning rate of its own cycle; the other settings are the optimiser's."""
    augmentation: Augmentation | None = None
    """Instead of the recipe's."""
    sounds: Sounds | None = None
    """Instead of the recipe's."""
    teaching: Teaching | None = None
    """Instead of the recipe's."""


class Start(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start from a packed model's network without forgetting what it knew.

    What it knew are its answers to clips of the corpora that it was trained on, where they are
    right; they stand beside the labels as a teacher's would (learning without forgetting: Li and
    Hoiem, 2016, arXiv:1606.09282).
    """

    model: str
    """A packed model, or the name of one in ``training/starts``."""
    remembers: tuple[str, ...] = ()
    """Corpora of which it remembers its answers."""
    share: Share = 0.5
    """Weight of its answers in the loss of such a clip; the rest is the label's."""
    temperature: Positive = 2.0
    """By which the logits of both are divided in that part of the loss."""
    gain: Positive = 2.0
    """Of that part: softened answers have weaker gradients."""
    keep: Share = 0.0
    """Share of the weights before training in the weights after it."""


class HomeUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is assumed of a home, and wished for (:mod:`training.evaluate.household`)."""

    corpora: tuple[str, ...]
    """Acted corpora by which temperature and bias are fitted."""
    ordinary_share: Share = 0.5
    """Of utterances at home, how many are neutral or calm."""
    trained_share: Share = 0.25
    """The same as the fitted answers imply: with all classes alike, two of eight."""
    caution: Positive = 1.0
    """By which the fitted temperature is multiplied: on voices and rooms unlike those that it was
    fitted on a network is less often right than it thinks."""
    rates: dict[Sensitivity, Positive]
    """False emotional events that an hour of ordinary speech may give."""
    gathering: Gathering
    """How evidence adds up over utterances."""
    agree: Count = 1
    """Utterances that must agree before an emotion is told."""


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run."""

    name: Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,40}$")]
    """Name of the run, and of the model in its metadata."""
    version: str
    """Version of the model in its metadata."""
    about: str
    """One sentence for the model card."""
    licence: str
    """Under which the model may be used, given what it was trained on."""
    seed: int
    """Of everything random."""
    fold: Annotated[int, Meta(ge=0)]
    """Fold whose test speakers are held out, in every corpus; 0: none, for a model whose
    figures come from a cross-validation of the same recipe."""
    corpora: dict[str, CorpusUse]
    """What is trained on."""
    optimiser: Optimiser
    """How long, and how fast it learns."""
    teaching: Teaching | None = None
    """Who teaches besides the labels; None: nobody."""
    start: Start | None = None
    """What training begins with; None: a random network."""
    home: HomeUse | None = None
    """For a model that is to live in a home; None: it has one threshold and no prior."""
    labels: tuple[str, ...] = ()
    """Classes of the output, in order; empty: all eight."""
    cross_corpora: tuple[str, ...] = ()
    """Corpora that are only ever tested on."""
    features: FeatureParameters = FeatureParameters()
    """The daemon's front end; mean and sd are measured on the training speakers."""
    preparation: Preparation = Preparation()
    """What is computed once for each clip."""
    network: Network = Network()
    """Sizes of the network; with ``start`` those of the model that it begins with."""
    augmentation: Augmentation = Augmentation()
    """How clips are changed each time they are heard."""
    sounds: Sounds | None = None
    """Sounds that are no speech; None: none are heard."""
    refit: Refit | None = None
    """What follows once temperature and threshold are found; None: nothing."""
    representative_clips: Count = 300
    """Training clips from which the quantiser learns the ranges."""
    input_range_sd: Positive | None = None
    """Largest feature that int8 spans, in standard deviations; what lies beyond is cut there. None:
    the largest among the representative clips. Few features are that large, and all others pay
    for them with coarser steps."""
    coverage: Share = 0.7
    """Share of the validation clips that the abstain threshold lets through."""

    @property
    def acted(self) -> tuple[str, ...]:
        """The corpora that are trained on and in which emotions are acted."""
        return tuple(name for name, use in self.corpora.items() if not use.target)

    @property
    def distillation(self) -> Teaching | Start | None:
        """Where soft targets come from: a teacher, or the model that training starts from."""
        return self.teaching or self.start


def load_recipe(name_or_path: str | Path) -> Recipe:
    """Read a recipe.

    Args:
        name_or_path: A file, or the name of one in ``training/recipes`` without its ending.

    Raises:
        InputError: There is no such file.
        ConfigError: It is not a recipe; the message says where.
    """
    path = Path(name_or_path)
    if path.is_dir() and (path / OWN).is_file():
        path /= OWN
    elif not path.suffix:
        path = _RECIPES / f"{name_or_path}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(file.stem for file in _RECIPES.glob("*.yaml")))
        raise InputError(
            f"No recipe at {shown(path)}",
            remedy=f"recipes by name: {known}; of one's own: serd-train new",
        )
    recipe = read_document(path, Recipe, "a recipe")
    return msgspec.structs.replace(
        recipe,
        corpora={name: _placed(use, path.parent) for name, use in recipe.corpora.items()},
    )


def _placed(use: CorpusUse, beside: Path) -> CorpusUse:
    """What a recipe names beside itself, wherever it is used from."""

    def placed(name: str | None) -> str | None:
        return None if name is None else str((beside / Path(name).expanduser()).resolve())

    return msgspec.structs.replace(use, folder=placed(use.folder), folds=placed(use.folds))


def with_validation_speakers(split: Split) -> Split:
    """The same people, with nobody set aside to choose by."""
    return msgspec.structs.replace(split, train=(*split.train, *split.validation), validation=())


def refit_recipe(recipe: Recipe) -> Recipe:
    """What the refit stage of a run does, as a recipe of its own.

    Args:
        recipe: Of the run; its ``refit`` says how.
    """
    assert recipe.refit is not None
    optimiser = msgspec.structs.replace(
        recipe.optimiser, steps=recipe.refit.steps, peak_rate=recipe.refit.peak_rate
    )
    return msgspec.structs.replace(
        recipe,
        optimiser=optimiser,
        augmentation=recipe.refit.augmentation or recipe.augmentation,
        sounds=recipe.refit.sounds or recipe.sounds,
        teaching=recipe.refit.teaching or recipe.teaching,
        refit=None,
    )


def embedded_speeds(recipe: Recipe) -> tuple[float, ...]:
    """At which speeds a teacher listens in a run: all if it ever gives hints, else 1 alone."""
    whole = recipe if recipe.refit is None else refit_recipe(recipe)
    examples = (recipe.teaching, whole.teaching)
    hinting = any(lesson is not None and lesson.hints is not None for lesson in examples)
    return recipe.preparation.speeds if hinting else (1.0,)

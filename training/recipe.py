"""A recipe: everything that determines a training run, in one YAML file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta, Struct

from serd.config import Sensitivity  # noqa: TC001 - msgspec looks types up
from serd.errors import InputError, UsageError, shown
from serd.model.emotions import EMOTIONS
from serd.model.metadata import FeatureParameters, Gathering, ThresholdOn
from training.document import read_document

OWN = "recipe.yaml"
"""Name of the recipe in a folder that ``serd-train new`` wrote."""

_RECIPES = Path(__file__).parent / "recipes"

Share = Annotated[float, Meta(ge=0.0, le=1.0)]
Positive = Annotated[float, Meta(gt=0.0)]
NotNegative = Annotated[float, Meta(ge=0.0)]
Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]
Span = tuple[float, float]


def about(text: str) -> Meta:
    """The description of a key in docs/recipe.md."""
    return Meta(description=text)


class CorpusUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a corpus is used in training."""

    share: Annotated[
        Share,
        about("Share of the clips in a batch, relative to the shares of the other corpora."),
    ]
    validation_speakers: Annotated[
        CountOrNone,
        about("Training speakers set aside to choose temperature and threshold."),
    ] = 0
    votes_weight: Annotated[
        Share,
        about("Weight of the listeners' votes in the target, beside the emotion that was acted."),
    ] = 0.0
    target: Annotated[
        dict[str, Share],
        about(
            "The target of every clip, instead of the clip's own label; what is missing to 1 is "
            "spread over the other classes. For speech without emotion labels."
        ),
    ] = {}
    taught: Annotated[
        Share,
        about(
            "With `target`: weight of a teacher's answer beside it; 0: such clips get neither "
            "answers nor hints."
        ),
    ] = 0.0
    within: Annotated[
        Count | None,
        about(
            "Only the test speakers of this fold are held out: they are dealt into as many "
            "shares as there are folds, and each fold holds out one. For training that starts "
            "from a model which has heard everybody else (`start`)."
        ),
    ] = None
    balance: Annotated[
        Share,
        about("How far the classes are balanced: 0 draws all clips equally often, 1 all classes."),
    ] = 0.5
    speakers: Annotated[
        dict[str, Positive],
        about(
            "Use only these speakers, each with this share relative to the others; empty: all, "
            "each by its number of clips."
        ),
    ] = {}
    masked: Annotated[
        dict[str, list[str]],
        about(
            "By class, the classes to leave out of the loss for its clips: those that the "
            "corpus's labels cannot distinguish from it."
        ),
    ] = {}
    folder: Annotated[
        str | None,
        about(
            "Folder of the recordings, with a folder for each emotion, relative to the recipe's "
            "folder; otherwise the corpus is one of those below `--corpora`."
        ),
    ] = None
    folds: Annotated[
        str | None,
        about(
            "JSON file of the speakers or clips that each fold holds out, relative to the "
            "recipe's folder; otherwise the file of the corpus's name in `training/folds`."
        ),
    ] = None

    @property
    def asks_teacher(self) -> bool:
        """Whether a teacher answers for the clips."""
        return not self.target or self.taught > 0.0


class Preparation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is computed once for each clip and cached."""

    speeds: Annotated[
        tuple[Positive, ...],
        about("Copies played faster or slower (pitch and pace together); the first must be 1."),
    ] = (1.0,)
    longest_s: Annotated[
        Positive,
        about("Seconds of speech kept, from which a window can be cropped anywhere."),
    ] = 4.0


class Network(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sizes of the convolutional network (`training.network`)."""

    stem: Annotated[Count, about("Channels of the first convolution, 5 x 5 with stride 2.")] = 24
    widths: Annotated[
        tuple[Count, ...],
        about("Channels of the 3 x 3 convolutions, each after a 2 x 2 max-pool."),
    ] = (56, 112, 192)
    dropout: Annotated[Share, about("Before the last layer.")] = 0.3

    @property
    def layers(self) -> int:
        """Layers with weights: the transform, the convolutions, the last one."""
        return len(self.widths) + 3


class Head(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The small network that learns emotions from a teacher's embeddings."""

    width: Annotated[Count, about("Of its hidden layer.")] = 256
    dropout: Annotated[
        tuple[Share, Share],
        about("Before and after the hidden layer."),
    ] = (0.3, 0.5)
    epochs: Annotated[Count, about("Passes over the clips.")] = 12
    batch: Annotated[Count, about("Clips in a batch.")] = 64
    rate: Annotated[Positive, about("Highest learning rate of its one cycle.")] = 1e-3
    weight_decay: Annotated[NotNegative, about("Of AdamW.")] = 0.1
    repeats: Annotated[
        dict[str, Count],
        about("How often an epoch contains the clips of a corpus; once by default."),
    ] = {}
    votes_weight: Annotated[
        dict[str, Share],
        about("By corpus, the weight of the listeners' votes beside the emotion that was acted."),
    ] = {}
    heads: Annotated[Count, about("Heads of different seeds whose probabilities are averaged.")] = 2


class Hints(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Principal components of the teacher's embeddings, for the student to predict as well."""

    components: Annotated[Count, about("Number of components.")] = 64
    weight: Annotated[
        Positive,
        about("Weight of their mean squared error, in standard deviations, in the loss."),
    ] = 1.0
    at_speeds: Annotated[
        bool,
        about(
            "Whether each speed of a clip has hints of its own; false: those of the original serve "
            "for all, which takes a fifth of the time."
        ),
    ] = True


class Teaching(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Knowledge distillation from a larger network (`training.teach`)."""

    teacher: Annotated[
        str,
        about("A speech encoder of Whisper's family, by its name on the model hub."),
    ]
    licence: Annotated[str, about("Licence of the teacher.")]
    layers: Annotated[
        tuple[CountOrNone, ...],
        about("Hidden layers that form the embedding."),
    ] = (2, 3, 4, 5, 6)
    groups: Annotated[
        Annotated[int, Meta(ge=2)],
        about(
            "Groups of training speakers; the heads that answer for a group are trained on the "
            "others."
        ),
    ] = 4
    share: Annotated[
        Share,
        about("Weight of the teacher's answers in the loss; the rest is that of the labels."),
    ] = 0.7
    temperature: Annotated[
        Positive,
        about("Divides the logits of teacher and student in the teacher's part of the loss."),
    ] = 2.0
    gain: Annotated[
        Positive,
        about("Factor of the teacher's part: softened targets have smaller gradients."),
    ] = 2.0
    head: Annotated[Head, about("The small network between embedding and emotions.")] = Head()
    hints: Annotated[
        Hints | None,
        about("None: the student learns from the teacher's answers alone."),
    ] = None


class Optimiser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """AdamW or Muon under a one-cycle learning rate."""

    steps: Annotated[Count, about("Batches.")]
    batch: Annotated[Count, about("Clips in a batch.")] = 32
    peak_rate: Annotated[Positive, about("Highest learning rate.")] = 3e-3
    warm_up: Annotated[
        Share,
        about("Share of the steps in which it rises, from a twentieth of the peak."),
    ] = 0.15
    transform_rate: Annotated[
        Share,
        about(
            "Learning rate of the first, linear layer relative to the others: it is initialised "
            "as the inverse cosine transform, whose small weights the full rate would soon "
            "destroy."
        ),
    ] = 0.1
    weight_decay: Annotated[
        NotNegative,
        about("On kernels only, and not on the first layer."),
    ] = 0.05
    clip_norm: Annotated[Positive, about("Largest norm of the gradient of all weights.")] = 2.0
    label_smoothing: Annotated[
        Share,
        about("Share of the target that is spread over all classes."),
    ] = 0.1
    method: Annotated[
        Annotated[str, Meta(pattern="^(adamw|muon)$")],
        about("For the kernels of convolutions; everything else is trained by AdamW."),
    ] = "adamw"
    averaging: Annotated[
        Share,
        about("Decay of the running mean of the weights, which is what is shipped."),
    ] = 0.998
    precision: Annotated[
        Annotated[str, Meta(pattern="^(float32|mixed_bfloat16)$")],
        about("Of the arithmetic; weights stay float32."),
    ] = "float32"


class Noise(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Stationary coloured noise."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    snr_db: Annotated[
        Span,
        about("Mean power of the utterance over that of the noise."),
    ] = (3.0, 40.0)
    tilt_db: Annotated[Span, about("From the lowest to the highest band.")] = (-25.0, 5.0)


class Reverb(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A room: an exponential tail after every frame."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    rt60_s: Annotated[
        Span,
        about(
            "Seconds in which the tail falls by 60 dB at low frequencies (half of that at the "
            "highest)."
        ),
    ] = (0.2, 1.1)
    tail_db: Annotated[
        Span,
        about("Energy of the tail relative to the direct sound."),
    ] = (-15.0, -3.0)


class Equaliser(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Microphones and distances: a slope and a ripple over frequency."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    tilt_db: Annotated[Span, about("From the lowest to the highest band.")] = (-6.0, 6.0)
    ripple_db: Annotated[NotNegative, about("Largest depth of the ripple.")] = 3.0


class BandLimit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Telephones, headsets and small microphones: a high-pass and a low-pass."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    low_hz: Annotated[Span, about("The lower corner.")] = (80.0, 400.0)
    high_hz: Annotated[Span, about("The upper corner.")] = (3000.0, 7000.0)
    slope_db: Annotated[Span, about("Per octave beyond the corner.")] = (18.0, 120.0)


class Warp(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Other paces and vocal tracts."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    stretch: Annotated[Share, about("Largest relative change of length.")] = 0.15
    shift: Annotated[Share, about("Largest relative shift of the bands.")] = 0.08


class Exchange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The long-term spectrum of another clip, so that spectra do not reveal the corpus."""

    probability: Annotated[Share, about("Share of the clips that get it.")] = 0.0
    most_db: Annotated[Positive, about("Largest change of a band.")] = 20.0


class Augmentation(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a clip goes through on its way into a batch, in this order."""

    warp: Annotated[Warp, about("Other paces and voices.")] = Warp()
    exchange: Annotated[Exchange, about("Spectra exchanged between clips.")] = Exchange()
    reverb: Annotated[Reverb, about("Rooms.")] = Reverb()
    noise: Annotated[Noise, about("Noise.")] = Noise()
    equaliser: Annotated[Equaliser, about("Microphones and distances.")] = Equaliser()
    band_limit: Annotated[BandLimit, about("Telephones and small microphones.")] = BandLimit()
    margin_frames: Annotated[
        CountOrNone,
        about("Up to so many frames of tail and noise are kept before and after an utterance."),
    ] = 20
    gain_db: Annotated[
        Span,
        about("Change of level; it matters only near the floor of very quiet sound."),
    ] = (0.0, 0.0)


class Sounds(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Sounds without speech, from ESC-10's training folds (`training.augment`)."""

    share: Annotated[
        Share,
        about(
            "Share of the clips in a batch that are such a sound alone, with all classes "
            "equally right."
        ),
    ]
    as_noise: Annotated[Share, about("Share of the noisy clips whose noise is such a recording.")]
    frames: Annotated[
        tuple[Count, Count],
        about("Shortest and longest excerpt that is used alone."),
    ] = (40, 188)


class Refit(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A second stage of training that includes the validation speakers.

    Temperature and abstain threshold are found with a network that was not trained on the
    validation speakers. After that these speakers have no other use, and of a few dozen speakers
    nearly a fifth is too many to leave out. So training continues from the weights it had, with
    everybody but the test speakers; the teacher's heads are trained again on all of them, too.
    Temperature and threshold stay.
    """

    steps: Annotated[Count, about("Batches.")]
    peak_rate: Annotated[
        Positive,
        about("Highest learning rate of its own cycle; the other settings are the optimiser's."),
    ]
    augmentation: Annotated[Augmentation | None, about("Instead of the recipe's.")] = None
    sounds: Annotated[Sounds | None, about("Instead of the recipe's.")] = None
    teaching: Annotated[Teaching | None, about("Instead of the recipe's.")] = None


class Start(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Start from a packed model's network without forgetting what it knew.

    Its own answers to clips of the corpora that it was trained on, where they are right, serve as
    soft targets beside the labels (learning without forgetting: Li and Hoiem, 2016,
    arXiv:1606.09282).
    """

    model: Annotated[str, about("A packed model, or the name of one in `training/starts`.")]
    remembers: Annotated[
        tuple[str, ...],
        about("Corpora for which its answers are soft targets."),
    ] = ()
    share: Annotated[
        Share,
        about("Weight of its answers in the loss of such a clip; the rest is that of the label."),
    ] = 0.5
    temperature: Annotated[
        Positive,
        about("Divides the logits of both in that part of the loss."),
    ] = 2.0
    gain: Annotated[
        Positive,
        about("Factor of that part: softened targets have smaller gradients."),
    ] = 2.0
    keep: Annotated[
        Share | tuple[Share, ...],
        about(
            "Share of the weights before training in the weights after it: one number, or one for "
            "each layer, from the cosine transform over the convolutions to the last layer."
        ),
    ] = 0.0

    @property
    def keeps_all(self) -> bool:
        """Whether training changes nothing."""
        return self.keep == 1.0 or (isinstance(self.keep, tuple) and set(self.keep) == {1.0})

    def shares(self, layers: int) -> tuple[float, ...]:
        """Share of the weights before training in each layer.

        Args:
            layers: Number of layers with weights.

        Raises:
            UsageError: ``keep`` has another number of layers.
        """
        if not isinstance(self.keep, tuple):
            return (self.keep,) * layers
        if len(self.keep) != layers:
            raise UsageError(
                f"start.keep has {len(self.keep)} numbers for a network of {layers} layers",
                remedy=f"give one number, or {layers}",
            )
        return self.keep


class HabituationUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a room gets used to its own sound (`serd.model.habituation`)."""

    remembered: Annotated[Count, about("The latest utterances of a room that count.")] = 200
    half_after: Annotated[
        Count, about("Utterances after which half of a room's excess is subtracted.")
    ] = 20


class HomeUse(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is assumed and wanted for a household (`training.evaluate.household`)."""

    corpora: Annotated[
        tuple[str, ...],
        about("Acted corpora to which temperature and bias are fitted."),
    ]
    biased: Annotated[
        bool,
        about(
            "Whether each class gets a bias. One fitted to few speakers may help them and harm "
            "others."
        ),
    ] = True
    ordinary_share: Annotated[
        Share,
        about("Share of utterances at home that are neutral or calm."),
    ] = 0.5
    trained_share: Annotated[
        Share,
        about(
            "The same share as the fitted probabilities imply: with equally frequent classes, "
            "two of eight."
        ),
    ] = 0.25
    caution: Annotated[
        Positive,
        about(
            "Factor of the fitted temperature: on voices and rooms unlike those of the fit, a "
            "network is right less often than its confidence says."
        ),
    ] = 1.0
    rates: Annotated[
        dict[Sensitivity, Positive],
        about("False emotional events that an hour of ordinary speech may cause."),
    ]
    gathering: Annotated[Gathering, about("How evidence accumulates over utterances.")]
    agree: Annotated[Count, about("Utterances that must agree before an emotion is reported.")] = 1
    threshold_on: Annotated[
        ThresholdOn,
        about(
            "What has to reach the threshold: the probability of the reported `emotion`, or that "
            "of `all_emotions` together."
        ),
    ] = "emotion"
    habituation: Annotated[
        HabituationUse | None,
        about(
            "Whether a room gets used to what it always sounds like, and how soon; null: it does "
            "not."
        ),
    ] = None


class Recipe(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One training run."""

    name: Annotated[
        Annotated[str, Meta(pattern="^[a-z0-9][a-z0-9-]{0,40}$")],
        about("Name of the run, and of the model in its metadata."),
    ]
    version: Annotated[str, about("Version of the model in its metadata.")]
    about: Annotated[str, about("One sentence for the model card.")]
    licence: Annotated[str, about("Licence of the model, given what it was trained on.")]
    seed: Annotated[int, about("Of everything random.")]
    fold: Annotated[
        CountOrNone,
        about(
            "Fold whose test speakers are held out, in every corpus; 0: none, for a model whose "
            "figures come from a cross-validation of the same recipe."
        ),
    ]
    corpora: Annotated[dict[str, CorpusUse], about("What is trained on.")]
    optimiser: Annotated[Optimiser, about("Duration and learning rates.")]
    teaching: Annotated[Teaching | None, about("A teacher besides the labels; None: none.")] = None
    start: Annotated[
        Start | None,
        about("The model that training starts from; None: random weights."),
    ] = None
    home: Annotated[
        HomeUse | None,
        about("For a model with household settings; None: one threshold and no prior."),
    ] = None
    labels: Annotated[
        tuple[str, ...],
        about("Classes of the output, in order; empty: all eight."),
    ] = ()
    cross_corpora: Annotated[tuple[str, ...], about("Corpora that are only tested on.")] = ()
    features: Annotated[
        FeatureParameters,
        about("The daemon's front end; mean and sd are measured on the training speakers."),
    ] = FeatureParameters()
    preparation: Annotated[
        Preparation,
        about("What is computed once for each clip."),
    ] = Preparation()
    network: Annotated[
        Network,
        about("Sizes of the network; with `start` those of the model that it starts from."),
    ] = Network()
    augmentation: Annotated[
        Augmentation,
        about("How clips are changed each time they are drawn."),
    ] = Augmentation()
    sounds: Annotated[Sounds | None, about("Sounds without speech; None: none.")] = None
    refit: Annotated[
        Refit | None,
        about("A second stage, after temperature and threshold are found; None: none."),
    ] = None
    representative_clips: Annotated[
        Count,
        about("Training clips from which the quantiser determines the ranges."),
    ] = 300
    input_range_sd: Annotated[
        Positive | None,
        about(
            "Largest feature value that int8 covers, in standard deviations; larger ones are "
            "clipped. None: the largest among the representative clips. Few values are that "
            "large, and all others pay for them with coarser steps."
        ),
    ] = None
    coverage: Annotated[
        Share,
        about("Share of the validation clips above the abstain threshold."),
    ] = 0.7

    @property
    def classes(self) -> tuple[str, ...]:
        """The classes of the network's output, in order."""
        return self.labels or EMOTIONS

    @property
    def acted(self) -> tuple[str, ...]:
        """The training corpora with acted emotions."""
        return tuple(name for name, use in self.corpora.items() if not use.target)

    @property
    def distillation(self) -> Teaching | Start | None:
        """The weights of soft targets: a teacher's, or those of the model to start from."""
        return self.teaching or self.start

    @property
    def embedded_speeds(self) -> tuple[float, ...]:
        """The speeds at which a run needs a teacher's embeddings; 1 unless each has its hints."""
        stages = (self.teaching, self.refit.teaching if self.refit is not None else None)
        hints = any(stage and stage.hints and stage.hints.at_speeds for stage in stages)
        return self.preparation.speeds if hints else (1.0,)

    def for_refit(self) -> Recipe:
        """The refit stage of a run, as a recipe of its own."""
        assert self.refit is not None
        optimiser = msgspec.structs.replace(
            self.optimiser, steps=self.refit.steps, peak_rate=self.refit.peak_rate
        )
        return msgspec.structs.replace(
            self,
            optimiser=optimiser,
            augmentation=self.refit.augmentation or self.augmentation,
            sounds=self.refit.sounds or self.sounds,
            teaching=self.refit.teaching or self.teaching,
            refit=None,
        )


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

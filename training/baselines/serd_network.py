"""serd's own network on the same splits, for comparison with the published systems.

The recipe ``ravdess-alone`` uses no more than the published systems had: RAVDESS alone, no teacher,
and no simulated rooms. Its network is wider and shallower than the shipped one, has no room and is
run once. It is trained and quantised by the modules that make the shipped model; the int8 network
is what is measured.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import msgspec
import numpy as np

from serd.model.emotions import EMOTIONS
from training.baselines.system import About, Baseline, Fitted
from training.recipe import Recipe, load_recipe

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from training.baselines.system import Labels, Numbers, Source
    from training.corpora import Clip

_RECIPES = Path(__file__).parents[1] / "recipes"
_THREE = [EMOTIONS.index(name) for name in ("happy", "sad", "angry")]


@dataclass(frozen=True)
class SerdNetwork(Baseline):
    """An earlier, shallower network, trained on RAVDESS alone without a teacher."""

    recipe: str = "ravdess-alone"
    """Name or file."""

    name: ClassVar[str] = "serd"
    about: ClassVar[About] = About(
        author="this project",
        year=2026,
        seed=1,
        features="the daemon's 64 MFCCs",
        network="an earlier, shallower network of serd's, int8, trained on RAVDESS alone without a "
        "teacher",
    )
    slow: ClassVar[bool] = True

    def settings(self) -> dict[str, object]:
        """The text of the recipe, not its name."""
        path = Path(self.recipe)
        if not path.suffix:
            path = _RECIPES / f"{self.recipe}.yaml"
        return {"recipe_sha256": hashlib.sha256(path.read_bytes()).hexdigest()[:16]}

    def load(self, seed: int) -> Recipe:
        """The recipe with a seed."""
        return msgspec.structs.replace(load_recipe(self.recipe), seed=seed)

    def prepare(self, clips: Sequence[Clip], source: Source) -> Numbers:
        """Prepared clips, as objects: ``[clips]``."""
        from training.prepare import prepare

        recipe, done = self.load(0), 0

        def step(count: int) -> None:
            nonlocal done
            done += count
            source.progress("prepare", done, len(clips))

        ready = prepare(
            clips,
            recipe.preparation,
            recipe.features,
            cache=source.cache,
            jobs=source.jobs,
            progress=step,
        )
        found = np.empty(len(ready), dtype=object)
        found[:] = ready
        return found

    def fit(
        self, x: Numbers, y: Labels, *, validation: tuple[Numbers, Labels], seed: int
    ) -> Fitted:
        """As the shipped model is trained; the last step counts, nothing is chosen."""
        from training.batches import clean_features, measure_features
        from training.quantise import convert, representative_clips
        from training.train import Trainer, logits_of

        del y, validation
        recipe, training = self.load(seed), list(x)
        features = measure_features(training, recipe.in_training(recipe.features))
        with tempfile.TemporaryDirectory() as folder:
            trainer = Trainer(recipe, features, training, [], Path(folder))
            model = trainer.run()
        features = recipe.in_model(features)
        chosen = representative_clips(training, recipe.representative_clips)
        network = convert(
            model.get_weights(),
            recipe.network,
            features,
            len(EMOTIONS),
            clean_features(chosen, features),
        )
        small = _int8(network)

        def logits(some: Numbers) -> NDArray[np.float32]:
            return small(clean_features(list(some), features))

        return Fitted(
            predict=lambda some: logits(some).argmax(axis=1),
            curves={"loss": [round(point["loss"], 4) for point in trainer.curves]},
            variants={
                "float32": lambda some: logits_of(
                    model, clean_features(list(some), features)
                ).argmax(axis=1),
                # Asked as `mlp-3` is asked: which of these three.
                "of three": lambda some: np.array(_THREE)[logits(some)[:, _THREE].argmax(axis=1)],
            },
        )


def _int8(network: bytes) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """The quantised network as a function of features; its outputs are in units of its int8."""
    from serd.model.interpreter import Quantisation
    from training.train import quiet_native_code

    with quiet_native_code():
        from ai_edge_litert.interpreter import Interpreter

        runtime = Interpreter(model_content=network, num_threads=1)
        runtime.allocate_tensors()
    entry, exit_ = runtime.get_input_details()[0], runtime.get_output_details()[0]
    scale = Quantisation(*entry["quantization"])

    def run(features: NDArray[np.float32]) -> NDArray[np.float32]:
        rows = []
        for one in features:
            runtime.set_tensor(entry["index"], scale.quantise(one)[np.newaxis])
            runtime.invoke()
            rows.append(runtime.get_tensor(exit_["index"])[0].astype(np.float32))
        return np.stack(rows)

    return run

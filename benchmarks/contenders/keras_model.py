"""A Keras model with the shipped network's architecture and random weights, for the pipeline.

``python -m benchmarks.contenders.keras_model OUT.keras``
"""

from __future__ import annotations

import sys

from serd.model.model_file import ModelFile
from training.network import build_network
from training.recipe import load_recipe
from training.train import set_up_tensorflow


def main(out: str) -> None:
    """Build and save the model."""
    set_up_tensorflow(seed=0, threads=1)
    model = ModelFile.load()
    network = load_recipe(model.info.name).network
    build_network(network, model.info.features, len(model.labels)).save(out)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""How serd's models are made: corpora in, one self-describing int8 model file and a report out.

The way of the data::

    recipe -> corpora -> prepare -> dataset -> batches -> train -> quantise -> evaluate -> report

``cli``
    The ``serd-train`` commands.
``recipe``, ``recipe_page``, ``document``
    What a training run does, the page that documents it, and how YAML files are read.
``corpora``, ``prepare``, ``dataset``
    Readers of speech corpora, features of each clip, and the splits by speaker.
``augment``, ``batches``, ``network``, ``train``
    Batches of augmented clips, the network, and the training loop.
``teacher``, ``teach``
    Knowledge distillation from a large speech encoder.
``quantise``, ``packing``, ``run``
    The int8 network, the model file, and a run's folder and stages.
``evaluate``, ``crossval``, ``crossval_summary``
    Metrics, calibration and thresholds, on one split or on all folds.
``probes``, ``baselines``
    Noise, rooms, silence and corrections; published systems on the same splits.
``report``, ``plots``, ``inspection``
    Model cards and figures.
``own``
    Fine-tuning with the user's own recordings.

This package may import serd: it uses the daemon's own segmenter and front end, so that a model
sees the same features in training as at run time. serd never imports this package.
"""

from __future__ import annotations

from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
"""The source tree."""
RESULTS = Path("training") / "results"
"""Where the figures of released models are kept, relative to the repository."""

"""How serd's models are made: corpora in, one self-describing int8 model file and a report out.

The rooms, along the data::

    corpora -> folds -> prepare -> batches -> network -> train -> quantise -> evaluate -> report

:mod:`training.cli` holds the ``serd-train`` commands. This package may use serd (it takes the
daemon's own segmenter and features, so that a model never sees other numbers in training than in
a living room); serd never uses this package.
"""

"""serd: speech-emotion recognition for the Raspberry Pi.

>>> from serd import Classifier
>>> Classifier.load().classify(samples, 16_000).emotion
'happy'

``import serd`` loads nothing; each name below is imported when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from serd.errors import (
        ConfigError,
        InputError,
        ModelError,
        SerdError,
        UnavailableError,
        UsageError,
    )
    from serd.model.classifier import Classifier, SamplesError, Stream
    from serd.model.decision import Prediction

    __version__: str

__all__ = [
    "Classifier",
    "ConfigError",
    "InputError",
    "ModelError",
    "Prediction",
    "SamplesError",
    "SerdError",
    "Stream",
    "UnavailableError",
    "UsageError",
    "__version__",
]

_MODULES = {
    "Classifier": "serd.model.classifier",
    "Prediction": "serd.model.decision",
    "SamplesError": "serd.model.classifier",
    "Stream": "serd.model.classifier",
}
"""The module of each name that is not in ``serd.errors``."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    import importlib  # noqa: PLC0415

    if name == "__version__":
        value: object = importlib.import_module("serd.version").VERSION
    else:
        value = getattr(importlib.import_module(_MODULES.get(name, "serd.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)

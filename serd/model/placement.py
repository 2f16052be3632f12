"""An utterance at several places of the network's input.

The strides of the network make one frame of sixteen, so its answer changes a little when an
utterance begins a few frames sooner or later, which says nothing about the voice. A model may
therefore ask for the mean of the answers at several places, which is right more often
(docs/experiments.md#several-places).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from serd.model.mfcc import MfccFrontEnd

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from serd.model.metadata import FeatureParameters

Matrix = npt.NDArray[np.float32]


class Placements:
    """Moves an utterance within the network's input.

    Args:
        frames: By how many frames, from the place where the front end puts it; negative: sooner.
        features: Of the input.
    """

    def __init__(self, frames: Sequence[int], features: FeatureParameters) -> None:
        self._frames = tuple(frames)
        nothing = np.zeros((0, features.mel_bands), dtype=np.float32)
        self._silence = MfccFrontEnd(features).finish_mel(nothing)[:1]

    def __len__(self) -> int:
        return len(self._frames)

    def of(self, features: Matrix) -> Iterator[Matrix]:
        """The network's inputs for one utterance.

        Args:
            features: float32 ``[frames, coefficients]``, as the front end returned them.

        Yields:
            The same shape: ``features`` itself where it is not moved, otherwise a new array with
            silence in the rows that become free; what is moved beyond either end is cut off.
        """
        for by in self._frames:
            if not by:
                yield features
                continue
            moved = np.empty_like(features)
            if by > 0:
                moved[:by] = self._silence
                moved[by:] = features[:-by]
            else:
                moved[:by] = features[-by:]
                moved[by:] = self._silence
            yield moved

"""Published small systems, rebuilt to stand beside serd's own network.

One module for each system, each built as its author described it, mistakes included
(:mod:`training.baselines.system` says what a system is); ``serd-train baselines`` trains them all,
once as their authors did, with speakers on both sides, and once on speakers never heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.baselines.ann import Ann
from training.baselines.cnn1d_augmented import Cnn1dAugmented
from training.baselines.cnn1d_mfcc import Cnn1dMfcc
from training.baselines.cnn2d import Cnn2d
from training.baselines.dense7 import Dense7
from training.baselines.lstm_mfcc import LstmMfcc
from training.baselines.majority import Majority
from training.baselines.mlp3 import Mlp3
from training.baselines.mlp_mfcc import MlpMfcc
from training.baselines.own import Own
from training.baselines.transfer import Transfer
from training.baselines.tree import Tree

if TYPE_CHECKING:
    from collections.abc import Mapping

    from training.baselines.system import Baseline

_ALL: tuple[Baseline, ...] = (
    Majority(),
    Tree(),
    Ann(),
    Cnn2d(),
    Cnn1dAugmented(),
    Transfer(),
    MlpMfcc(),
    Cnn1dMfcc(),
    LstmMfcc(),
    Mlp3(),
    Dense7(),
    Own(),
)

SYSTEMS: Mapping[str, Baseline] = {system.name: system for system in _ALL}
"""The eleven published systems, in the order of the table, and serd's own network."""

__all__ = ["SYSTEMS"]

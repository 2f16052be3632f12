"""Published small systems, rebuilt for comparison with serd's own network.

Each is built as its author described it, mistakes included (:mod:`training.baselines.system` says
what a system is). ``serd-train baselines`` trains them all: once as their authors did, with
speakers on both sides, and once on speakers never heard.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from training.baselines.ciutacu import Cnn1dMfcc, LstmMfcc, MlpMfcc
from training.baselines.hoopes import Ann, Cnn1dAugmented, Cnn2d, Majority, Transfer, Tree
from training.baselines.serd_network import SerdNetwork
from training.baselines.tutorials import Dense7, Mlp3

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
    SerdNetwork(),
)

SYSTEMS: Mapping[str, Baseline] = {system.name: system for system in _ALL}
"""The eleven published systems, in the order of the table, and serd's own network."""

__all__ = ["SYSTEMS"]

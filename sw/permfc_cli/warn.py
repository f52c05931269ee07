"""The warnings that a network may be of no use: inputs beyond what int8 represents, layers without weights, large errors."""

from __future__ import annotations

from collections.abc import Iterable

from permfc.compression.targets import LOST
from permfc.graph.session import MOST_CLIPPED

from . import console


def warn_of_clipping(share: float, values: str) -> None:
    """Print a warning if much of the ``values``, which the user knows under that name, is clipped: a ``share`` of 0 to 1."""
    if share > MOST_CLIPPED:
        console.warn(f"{share:.1%} of {values} are outside of the range that the network was compressed for, and are clipped: "
                     "compress it again with --calibrate and inputs like these")


def warn_of_loss(error: float, chain: str) -> None:
    """Print a warning if results of a chain differ from the original's by so large an ``error``, of their own size, that they are of little use."""
    if error > LOST:
        console.warn(f"Results of chain {chain} differ from the original's by {error:.0%} of their size: ask for more bits a weight, give its "
                     "layers more with --per-layer, or leave them to the host with --skip")


def warn_of_empty(layers: Iterable[str]) -> None:
    """Print a warning for each layer that kept none of its weights, by name."""
    for name in layers:
        console.warn(f"With so few bits {name} keeps none of its weights and gives the same results for every input: "
                     "ask for more bits a weight, or give it more with --per-layer")

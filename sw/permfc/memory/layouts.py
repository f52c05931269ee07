"""What an inference reads when the same weights lie in memory in other ways: dense, as EIE stores them, and as permfc does.

Every layout is read feature by feature, so that the weights of zero activations can be left out, and each counts all that it needs: scales,
biases, pointers, padding. Nothing is said of accuracy: dense int4 would lose some, and EIE is taken to find 16 shared values sufficient.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np

from ..image.layout import image_layout
from ..network import Layer, Network
from .reads import Reads

BIAS_BYTES = 4       # int32 or float32, an output
SCALE_BYTES = 4      # float32, an output
GROUP = 64           # weights that share a scale in int4
GROUP_SCALE_BYTES = 2
EIE_RUN = 16         # outputs that one entry covers: a run of up to 15 zeros and the weight after it (4-bit index)
EIE_ENTRY_BYTES = 1  # 4-bit weight, 4-bit index
EIE_POINTER_BYTES = 2
EIE_PES = 64         # processing elements, as published; output i belongs to element i modulo 64


@dataclass(frozen=True, eq=False)
class Stretch:
    """One array in memory: ``sizes`` int64 [features] bytes that each feature needs of it, or bytes that are always read if ``fixed``."""

    sizes: np.ndarray
    fixed: bool = False

    def reads(self, begin: int, active: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Addresses and bytes to read of it when it lies at ``begin``; ``active`` bool [features], None: all."""
        end = begin + np.cumsum(self.sizes)
        start = end - self.sizes
        wanted = self.sizes > 0
        if active is not None and not self.fixed:
            wanted &= active
        start, end = start[wanted], end[wanted]
        opens = np.concatenate([[True], start[1:] != end[:-1]]) if len(start) else np.zeros(0, bool)  # neighbours are one read
        closes = np.concatenate([opens[1:], [True]]) if len(start) else opens
        return start[opens], end[closes] - start[opens]


class WeightLayout(ABC):
    """A way to keep the weights of a network in memory."""

    name: str

    @abstractmethod
    def stretches(self, network: Network) -> list[tuple[int, Stretch]]:
        """The arrays in the order of reading, each with the number of its layer."""

    def reads(self, network: Network, active: list[np.ndarray] | None) -> Reads:
        """Reads of one inference, all known at once.

        Parameters
        ----------
        network : Network
        active : list of bool [features], one for each layer, or None
            Whose activations are not zero; None: read everything.
        """
        begin, addresses, sizes = 0, [], []
        for layer, stretch in self.stretches(network):
            address, size = stretch.reads(begin, None if active is None else active[layer])
            addresses.append(address)
            sizes.append(size)
            begin += int(stretch.sizes.sum())
        address = np.concatenate(addresses).astype(np.int64)
        return Reads(np.zeros(len(address), np.int64), address, np.concatenate(sizes).astype(np.int64))


class Dense(WeightLayout):
    """All weights in ``bits`` bits; int8 has a scale an output, int4 one a group of 64."""

    def __init__(self, name: str, bits: int) -> None:
        self.name, self.bits = name, bits

    def stretches(self, network: Network) -> list[tuple[int, Stretch]]:
        found = []
        for number, layer in enumerate(network.layers):
            feature = -(-layer.outputs * self.bits // 8)
            if self.bits == 4:
                feature += -(-layer.outputs // GROUP) * GROUP_SCALE_BYTES
            each_output = BIAS_BYTES + (SCALE_BYTES if self.bits == 8 else 0)
            found.append((number, Stretch(np.full(layer.features, feature, np.int64))))
            found.append((number, Stretch(np.array([layer.outputs * each_output]), fixed=True)))
        return found


class Eie(WeightLayout):
    """Nonzero weights as in Han et al., "EIE", ISCA 2016: 4-bit weights with 4-bit zero runs for each of 64 elements, padding zeros where a
    run is longer, 16-bit pointers for each feature and element. A feature's entries of all elements lie together, which DRAM rewards."""

    name = "EIE"

    def stretches(self, network: Network) -> list[tuple[int, Stretch]]:
        found = []
        for number, layer in enumerate(network.layers):
            entries = eie_entries(layer).sum(axis=1)
            found.append((number, Stretch(np.full(layer.features, (EIE_PES + 1) * EIE_POINTER_BYTES, np.int64))))
            found.append((number, Stretch(entries * EIE_ENTRY_BYTES)))
            found.append((number, Stretch(np.array([layer.outputs * BIAS_BYTES]), fixed=True)))
        return found

    @staticmethod
    def cycles(network: Network, active: list[np.ndarray] | None) -> int:
        """Cycles of 64 elements, an entry each a cycle: every feature takes as long as its fullest element."""
        total = 0
        for number, layer in enumerate(network.layers):
            fullest = eie_entries(layer).max(axis=1)
            total += int(fullest.sum() if active is None else fullest[active[number]].sum())
        return total


def eie_entries(layer: Layer) -> np.ndarray:
    """Entries of each feature and element, padding zeros included, int64 [features, EIE_PES]."""
    feature, output = np.nonzero(layer.weights().T)
    element, position = output % EIE_PES, output // EIE_PES
    order = np.lexsort((position, element, feature))
    stream, position = (feature * EIE_PES + element)[order], position[order]
    begins = np.concatenate([[True], stream[1:] != stream[:-1]]) if len(stream) else np.zeros(0, bool)
    before = np.where(begins, -1, np.concatenate([[-1], position[:-1]])) if len(stream) else position
    entries = 1 + (position - before - 1) // EIE_RUN
    return np.bincount(stream, entries, layer.features * EIE_PES).astype(np.int64).reshape(layer.features, EIE_PES)


class Permfc(WeightLayout):
    """The image of the network for a bus of ``bus_bytes``: header, descriptors and parameters always, segments of active features."""

    name = "permfc"

    def __init__(self, bus_bytes: int) -> None:
        self.bus_bytes = bus_bytes

    def stretches(self, network: Network) -> list[tuple[int, Stretch]]:
        layout = image_layout(network, self.bus_bytes)
        programs = [(block.layer, Stretch(np.array([block.program_words * self.bus_bytes]), fixed=True)) for block in layout.blocks]
        segments = []
        for block in layout.blocks:
            words = np.repeat(block.feature_words, [classes.features for classes in block.classes])
            segments.append((block.layer, Stretch(words.astype(np.int64) * self.bus_bytes)))
        return [(0, Stretch(np.array([layout.header_words * self.bus_bytes]), fixed=True)), *programs, *segments]


def layouts(bus_bytes: int) -> tuple[WeightLayout, ...]:
    """All of them, the largest first."""
    return Dense("dense fp32", 32), Dense("dense int8", 8), Dense("dense int4", 4), Eie(), Permfc(bus_bytes)

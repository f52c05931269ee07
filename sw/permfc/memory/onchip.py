"""Energy inside the chip, ESTIMATED: operations of a run, each at the energy that was published for it in 45 nm.

It tells which part of the chip matters beside the memory, in the terms of the papers of this field; it is not a measurement of an FPGA,
which needs several times as much for the same operations, and it leaves out clock tree, control and wires.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields

import numpy as np

from ..config import EngineConfig
from ..image.layout import image_layout
from ..network import Network, check_activations

# Picojoules in 45 nm at 0.9 V: M. Horowitz, "Computing's Energy Problem (and what we can do about it)", ISSCC 2014, figure 1.1.9 (adders,
# multipliers), and the extract in S. Han et al., "EIE", ISCA 2016, table I (32-bit register file, 32-bit word of a 32 KiB SRAM).
ADD_32 = 0.1
MULTIPLY_8 = 0.2
MULTIPLY_32 = 3.1
REGISTER_FILE_32 = 1.0
SRAM_32 = 5.0


@dataclass(frozen=True, eq=False)
class OnChipCounts:
    """Operations of a run, or of several runs together, for each layer: int64 [layers] each.

    Members
    -------
    bytes : array
        Bytes read from memory, each written to a buffer and read from it once.
    lane_segments : array
        Segments that a lane decoded; a dense8 feature has two.
    weights : array
        Outputs that lanes decoded, zeros included.
    sums : array
        Outputs of rounds: each a read-modify-write of an accumulator.
    outputs : array
        Outputs that were requantised.
    activations : array
        Entries of activation lists, read and written.
    """

    bytes: np.ndarray
    lane_segments: np.ndarray
    weights: np.ndarray
    sums: np.ndarray
    outputs: np.ndarray
    activations: np.ndarray


@dataclass(frozen=True)
class OnChipEnergy:
    """Estimated energy inside the chip, in joules.

    Members
    -------
    buffers : float
        Words from memory into buffers and out of them.
    tables : float
        Filling product tables: for each of 16 entries a level read, a multiplication, a product written.
    lookups : float
        One product read a decoded weight.
    adders : float
        One addition a decoded weight, and one for each accumulation.
    accumulators : float
        Accumulators read and written.
    requantisation : float
        One multiplication an output.
    activations : float
        Activation lists.
    """

    buffers: float
    tables: float
    lookups: float
    adders: float
    accumulators: float
    requantisation: float
    activations: float

    @property
    def total(self) -> float:
        """Value of the sum."""
        return sum(getattr(self, field.name) for field in fields(self))

    def scaled(self, factor: float) -> OnChipEnergy:
        """All members times ``factor``."""
        return OnChipEnergy(**{name: value * factor for name, value in asdict(self).items()})

    def as_dict(self) -> dict[str, float]:
        """All members in joules, with ``total``, for JSON."""
        return {**asdict(self), "total": self.total}


def on_chip_counts(network: Network, x: np.ndarray, config: EngineConfig) -> OnChipCounts:
    """The operations that an engine does for each input, summed over the inputs.

    Parameters
    ----------
    network : Network
    x : int8 [batch, inputs] or int8 [inputs], packed order
    config : EngineConfig

    Returns
    -------
    OnChipCounts

    Raises
    ------
    InputError
        If ``x`` has another type or length.
    """
    x = np.atleast_2d(x)
    check_activations(x, network.inputs)
    layout = image_layout(network, config.bus_bytes)
    received = network.layer_inputs(x)
    active = [values != 0 for values in received]
    counts = {field.name: np.zeros(len(network.layers), np.int64) for field in fields(OnChipCounts)}
    for block in layout.blocks:
        words = np.repeat(block.feature_words, [segments.features for segments in block.classes])
        lanes = np.repeat([segments.kind.slots for segments in block.classes], [segments.features for segments in block.classes])
        fetched = active[block.layer] & (words > 0)
        segments_per_input = fetched @ lanes
        layer = block.layer
        counts["bytes"][layer] += config.bus_bytes * (int((fetched @ words).sum()) + len(x) * block.program_words)
        counts["lane_segments"][layer] += segments_per_input.sum()
        counts["weights"][layer] += segments_per_input.sum() * block.outputs
        rounds = np.maximum(-(-segments_per_input // config.lanes), 1)  # without an active feature, one round brings out the biases
        counts["sums"][layer] += rounds.sum() * block.outputs
        counts["outputs"][layer] += len(x) * block.outputs
        counts["activations"][layer] += np.count_nonzero(active[layer])
    for layer, values in enumerate(active[1:]):
        counts["activations"][layer] += np.count_nonzero(values)
    return OnChipCounts(**counts)


def on_chip_energy(counts: OnChipCounts, layer: int | None = None, table_entries: int = 16) -> OnChipEnergy:
    """The estimated energy of counted operations: of one layer, or of all.

    Parameters
    ----------
    counts : OnChipCounts
    layer : int or None
    table_entries : int
        Entries of a product table (``EngineConfig.levels``).
    """
    chosen = slice(None) if layer is None else slice(layer, layer + 1)
    count = {field.name: int(getattr(counts, field.name)[chosen].sum()) for field in fields(OnChipCounts)}
    half = REGISTER_FILE_32 / 2  # a 16-bit product
    entry = REGISTER_FILE_32 / 4 + MULTIPLY_8 + half
    picojoules = {
        "buffers": count["bytes"] / 4 * 2 * SRAM_32,
        "tables": count["lane_segments"] * table_entries * entry,
        "lookups": count["weights"] * half,
        "adders": (count["weights"] + count["sums"]) * ADD_32,
        "accumulators": count["sums"] * 2 * SRAM_32,
        "requantisation": count["outputs"] * MULTIPLY_32,
        "activations": count["activations"] * SRAM_32,
    }
    return OnChipEnergy(**{name: value * 1e-12 for name, value in picojoules.items()})

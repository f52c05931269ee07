"""What an image costs: the bus words a run must read, to the word, and where the image's bytes go."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..config import EngineConfig
from ..format import BLOCK_HEADER, CLASS_INFO, LEVEL_ENTRY, MAX_LEVELS, TABLE_BYTES
from ..network import Network, check_activations
from .layout import BlockLayout, ImageLayout, image_layout


@dataclass(frozen=True, eq=False)
class Traffic:
    """Bus words that runs read: predicted from the law, not counted.

    Members
    -------
    bus_bytes : int
    header_words : int
        Words of the image header, read once a run.
    program_words : int64 [layers]
        Descriptors, biases, multipliers and tables of each layer's blocks, read once a run.
    segment_words : int64 [batch, layers]
        Segments of the nonzero activations.
    fetched, skipped : int64 [batch, layers]
        Segments fetched and not fetched, summed over blocks; a dense8 feature is one segment, an empty class's is never fetched.
    """

    bus_bytes: int
    header_words: int
    program_words: np.ndarray
    segment_words: np.ndarray
    fetched: np.ndarray
    skipped: np.ndarray

    @property
    def layer_words(self) -> np.ndarray:
        """Value of the words of each layer, int64 [batch, layers]."""
        return self.program_words + self.segment_words

    @property
    def total_words(self) -> np.ndarray:
        """Value of the words of each run, int64 [batch]: the header and all layers."""
        return self.header_words + self.layer_words.sum(axis=1)

    @property
    def total_bytes(self) -> np.ndarray:
        """Value of the bytes of each run, int64 [batch]."""
        return self.total_words * self.bus_bytes


def predicted_traffic(network: Network, x: np.ndarray, config: EngineConfig) -> Traffic:
    """What the engine reads from memory for each input: header, descriptors, parameters, segments of nonzero activations.

    Parameters
    ----------
    network : Network
    x : int8 [batch, inputs] or int8 [inputs], packed order
    config : EngineConfig
        Its bus width counts.

    Returns
    -------
    Traffic

    Raises
    ------
    InputError
        If ``x`` has another type or length.
    """
    x = x[None] if isinstance(x, np.ndarray) and x.ndim == 1 else x
    check_activations(x, network.inputs)
    layout = image_layout(network, config.bus_bytes)
    shape = len(x), len(network.layers)
    segment_words, fetched, skipped = (np.zeros(shape, dtype=np.int64) for _ in range(3))
    program_words = np.zeros(shape[1], dtype=np.int64)
    active = [received != 0 for received in network.layer_inputs(x)]
    for block in layout.blocks:
        sizes = np.repeat(block.feature_words, [segments.features for segments in block.classes])
        program_words[block.layer] += block.program_words
        segment_words[:, block.layer] += active[block.layer] @ sizes
        hits = np.count_nonzero(active[block.layer] & (sizes > 0), axis=1)
        fetched[:, block.layer] += hits
        skipped[:, block.layer] += sizes.size - hits
    return Traffic(config.bus_bytes, layout.header_words, program_words, segment_words, fetched, skipped)


@dataclass(frozen=True)
class LayerSize:
    """Bytes of one layer in an image, without padding but for ``padding``.

    Members
    -------
    weights : int
        Outputs times features.
    segments, padding, level_tables, class_infos, descriptors, parameters, function : int
        Bytes: index codes (rounded up to bytes over the layer), zeros that fill words, sequences with their code tables,
        class addresses, block headers, biases with multipliers, the layer's table. All segments of a sparse class count as many bits as the longest.
    """

    weights: int
    segments: int
    padding: int
    level_tables: int
    class_infos: int
    descriptors: int
    parameters: int
    function: int

    @property
    def total(self) -> int:
        """Value of the bytes of the layer."""
        return self.segments + self.padding + self.level_tables + self.class_infos + self.descriptors + self.parameters + self.function

    @property
    def bits_per_weight(self) -> float:
        """Value of the bits a weight, everything of the layer included."""
        return 8 * self.total / self.weights


@dataclass(frozen=True)
class SizeReport:
    """Bytes of an image.

    Members
    -------
    header : int
        Bytes of the image header with its padding.
    layers : tuple of LayerSize
    host : int
        Bytes of the host section.
    """

    header: int
    layers: tuple[LayerSize, ...]
    host: int

    @property
    def image_bytes(self) -> int:
        """Value of the bytes of the image."""
        return self.header + sum(layer.total for layer in self.layers) + self.host

    @property
    def weights(self) -> int:
        """Value of the weights of the network."""
        return sum(layer.weights for layer in self.layers)

    @property
    def bits_per_weight(self) -> float:
        """Value of the image bits divided by the weights."""
        return 8 * self.image_bytes / self.weights

    def as_dict(self) -> dict[str, object]:
        """The report as plain numbers, for JSON."""
        layers = [{**asdict(layer), "total": layer.total, "bits_per_weight": layer.bits_per_weight} for layer in self.layers]
        return {
            "image_bytes": self.image_bytes,
            "weights": self.weights,
            "bits_per_weight": self.bits_per_weight,
            "header": self.header,
            "host": self.host,
            "layers": layers,
        }


def size_report(network: Network, config: EngineConfig) -> SizeReport:
    """Where the bytes of the network's image for this bus width go."""
    layout = image_layout(network, config.bus_bytes)
    layers = tuple(_layer_size(layout, number, layer.features * layer.outputs) for number, layer in enumerate(network.layers))
    return SizeReport(layout.header_words * layout.bus_bytes, layers, layout.host_bytes)


def _layer_size(layout: ImageLayout, number: int, weights: int) -> LayerSize:
    blocks = [block for block in layout.blocks if block.layer == number]
    slots = sum(block.slots for block in blocks)
    sizes = {
        "segments": -(-sum(_code_bits(block) for block in blocks) // 8),
        "level_tables": LEVEL_ENTRY.itemsize * MAX_LEVELS * slots,
        "class_infos": CLASS_INFO.itemsize * slots,
        "descriptors": BLOCK_HEADER.itemsize * len(blocks),
        "parameters": 2 * sum(block.outputs * (2 if block.mul_words else 1) for block in blocks),
        "function": TABLE_BYTES if any(block.function_words for block in blocks) else 0,
    }
    total = layout.bus_bytes * sum(block.program_words + block.segment_words for block in blocks)
    return LayerSize(weights=weights, padding=total - sum(sizes.values()), **sizes)


def _code_bits(block: BlockLayout) -> int:
    return sum(segments.features * segments.bits for segments in block.classes)

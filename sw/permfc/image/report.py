"""What a network consists of, layer by layer, in plain figures: behind ``permfc info`` and the plots."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass

from ..config import EngineConfig
from ..image import Cycles, LayerSize, SizeReport, predicted_cycles, size_report
from ..network import Kind, Layer, Network


@dataclass(frozen=True)
class LayerReport:
    """One layer.

    Members
    -------
    features, outputs, blocks : int
    classes : int
        Classes, the same in every block.
    kinds : dict of str to int
        Features by the kind of their class.
    levels : int
        Most values that the weights of a prefix or sparse class have, zero included; 0 if there is no such class.
    zero_weights : float
        Part of the weights that is zero, 0 to 1.
    relu, raw, table : bool
        What becomes of the sums, as in ``Layer``; ``table`` tells whether there is one.
    size : LayerSize
        Its bytes in an image.
    """

    features: int
    outputs: int
    blocks: int
    classes: int
    kinds: dict[str, int]
    levels: int
    zero_weights: float
    relu: bool
    raw: bool
    table: bool
    size: LayerSize

    def as_dict(self) -> dict[str, object]:
        """Everything by name, ready for JSON."""
        return {**asdict(self), "bits_per_weight": self.size.bits_per_weight}


@dataclass(frozen=True)
class NetworkReport:
    """A network, its image for one bus width, and its time on an engine.

    Members
    -------
    layers : tuple of LayerReport
    size : SizeReport
    bus_bits, lanes : int
        Of the engine.
    input_scale : float
    accumulator_bits : int
        Width that every partial sum fits.
    cycles : Cycles
        Predicted for one run on that engine in which no activation is zero.
    """

    layers: tuple[LayerReport, ...]
    size: SizeReport
    bus_bits: int
    lanes: int
    input_scale: float
    accumulator_bits: int
    cycles: Cycles

    @property
    def ratio(self) -> float:
        """Value of the bytes of the weights in float32 over the bytes of the image."""
        return 4 * self.size.weights / self.size.image_bytes

    def as_dict(self) -> dict[str, object]:
        """Everything by name, ready for JSON."""
        return {
            "inputs": self.layers[0].features,
            "outputs": self.layers[-1].outputs,
            "bus_bits": self.bus_bits,
            "lanes": self.lanes,
            "input_scale": self.input_scale,
            "accumulator_bits": self.accumulator_bits,
            "weights": self.size.weights,
            "image_bytes": self.size.image_bytes,
            "bits_per_weight": self.size.bits_per_weight,
            "ratio_to_float32": self.ratio,
            "predicted_cycles": int(self.cycles.total[0]),
            "limit": self.cycles.limit,
            "layers": [layer.as_dict() for layer in self.layers],
        }


def network_report(network: Network, config: EngineConfig) -> NetworkReport:
    """The figures of ``network``, packed for the engine ``config``."""
    sizes = size_report(network, config)
    layers = tuple(_layer_report(layer, size) for layer, size in zip(network.layers, sizes.layers, strict=True))
    return NetworkReport(
        layers, sizes, config.bus_bits, config.lanes, network.input_steps.scale, network.accumulator_bits, predicted_cycles(network, None, config))


def _layer_report(layer: Layer, size: LayerSize) -> LayerReport:
    kinds: Counter[str] = Counter()
    for segments in layer.classes:
        kinds[segments.kind.value] += segments.features
    levels = [
        segments.levels.size + (segments.kind is Kind.SPARSE)
        for classes in layer.blocks for segments in classes if segments.kind in (Kind.PREFIX, Kind.SPARSE)
    ]
    return LayerReport(
        features=layer.features,
        outputs=layer.outputs,
        blocks=len(layer.blocks),
        classes=len(layer.classes),
        kinds=dict(kinds),
        levels=max(levels, default=0),
        zero_weights=1 - sum(segments.nonzeros() for classes in layer.blocks for segments in classes) / (layer.features * layer.outputs),
        relu=layer.relu,
        raw=layer.raw,
        table=layer.table is not None,
        size=size,
    )

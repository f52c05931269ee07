"""The figures of one network stored one way."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from permfc.compression.targets import percent_right
from permfc.config import EngineConfig
from permfc.image import size_report
from permfc.image.layout import image_layout
from permfc.image.traffic import predicted_traffic
from permfc.importers.float_network import FloatNetwork
from permfc.network import Network

from .peers import Stored
from .problems import Problem

CONFIG = EngineConfig(bus_bits=16, block_outputs=2048, features=4096)
"""The engine that images are packed for: the narrowest bus wastes least."""

TRAFFIC_SAMPLES = 1000
FLOAT_BITS = 32
BIAS_BITS = 16  # of peers: as many as in a permfc image


@dataclass(frozen=True)
class Figures:
    """What was found; the mean over inferences where there are several.

    Members
    -------
    float_accuracy, accuracy : float or None
        Percent of the test samples that are right, of the float network and of this one; None if there are no labels.
    output_error : float or None
        Squared error of the outputs over the squares of the float network's outputs without bias; None if there are labels.
    weights : int
    bits : float
        Everything that is stored for the layers.
    float_bits : int
        Weights and biases in float32.
    bytes_all, bytes_skipping : float
        Bytes an inference reads: everything, and without the weights of zero activations. Modelled.
    note : str
        What was chosen, and how.
    """

    float_accuracy: float | None
    accuracy: float | None
    output_error: float | None
    weights: int
    bits: float
    float_bits: int
    bytes_all: float
    bytes_skipping: float
    note: str = ""

    @property
    def bits_per_weight(self) -> float:
        """Value of all bits over the number of weights."""
        return self.bits / self.weights

    @property
    def ratio(self) -> float:
        """Value of how many times smaller than float32."""
        return self.float_bits / self.bits

    @property
    def drop(self) -> float | None:
        """Value of the points of accuracy lost against the float network."""
        return None if self.accuracy is None else self.float_accuracy - self.accuracy

    def as_dict(self) -> dict[str, object]:
        """Everything by name, ready for JSON."""
        return {**asdict(self), "bits_per_weight": self.bits_per_weight, "ratio": self.ratio, "drop": self.drop}


def float_accuracy(problem: Problem) -> float | None:
    """Percent of the test samples that the float network has right; None without labels."""
    return None if problem.labels is None else percent_right(problem.network.predict(problem.test), problem.labels)


def measure_stored(problem: Problem, layers: list[Stored], bias_bits: int = BIAS_BITS, note: str = "") -> Figures:
    """The figures of a peer's layers; activations stay float32."""
    network = with_weights(problem, [layer.weights for layer in layers])
    received = network.layer_inputs(problem.test[:TRAFFIC_SAMPLES])[:-1]
    biases = bias_bits * sum(layer.outputs for layer in network)
    total = sum(layer.bits for layer in layers) + biases
    read = sum(_bits_read(layer, x) for layer, x in zip(layers, received, strict=True)) + biases
    return _figures(problem, network.predict(problem.test), total, total / 8, read / 8, note)


def _bits_read(layer: Stored, x: np.ndarray) -> float:
    """Mean bits read for inputs ``x`` float32 [batch, N], those of zeros skipped."""
    return layer.shared_bits + float(((x != 0) @ (layer.input_bits + layer.pointer_bits)).mean())


def measure_image(problem: Problem, network: Network, note: str = "") -> Figures:
    """The figures of a compressed network: accuracy of the integer golden model, size of its image, traffic by the law of the format."""
    x = network.quantise(problem.test)
    results = network.compute(x).astype(np.float32) * network.output_scale
    read = predicted_traffic(network, x[:TRAFFIC_SAMPLES], CONFIG).total_bytes.mean()
    everything = image_layout(network, CONFIG.bus_bytes).host_offset
    return _figures(problem, results, 8 * size_report(network, CONFIG).image_bytes, everything, read, note)


def median(figures: list[Figures]) -> Figures:
    """The figures with the median accuracy, or for output errors their median and the mean of the rest."""
    if figures[0].output_error is None:
        return sorted(figures, key=lambda each: each.accuracy)[(len(figures) - 1) // 2]
    means = {name: float(np.mean([getattr(each, name) for each in figures])) for name in ("bits", "bytes_all", "bytes_skipping")}
    return replace(figures[0], output_error=float(np.median([each.output_error for each in figures])), **means)


def with_weights(problem: Problem, weights: list[np.ndarray]) -> FloatNetwork:
    """The network with other weights; where outputs are compared, its biases take off the mean error on the calibration data, as permfc's do."""
    layers = [replace(layer, weight=weight) for layer, weight in zip(problem.network, weights, strict=True)]
    if problem.labels is None:
        means = [x.mean(axis=0) for x in problem.network.layer_inputs(problem.calibration)]
        layers = [replace(layer, bias=layer.bias + (old.weight - layer.weight) @ mean)
                  for layer, old, mean in zip(layers, problem.network, means, strict=False)]
    return FloatNetwork(tuple(layers))


def _figures(problem: Problem, results: np.ndarray, bits: float, bytes_all: float, bytes_skipping: float, note: str) -> Figures:
    network = problem.network
    parameters = network.weight_count + sum(layer.outputs for layer in network)
    accuracy = error = None
    if problem.labels is None:
        wanted = network.predict(problem.test)
        error = output_error(network, results, wanted)
    else:
        accuracy = percent_right(results, problem.labels)
    return Figures(float_accuracy(problem), accuracy, error, network.weight_count, float(bits), FLOAT_BITS * parameters,
                   float(bytes_all), float(bytes_skipping), note)


def output_error(network: FloatNetwork, results: np.ndarray, wanted: np.ndarray) -> float:
    """Squared error of results [T, outputs] over the squares of the wanted ones without the bias."""
    return float(np.square(results - wanted).sum() / np.square(wanted - network.layers[-1].bias).sum())

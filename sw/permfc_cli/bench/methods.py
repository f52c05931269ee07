"""The rows of the benchmark: each method makes the figures of a problem."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from permfc.compression.compress import compress
from permfc.compression.targets import percent_right

from .deep_compression import deep_compression, pruned
from .gptq import gptq
from .measure import (
    BIAS_BITS,
    CONFIG,
    FLOAT_BITS,
    Figures,
    float_accuracy,
    measure_image,
    measure_stored,
    output_error,
    with_weights,
)
from .peers import PEERS
from .problems import Problem

RATES = (1.0, 1.5, 2.0, 2.5, 3.0)  # bits a weight, after training
ALLOWED_DROP = 0.5     # points of accuracy that pruning may cost
ALLOWED_ERROR = 0.05   # of the outputs' power, where there are no labels
_QUALITIES = np.append(np.arange(20, 6, -1) / 2, np.arange(30, -1, -1) / 10)  # pruning thresholds in standard deviations, the strongest first


@dataclass(frozen=True)
class Method:
    """A row of the table.

    Members
    -------
    name, title : str
    run : function (Problem) -> Figures
    """

    name: str
    title: str
    run: Callable[[Problem], Figures]


def _peer(name: str, problem: Problem) -> Figures:
    store = PEERS[name][1]
    stored = [store(layer.weight) for layer in problem.network]
    return measure_stored(problem, stored, FLOAT_BITS if name == "float32" else BIAS_BITS)


def _gptq(bits: int, problem: Problem) -> Figures:
    received = problem.network.layer_inputs(problem.calibration)[:-1]
    return measure_stored(problem, [gptq(layer.weight, x, bits) for layer, x in zip(problem.network, received, strict=True)])


def _deep_compression(problem: Problem) -> Figures:
    """The strongest pruning whose loss on the test samples is allowed, with all that follows it."""
    for quality in _QUALITIES:
        weights = [pruned(layer.weight, quality) for layer in problem.network]
        if quality and not _allowed(problem, weights):
            continue  # shared values would not make it better
        stored = [deep_compression(layer.weight, quality) for layer in problem.network]
        if not quality or _allowed(problem, [layer.weights for layer in stored]):
            break
    kept = sum(np.count_nonzero(layer.weights) for layer in stored) / problem.network.weight_count
    return measure_stored(problem, stored, note=f"{kept:.1%} of the weights kept: below {quality:.1f} standard deviations of a layer dropped")


def _allowed(problem: Problem, weights: list[np.ndarray]) -> bool:
    results = with_weights(problem, weights).predict(problem.test)
    if problem.labels is None:
        return output_error(problem.network, results, problem.network.predict(problem.test)) <= ALLOWED_ERROR
    return float_accuracy(problem) - percent_right(results, problem.labels) <= ALLOWED_DROP


def _permfc(bits: float, problem: Problem) -> Figures:
    network = compress(problem.network, bits, problem.calibration, engine=CONFIG)
    return measure_image(problem, network)


METHODS = {method.name: method for method in (
    *(Method(name, title, partial(_peer, name)) for name, (title, _) in PEERS.items()),
    *(Method(f"gptq-int{bits}", f"GPTQ int{bits} group 64", partial(_gptq, bits)) for bits in (3, 2)),
    Method("deep-compression", "pruned, Huffman", _deep_compression),
    *(Method(f"permfc-{bits:g}", f"permfc {bits:g} bits", partial(_permfc, bits)) for bits in RATES),
)}
"""By name, in the order of the table."""

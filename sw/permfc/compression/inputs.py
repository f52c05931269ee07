"""Steps and offsets of a network's inputs: errors of rounded inputs against errors of rounded levels, and against the bytes that steps take.

A fine step rounds an input well, but makes its weights large beside those of others, and all int8 levels of a layer have one unit. For errors
of inputs, ``step**2 / 12`` times the energy of the input's weights, and of levels, ``unit**2 / 12`` times the input's variance over
``step**2``, the best steps are proportional to ``sqrt(spread / weight)``, where the range of the input allows it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..format import STEP_OCTAVE
from ..importers.float_network import FloatLayer, FloatNetwork
from ..network import InputSteps
from .overhead import step_bits
from .scaling import coded_error, row_scales
from .statistics import Statistics, believed_share, clip_peak, importance

_STEPS = 127.0
_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # of the largest input, at which a common step may clip
_GRID = 24               # common factors of the best steps that are tried
_MOST_COARSENING = 16.0  # an input keeps at least 127 / 16 steps
_TOP_LEVEL = 4.0         # of the root mean square of a column: hardly any level is larger
_OFTEN_ZERO = 0.01       # of the samples: an input that is exactly 0 more often stays 0, for zeros cost no reads
_MOST_ZERO = 2.0 ** 15 - 1
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class _Model:
    """What errors in the inputs of a layer cost.

    Members
    -------
    matters : float64 [N]
        Squared error of the results for a squared error in all weights of an input, whose steps are 1, in the units of scaled rows.
    energy : float64 [N]
        Squared error of the results for a squared error of an input.
    top : float64 [N]
        The largest level that an input's weights take in scaled rows, if its step is 1.
    outputs : int
    """

    matters: np.ndarray
    energy: np.ndarray
    top: np.ndarray
    outputs: int

    @classmethod
    def of(cls, layer: FloatLayer, statistics: Statistics, real_samples: int) -> _Model:
        matters = importance(statistics, np.ones(layer.inputs), real_samples)
        scaled = layer.weight / row_scales(layer.weight, matters, statistics.sensitivity)[:, None].astype(np.float32)
        usual = np.sqrt(np.square(scaled, dtype=np.float64).mean(axis=0))
        energy = statistics.sensitivity @ np.square(layer.weight, dtype=np.float64)
        return cls(matters, energy, np.minimum(np.abs(scaled).max(axis=0), _TOP_LEVEL * usual), layer.outputs)

    def error(self, steps: np.ndarray) -> float:
        """Squared error of the results by rounding of inputs and of levels, for the ``steps`` [N] of inputs."""
        unit = (self.top * steps).max() / _STEPS
        levels = self.outputs * unit ** 2 * (self.matters / np.square(steps)).sum()
        return float((np.square(steps) @ self.energy + levels) / 12.0)

    def best_steps(self, finest: np.ndarray) -> np.ndarray:
        """The steps of least error that are not below ``finest`` [N], float64 [N]."""
        weighty = (self.energy > 0) & (self.matters > 0)
        if not weighty.any():
            return finest
        shape = np.where(weighty, self.matters / np.where(weighty, self.energy, 1.0), 0.0) ** 0.25
        ratios = (finest / np.maximum(shape, _TINY))[weighty]
        trials = [np.clip(factor * shape, finest, _MOST_COARSENING * finest) for factor in np.geomspace(ratios.min(), ratios.max(), _GRID)]
        return min(trials, key=self.error)

    def error_a_bit(self, bits: float) -> float:
        """Squared error of the results that a bit of the image is worth, when weights have ``bits`` bits."""
        weights = self.outputs * len(self.energy)
        return 2.0 * np.log(2.0) * coded_error(bits) * float(self.matters @ self.energy) / weights


def choose_input_steps(layer: FloatLayer, x: np.ndarray, statistics: Statistics, real_samples: int, bits: float,
                       most_stored: float = np.inf) -> InputSteps:
    """One step for all inputs, or a step for each, or a step and an offset for each: whichever is worth its bytes.

    Parameters
    ----------
    layer : FloatLayer
        The first layer.
    x : float32 [S, N]
        Calibration data, or made-up samples, which get one step.
    statistics : Statistics
    real_samples : int
        Real samples in ``x``; 0 if they were made up.
    bits : float
        Bits a weight of the layer, about.
    most_stored : float
        Most bits that steps and offsets may take.
    """
    model = _Model.of(layer, statistics, real_samples)
    common = _common_step(x, model.energy, real_samples)
    best, least = InputSteps(common), model.error(np.full(layer.inputs, common)) + _clipping(x, common, model.energy)
    if not real_samples:
        return best
    for with_zeros in (False, True):
        steps = _own_steps(x, model, common, with_zeros)
        stored = step_bits(steps, layer.inputs)
        cost = model.error(steps.steps(layer.inputs)) + stored * model.error_a_bit(bits)
        if cost < least and stored <= most_stored:
            best, least = steps, cost
    return best


def _common_step(x: np.ndarray, energy: np.ndarray, real_samples: int) -> float:
    """The one step for all inputs with the least error of rounding and clipping."""
    largest = float(np.abs(x).max())
    if largest <= 0:
        return 1.0 / _STEPS
    margin = 1.0 + 1.0 / np.sqrt(real_samples) if real_samples else 1.0
    trials = [largest * clip / _STEPS for clip in _CLIPS]
    return margin * min(trials, key=lambda step: _clipping(x, step, energy) + step ** 2 / 12.0 * energy.sum())


def _clipping(x: np.ndarray, step: float, energy: np.ndarray) -> float:
    """Squared error of the results by clipping of inputs."""
    beyond = np.maximum(np.abs(x) - np.float32(step * _STEPS), 0.0)
    return float(np.square(beyond).mean(axis=0, dtype=np.float64) @ energy)


def _own_steps(x: np.ndarray, model: _Model, common: float, with_zeros: bool) -> InputSteps:
    """A step for each input and, if wanted, an offset for those that are rarely exactly 0."""
    centre = np.zeros(x.shape[1])
    if with_zeros:
        moved = (x == 0).mean(axis=0) <= _OFTEN_ZERO
        centre[moved] = (0.5 * (x.min(axis=0).astype(np.float64) + x.max(axis=0)))[moved]
    trust = believed_share(len(x))
    reach = clip_peak((x - centre).astype(np.float32)) * (1.0 + 1.0 / np.sqrt(len(x)))
    finest = trust * reach / _STEPS + (1.0 - trust) * common
    finest = np.maximum(finest, np.abs(centre) / _MOST_ZERO)
    steps = model.best_steps(finest)
    scale = InputSteps(steps.min()).scale
    exponents = np.clip(np.ceil(STEP_OCTAVE * np.log2(steps / scale) - 1e-6), 0, 255).astype(np.uint8)
    zeros = np.rint(centre / (scale * np.exp2(exponents / STEP_OCTAVE))).astype(np.int16)
    return InputSteps(scale, exponents, zeros if zeros.any() else None)


def without_offsets(network: FloatNetwork, x: np.ndarray, steps: InputSteps) -> tuple[FloatNetwork, np.ndarray]:
    """The same network for inputs whose offsets are taken off, which goes into the first bias, and the samples ``x`` [S, N] without them."""
    if steps.zeros is None:
        return network, x
    offsets, first = steps.offsets(network.inputs), network.layers[0]
    bias = first.bias + first.weight.astype(np.float64) @ offsets
    moved = FloatLayer(first.weight, bias.astype(np.float32), first.function, first.name)
    return FloatNetwork((moved, *network.layers[1:]), network.notes), (x - offsets).astype(np.float32)

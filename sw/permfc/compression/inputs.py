"""Steps and offsets of a network's inputs: errors of rounded inputs against errors of rounded levels and against bytes.

A coarse step rounds its input badly. A fine one makes the weights of its input small beside those of others, and as all
int8 levels of a layer have one unit, small levels are rounded badly. The error of an input is ``step**2 / 12`` times the
energy of its weights, that of its levels ``unit**2 / 12`` times its variance over ``step**2``. The sum is least for steps
that are proportional to the root of the input's spread over the size of its weights, where its range allows them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..format import STEP_OCTAVE
from ..importers.float_network import FloatLayer, FloatNetwork
from ..network import InputSteps
from .overhead import step_bits
from .scaling import coded_error, row_scales
from .statistics import Statistics, believed_share, clip_peak, hidden_margin, importance, shifted

_STEPS = 127.0
_CLIPS = (1.0, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2)  # of the largest input, where a common step may clip
_GRID = 24               # common factors of the best steps that are tried
_MOST_COARSENING = 16.0  # an input keeps at least 127 / 16 steps
_TOP_LEVEL = 4.0         # of the root mean square of a column: hardly any level is larger
_OFTEN_ZERO = 0.01       # of the samples: an input that is exactly 0 more often stays 0, as zeros cost no reads
_MOST_ZERO = 2.0 ** 15 - 1
_TINY = 1e-30


@dataclass(frozen=True, eq=False)
class _Model:
    """What errors in the inputs of a layer cost.

    Members
    -------
    matters : float64 [N]
        Squared error of the results for a squared error of 1 in all weights of an input, for a step of 1 and scaled rows.
    energy : float64 [N]
        Squared error of the results for a squared error of an input.
    top : float64 [N]
        The largest level that an input's weights take in scaled rows, if its step is 1.
    outputs : int
    bits : float
        Of a weight.
    """

    matters: np.ndarray
    energy: np.ndarray
    top: np.ndarray
    outputs: int
    bits: float

    @classmethod
    def of(cls, layer: FloatLayer, statistics: Statistics, samples: int, bits: float) -> _Model:
        matters = importance(statistics, np.ones(layer.inputs), samples)
        rows = row_scales(layer.weight, matters, statistics.sensitivity)
        scaled = layer.weight / rows[:, None].astype(np.float32)
        usual = np.sqrt(np.square(scaled, dtype=np.float64).mean(axis=0))
        energy = statistics.sensitivity @ np.square(layer.weight, dtype=np.float64)
        return cls(matters, energy, np.minimum(np.abs(scaled).max(axis=0), _TOP_LEVEL * usual), layer.outputs, bits)

    @property
    def coded(self) -> float:
        """Value of the squared error of the results by coding of weights."""
        return coded_error(self.bits) * float(self.matters @ self.energy)

    def rounding(self, steps: np.ndarray) -> float:
        """Squared error of the results by rounding of inputs and of levels, for inputs of ``steps`` [N]."""
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
        factors = np.geomspace(ratios.min(), ratios.max(), _GRID)
        return min((np.clip(factor * shape, finest, _MOST_COARSENING * finest) for factor in factors), key=self.rounding)

    def cost(self, steps: InputSteps) -> float:
        """Squared error of the results, and what the bits are worth that the steps take."""
        inputs = len(self.energy)
        error_a_bit = 2.0 * np.log(2.0) * self.coded / (self.outputs * inputs)
        return self.coded + self.rounding(steps.steps(inputs)) + step_bits(steps, inputs) * error_a_bit


def choose_input_steps(layer: FloatLayer, x: np.ndarray, statistics: Statistics, real_samples: int, bits: float,
                       most_stored: float = np.inf) -> InputSteps:
    """One step for all inputs, a step for each, or a step and an offset for each: whichever is worth its bytes.

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
    if not real_samples:
        return InputSteps(float(np.abs(x).max()) / _STEPS)
    model = _Model.of(layer, statistics, real_samples, bits)
    common = _common_step(x, model.energy)
    best = InputSteps(common)
    least = model.cost(best) + _clipping(x, common, model.energy)
    for centre in (np.zeros(layer.inputs), _centre(x)):
        model = _Model.of(layer, shifted(statistics, centre), real_samples, bits)
        steps = _own_steps(x, model, common, centre)
        cost = model.cost(steps)
        if cost < least and step_bits(steps, layer.inputs) <= most_stored:
            best, least = steps, cost
    return best


def _common_step(x: np.ndarray, energy: np.ndarray) -> float:
    """The one step for all inputs with the least error of rounding and clipping."""
    largest = float(np.abs(x).max())
    if largest <= 0:
        return 1.0 / _STEPS
    trials = [largest * clip / _STEPS for clip in _CLIPS]
    return hidden_margin(len(x), real=True) * min(trials, key=lambda step: _clipping(x, step, energy) + step ** 2 / 12.0 * energy.sum())


def _clipping(x: np.ndarray, step: float, energy: np.ndarray) -> float:
    """Squared error of the results by clipping of inputs."""
    beyond = np.maximum(np.abs(x) - np.float32(step * _STEPS), 0.0)
    return float(np.square(beyond, dtype=np.float64).mean(axis=0) @ energy)


def _centre(x: np.ndarray) -> np.ndarray:
    """The middle of the range of each input, float64 [N]; 0 for those that are often exactly 0, and when samples are few."""
    if believed_share(len(x)) < 0.5:  # an input that seems constant may not be
        return np.zeros(x.shape[1])
    often = (x == 0).mean(axis=0) > _OFTEN_ZERO
    return np.where(often, 0.0, 0.5 * (x.min(axis=0).astype(np.float64) + x.max(axis=0)))


def _own_steps(x: np.ndarray, model: _Model, common: float, centre: np.ndarray) -> InputSteps:
    """A step for each input whose offset is about ``centre`` [N]."""
    own = clip_peak((x - centre).astype(np.float32)) * hidden_margin(len(x), real=True) / _STEPS
    finest = common * (np.where(own > 0, own, common) / common) ** believed_share(len(x))
    steps = model.best_steps(np.maximum(finest, np.abs(centre) / _MOST_ZERO))
    scale = InputSteps(steps.min()).scale
    exponents = np.clip(np.ceil(STEP_OCTAVE * np.log2(steps / scale) - 1e-6), 0, 255).astype(np.uint8)
    zeros = np.rint(centre / (scale * np.exp2(exponents / STEP_OCTAVE))).astype(np.int16)
    return InputSteps(scale, exponents, zeros if zeros.any() else None)


def without_offsets(network: FloatNetwork, samples: Sequence[np.ndarray | None],
                    steps: InputSteps) -> tuple[FloatNetwork, Sequence[np.ndarray | None]]:
    """The network for inputs without their offsets, which go into the first bias, and ``samples`` [S, N] without them."""
    if steps.zeros is None:
        return network, samples
    offsets = steps.offsets(network.inputs)
    centred = tuple(None if x is None else (x - offsets).astype(np.float32) for x in samples)
    return FloatNetwork((network.layers[0].for_inputs_less(offsets), *network.layers[1:]), network.notes), centred

"""Functions between layers as tables: what the integers before and behind a function stand for, and which result each of them gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..format import TABLE_BYTES
from ..functions import Function
from ..importers.float_network import FloatLayer, FloatNetwork
from .statistics import hidden_margin

_ENTRIES = np.roll(np.arange(-128, 128), -128)  # the integer before the function of each entry: 0..127, then -128..-1
_SEARCHES = np.linspace(0.05, 0.95, 19), np.linspace(-0.04, 0.04, 9)  # how far an end of a range is moved inwards, in parts of the widest
_MOST_VALUES = 1 << 12  # that ranges are tried on
_WEIGHT_ERROR = 0.45    # of weights at no bits: what remains after b bits is this times 4 ** -b, over the results' power (docs/compression.md)
_LEAST_ERROR = 7e-5     # of weights in int8
_LEAST_RANGE = 1e-6     # of the values' magnitude, so that a constant has a range, too

_Offset = Callable[[np.ndarray], float]
_OFFSETS: tuple[_Offset, ...] = (  # what a result of 0 may stand for, from the function's values by entry
    lambda exact: 0.0,
    lambda exact: float(exact[128]),  # the function at the low end of its range, and at the high end: asymptotes, where there are any
    lambda exact: float(exact[127]),
    lambda exact: float(exact.min() + exact.max()) / 2.0,
)


@dataclass(frozen=True, eq=False)
class Table:
    """A function in integers.

    Members
    -------
    values : int8 [256]
        As in ``Layer.table``.
    before, centre : float
        An integer q in front of the function stands for centre + q * before. 0 if every output has a step of its own, which
        works for homogeneous functions, with the same step behind the function.
    after, offset : float
        A result r stands for offset + r * after; 0 for steps of their own.
    """

    values: np.ndarray
    before: float = 0.0
    centre: float = 0.0
    after: float = 0.0
    offset: float = 0.0

    @property
    def common(self) -> bool:
        """Value of whether all outputs have the same step."""
        return self.before > 0

    def results(self, x: np.ndarray) -> np.ndarray:
        """The integers behind the function, int8 [...], for float x [...] in front of it."""
        return self.values[np.clip(np.rint((x - self.centre) / self.before), -128, 127).astype(np.int64) % TABLE_BYTES]


def without_factors(network: FloatNetwork) -> FloatNetwork:
    """The network with factors behind its functions in the weights in front of them, so that a factor behind a ReLU takes no table."""
    layers = []
    for layer in network:
        function, gain = layer.function.normalised()
        layers.append(FloatLayer(gain * layer.weight, gain * layer.bias, function, layer.name))
    return replace(network, layers=tuple(layers))


def with_tables(network: FloatNetwork, samples: np.ndarray, real: bool,
                rates: Sequence[float]) -> tuple[FloatNetwork, list[Table | None]]:
    """Choose a table for every layer whose function needs one.

    Parameters
    ----------
    network : FloatNetwork
    samples : float32 [S, inputs]
    real : bool
        Whether the samples are calibration data rather than made up.
    rates : sequence of float
        About how many bits a weight each layer gets.

    Returns
    -------
    network : FloatNetwork
        With the same results: what the tables take from the functions' values is in the biases of the following layers.
    tables : list of Table or None
        One item a layer; None where no table is needed.
    """
    if not any(layer.function.needs_table for layer in network):
        return network, [None] * len(network)
    layers: list[FloatLayer] = []
    tables: list[Table | None] = []
    margin, offset = hidden_margin(len(samples), real), 0.0
    for number, layer in enumerate(network):
        following = network.layers[number + 1] if number + 1 < len(network) else None
        layer = layer.for_inputs_less(offset)
        sums = layer.sums(samples)
        table = _table(layer.function, _widened(sums, margin), following, rates[min(number + 1, len(rates) - 1)])
        offset = table.offset if table else 0.0
        layers.append(replace(layer, function=layer.function.less(offset)))
        tables.append(table)
        samples = layers[-1].function(sums)
    return replace(network, layers=tuple(layers)), tables


def _widened(sums: np.ndarray, margin: float) -> np.ndarray:
    """Sums that are ``margin`` times as far from their median, for samples that are still to come."""
    middle = float(np.median(sums))
    return middle + float(margin) * (sums - middle)


def _table(function: Function, sums: np.ndarray, following: FloatLayer | None, rate: float) -> Table | None:
    if not function.needs_table:
        return None
    if function.homogeneous:
        return Table(_rounded(function(_ENTRIES.astype(np.float64))))
    weight = np.ones(sums.shape[1]) if following is None else np.square(following.weight, dtype=np.float64).sum(axis=0)
    return best_table(function, sums, weight, error_price(rate), offsets=following is not None)


def error_price(bits: float) -> float:
    """The share of a layer's traffic that a unit of relative error in its inputs is worth, if its weights have so many bits.

    Traffic is bits times nonzero inputs, and with it 4 ** -bits times the error of the weights can be bought.
    """
    weights = max(_WEIGHT_ERROR * 4.0 ** -bits, _LEAST_ERROR)
    return 1.0 / (weights * 2.0 * np.log(2.0) * bits)


def best_table(function: Function, sums: np.ndarray, weight: np.ndarray, price: float, offsets: bool) -> Table:
    """The table that costs least in error and in the following layer's traffic.

    Parameters
    ----------
    function : Function
    sums : float [S, M]
        What the layer gives to the function.
    weight : float [M]
        How much a squared error of each result counts; not negative.
    price : float
        Share of the following layer's traffic that a unit of relative squared error is worth.
    offsets : bool
        Whether results may have an offset.
    """
    values, weight = _drawn(sums, weight)
    wanted = function(values)
    spread = max(float(weight @ np.square(wanted - weight @ wanted)), 1e-30)

    def error(table: Table) -> float:
        return float(weight @ np.square(table.results(values) * table.after + table.offset - wanted)) / spread

    def cost(table: Table) -> float:
        return round(np.count_nonzero(table.results(values)) / len(values) + price * error(table), 3)  # of equals, the plainest

    return min((_over(function, *_best_range(function, values, offset, error), offset) for offset in (_OFFSETS if offsets else _OFFSETS[:1])),
               key=cost)


def _drawn(sums: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Some of the values, float64, and the share of each in the error; the extremes are among them."""
    weight = weight if weight.any() else np.ones_like(weight)
    flat = sums.reshape(-1)
    drawn = np.arange(flat.size) if flat.size <= _MOST_VALUES else np.random.default_rng(0).integers(flat.size, size=_MOST_VALUES)
    drawn = np.concatenate([drawn, [flat.argmin(), flat.argmax()]])
    shares = weight[drawn % len(weight)]
    return flat[drawn].astype(np.float64), shares / max(shares.sum(), 1e-30)


def _best_range(function: Function, values: np.ndarray, offset: _Offset, error: Callable[[Table], float]) -> tuple[float, float]:
    """The range of integers in front of the function that makes the least error: one end is chosen, then the other, then both again."""
    least, most = float(values.min()), float(values.max())
    low, high = least, most
    for inwards in _SEARCHES:
        moves = inwards * (most - least)
        lows = [low, *np.clip(low + moves, least, high).tolist()]
        low = min(lows, key=lambda end: error(_over(function, end, high, offset)))
        highs = [high, *np.clip(high - moves, low, most).tolist()]
        high = min(highs, key=lambda end: error(_over(function, low, end, offset)))
    return low, high


def _over(function: Function, low: float, high: float, choose: _Offset) -> Table:
    """The table for integers that stand for ``low`` to ``high``."""
    before = max(high - low, _LEAST_RANGE * max(abs(low), abs(high), 1.0)) / 255.0
    centre = low + 128.0 * before
    exact = function(centre + _ENTRIES * before)
    offset = choose(exact)
    after = float(np.abs(exact - offset).max()) / 127.0 or 1.0
    return Table(_rounded((exact - offset) / after), before, centre, after, offset)


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), -128, 127).astype(np.int8)

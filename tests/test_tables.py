"""Functions between layers in compression: errors, steps, offsets, ranges, sizes, and the arithmetic done a second time."""

from __future__ import annotations

import numpy as np
import pytest

from permfc import functions
from permfc.compression.compress import compress
from permfc.compression.overhead import Storage
from permfc.compression.scaling import scale_layers
from permfc.compression.statistics import measure
from permfc.compression.tables import Table, best_table, error_price, with_tables, without_factors
from permfc.config import EngineConfig
from permfc.errors import ModelError
from permfc.functions import IDENTITY, RELU, Function
from permfc.image import pack
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import InputSteps, Network

pytestmark = pytest.mark.usefixtures("short_search")

DENSE = {"first": "dense8", "second": "dense8"}
FACTOR = Function("Relu-Mul", lambda x: 0.5 * np.maximum(x, 0))
FUNCTIONS = [functions.TANH, functions.SIGMOID, functions.GELU, functions.GELU_TANH, functions.SILU, functions.HARD_SWISH, functions.hard_sigmoid(),
             functions.leaky_relu(0.1), functions.elu(), functions.selu(), functions.SOFTPLUS, functions.RELU6, functions.clip(-1, 1),
             functions.clip(-np.inf, 0), FACTOR, Function("Abs", np.abs)]


def chain(function: Function, last: Function = IDENTITY, shift: float = 0.0, scale: float = 1.0) -> FloatNetwork:
    """32-64-10 with the function between, whose values are about normal, ``scale`` times as large and moved by ``shift``."""
    rng = np.random.default_rng(0)
    first, second = rng.standard_normal((64, 32)) * scale / np.sqrt(32), rng.standard_normal((10, 64)) / 8
    return FloatNetwork((FloatLayer(first, 0.1 * rng.standard_normal(64) + shift, function, "first"),
                         FloatLayer(second, 0.1 * rng.standard_normal(10), last, "second")))


def samples(count: int = 64, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, 32)).astype(np.float32)


def error(network: FloatNetwork, compressed: Network, x: np.ndarray) -> float:
    """Root mean square of the error over that of the results."""
    wanted = network.predict(x)
    return float(np.sqrt(np.square(wanted - compressed.predict(x)).mean() / np.square(wanted).mean()))


def computed_again(network: Network, x: np.ndarray) -> list[int]:
    """The results for int8 x [features], in Python's integers, from the format's text."""
    values = x.tolist()
    for layer in network.layers:
        sums = [int(bias) + sum(int(w) * value for w, value in zip(row, values, strict=True))
                for row, bias in zip(layer.weights(), layer.bias, strict=True)]
        if layer.raw:
            return sums
        values = [min(max((total * int(mul) + 2 ** (layer.shift - 1)) // 2 ** layer.shift, 0 if layer.relu else -128), 127)
                  for total, mul in zip(sums, layer.mul, strict=True)]
        if layer.table is not None:
            values = [int(layer.table[value if value >= 0 else 256 + value]) for value in values]
    return values


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.name)
def test_each_function_between_dense_layers(function):
    network, x = chain(function), samples()
    compressed = compress(network, 40.0, x, per_layer=DENSE)
    assert error(network, compressed, x) <= 0.02
    assert error(network, compressed, samples(500, 2)) <= 0.025
    assert (compressed.layers[0].table is None) == (function in (functions.RELU6, FACTOR))
    quantised = compressed.quantise(x[:3])
    assert compressed.compute(quantised).tolist() == [computed_again(compressed, row) for row in quantised]


def test_three_layers_with_different_functions():
    rng = np.random.default_rng(3)
    layers = [FloatLayer(rng.standard_normal((m, n)) / np.sqrt(n), np.zeros(m), function, name) for m, n, function, name in
              ((40, 32, functions.GELU, "a"), (40, 40, functions.SIGMOID, "b"), (30, 40, functions.leaky_relu(0.3), "c"), (10, 30, IDENTITY, "d"))]
    network = FloatNetwork(tuple(layers))
    compressed = compress(network, 40.0, samples(200), per_layer=dict.fromkeys("abcd", "dense8"))
    assert error(network, compressed, samples(500, 2)) <= 0.03


def test_without_calibration_ranges_have_a_margin():
    network = chain(functions.TANH)
    x = np.clip(0.5 * samples(), -1, 1)
    assert error(network, compress(network, 40.0, per_layer=DENSE), x) < 0.06


def test_a_table_costs_its_bits_and_nothing_else():
    table = 8 * 256 / chain(RELU).weight_count
    rivals = [error(chain(function), compress(chain(function), bits, samples(300)), samples(500, 2))
              for function, bits in ((RELU, 7.0), (functions.TANH, 7.0 + table))]
    assert rivals[1] < 1.3 * rivals[0]


# --- steps, offsets and ranges ------------------------------------------------------------------------------------------------------------


def steps(network: FloatNetwork, x: np.ndarray) -> tuple[np.ndarray, Table | None]:
    """Steps of the hidden features, and the table in front of them."""
    network, tables = with_tables(without_factors(network), x, True, [2.5, 2.5])
    statistics = measure(network, x, real=True)
    return scale_layers(network, statistics, tables, [Storage(512, 32)] * 2, InputSteps(0.05), [2.5, 2.5], len(x))[1].steps, tables[0]


def test_leaky_relu_keeps_a_step_for_every_feature():
    network = chain(functions.leaky_relu(0.25))
    found, table = steps(network, samples())
    assert len(np.unique(found)) > 32
    assert not table.common
    assert table.values[:128].tolist() == list(range(128))
    assert table.values[128:].tolist() == np.rint(0.25 * np.arange(-128, 0)).tolist()


def test_range_in_front_of_leaky_relu_counts():
    """Features that are negative nearly always must not be clipped at their results' small peak."""
    network = chain(functions.leaky_relu(0.1), shift=-4.0)
    assert error(network, compress(network, 40.0, samples(), per_layer=DENSE), samples(500, 2)) < 0.07


def test_common_step_is_that_of_the_table():
    found, table = steps(chain(functions.TANH), samples())
    assert table.common
    assert np.unique(found).tolist() == [table.after]


def test_offset_is_folded_exactly():
    network, x = chain(functions.SIGMOID), samples()
    folded, (table, none) = with_tables(network, x, True, [8.0, 8.0])
    assert none is None
    assert 0.3 < table.offset < 0.7
    np.testing.assert_allclose(folded.predict(x), network.predict(x), atol=1e-6)
    np.testing.assert_allclose(folded.layer_inputs(x)[1], network.layer_inputs(x)[1] - table.offset, atol=1e-6)


@pytest.mark.parametrize(("function", "asymptote"), [(functions.GELU, 0.0), (functions.elu(), -1.0), (functions.SIGMOID, 0.0)],
                         ids=["GELU", "ELU", "Sigmoid"])
def test_results_at_an_asymptote_become_zero(function, asymptote):
    network, x = chain(function, shift=-6.0, scale=3.0), samples(300)
    _, (table, _) = with_tables(network, x, True, [2.5, 2.5])
    near = np.abs(network.layer_inputs(x)[1] - asymptote) < 1e-3
    results = table.results(network.layers[0].sums(x))
    assert near.mean() > 0.2
    assert not results[near].any()
    assert results.any()


def test_zeros_are_worth_more_where_weights_have_few_bits():
    assert error_price(2.5) < error_price(4.0) < error_price(8.0)
    values = np.random.default_rng(0).standard_normal((500, 20))
    few, many = (best_table(functions.GELU, values, np.ones(20), error_price(bits), offsets=True) for bits in (2.0, 8.0))
    assert abs(few.offset) < few.after / 2
    assert many.offset > 0.5
    assert many.after < few.after


@pytest.mark.parametrize(("function", "low", "high", "expected"), [
    (functions.TANH, -40.0, 40.0, (-6.0, 6.0)),      # what saturates needs no range
    (functions.GELU, -30.0, 5.0, (-6.0, 7.0)),
    (functions.SIGMOID, 2.0, 4.0, (1.9, 4.1)),       # a range that is not centred
])
def test_range_is_where_the_function_changes(function, low, high, expected):
    table = best_table(function, np.random.default_rng(0).uniform(low, high, (1000, 10)), np.ones(10), 20.0, offsets=True)
    assert expected[0] < table.centre - 128 * table.before < table.centre + 127 * table.before < expected[1]


def test_constant_values_have_a_table():
    table = best_table(functions.TANH, np.full((5, 3), 0.7), np.ones(3), 20.0, offsets=True)
    assert table.results(np.array([0.7]))[0] * table.after + table.offset == pytest.approx(np.tanh(0.7), abs=1e-4)


def test_relu6_clamps_exactly():
    network = chain(functions.RELU6, scale=4.0)
    x = samples()
    found, table = steps(network, x)
    reached = network.layer_inputs(x)[1].max(axis=0) >= 6
    assert table is None
    assert 10 < reached.sum() < 64
    assert (found[reached] == 6 / 127).all()
    assert (found <= 6 / 127).all()
    compressed = compress(network, 40.0, x, per_layer=DENSE)
    clamped = network.layers[0].sums(x) > 6.3
    hidden = compressed.layer_inputs(compressed.quantise(x))[1]
    assert (np.sort((hidden == 127).sum(axis=0)) >= np.sort((clamped & reached).sum(axis=0))).all()
    assert error(network, compressed, x) <= 0.02


# --- the last layer, sizes, engines ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("last", [functions.SIGMOID, functions.TANH, functions.leaky_relu(0.2), functions.clip(0, 1)], ids=lambda last: last.name)
def test_function_at_the_end(last):
    network, x = chain(RELU, last), samples()
    compressed = compress(network, 40.0, x, per_layer=DENSE)
    assert not compressed.layers[-1].raw
    assert (compressed.layers[-1].table is None) == last.is_rectifier
    assert error(network, compressed, x) <= 0.025
    if last.clamp or last is functions.SIGMOID:
        assert 0 <= compressed.predict(3 * x).min() <= compressed.predict(3 * x).max() <= 1 + 1e-6


@pytest.mark.parametrize("bus_bits", [16, 512])
def test_tables_count_in_the_size(bus_bits):
    network, engine = chain(functions.TANH), EngineConfig(bus_bits=bus_bits)
    image = pack(compress(network, 9.0, samples(200), engine), engine)
    assert 0.93 * 9.0 < 8 * len(image) / network.weight_count <= 9.0
    with_one, without = (Storage(512, bus_bits, table=table).header_bits(64, 3) for table in (True, False))
    assert with_one - without == 8 * 256


def test_same_input_same_image():
    images = [pack(compress(chain(functions.GELU), 40.0, samples(), per_layer=DENSE), EngineConfig()) for _ in range(2)]
    assert images[0] == images[1]


def test_an_engine_without_tables():
    engine = EngineConfig(tables=False)
    with pytest.raises(ModelError, match=r"Layer first has the function Tanh, which takes a table, and the engine has tables=False: take an engine"):
        compress(chain(functions.TANH), 40.0, samples(), engine)
    for function in (FACTOR, functions.RELU6):
        assert pack(compress(chain(function), 40.0, samples(), engine, per_layer=DENSE), engine)


def test_a_function_that_is_not_finite_is_refused():
    with pytest.raises(ModelError, match="Function Log of .* is nan"):
        compress(chain(Function("Log", np.log)), 8.0, samples())

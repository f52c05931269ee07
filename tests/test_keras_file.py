"""Keras files give the graphs that Keras itself would run."""

from __future__ import annotations

import json
from math import erf

import h5py
import numpy as np
import onnxruntime
import pytest

from importer_cases import B1, B2, W1, W2, X
from keras_files import (
    called,
    called_2,
    functional,
    layer,
    run,
    sequential,
    softmax,
    source,
    write_h5,
    write_keras,
    write_pair,
)
from permfc.functions import RELU
from permfc.importers import load_graph, load_model
from permfc.importers.keras_file import keras_to_onnx

RNG = np.random.default_rng(1)


pytestmark = pytest.mark.usefixtures("no_trial")


DENSE_1, DENSE_2 = {"kernel": W1.T, "bias": B1}, {"kernel": W2.T, "bias": B2}
GAMMA, BETA, MEAN, ALPHA = (RNG.standard_normal(6).astype(np.float32) for _ in range(4))
VARIANCE = RNG.uniform(0.5, 2, 6).astype(np.float32)
NORM = {"gamma": GAMMA, "beta": BETA, "moving_mean": MEAN, "moving_variance": VARIANCE}


def first(**config) -> dict:
    return layer("Dense", "fc1", **({"units": 6, "activation": "linear", "use_bias": True} | config))


def second(**config) -> dict:
    return layer("Dense", "fc2", **({"units": 3, "activation": "linear", "use_bias": True} | config))


CHAIN = sequential(
    source("x", 4),
    first(activation="relu"),
    layer("BatchNormalization", "norm", axis=-1, epsilon=1e-3),
    layer("Dropout", "drop", rate=0.5),
    layer("PReLU", "slope", shared_axes=None),
    second(activation="softmax"),
)
CHAIN_VARIABLES = {"fc1": DENSE_1, "norm": NORM, "slope": {"alpha": ALPHA}, "fc2": DENSE_2}


def chain_result():
    h = (np.maximum(X @ W1.T + B1, 0) - MEAN) / np.sqrt(VARIANCE + 1e-3) * GAMMA + BETA
    return softmax(np.where(h > 0, h, h * ALPHA) @ W2.T + B2)


def test_a_chain_from_every_kind_of_file(tmp_path):
    write_keras(tmp_path / "a.keras", CHAIN, CHAIN_VARIABLES)
    write_h5(tmp_path / "a.h5", CHAIN, CHAIN_VARIABLES)
    write_h5(tmp_path / "old.hdf5", CHAIN, CHAIN_VARIABLES, "2.4.0")
    pairs = [
        *write_pair(tmp_path, "pair", CHAIN, CHAIN_VARIABLES),
        *write_pair(tmp_path, "new", CHAIN, CHAIN_VARIABLES, 3),
    ]
    for path in (tmp_path / "a.keras", tmp_path / "a.h5", tmp_path / "old.hdf5", *pairs):
        np.testing.assert_allclose(run(path, X)[0], chain_result(), atol=1e-5)
    np.testing.assert_allclose(
        onnxruntime.InferenceSession(
            keras_to_onnx(pairs[0], tmp_path / "new.weights.h5").SerializeToString()
        ).run(None, {"x": X})[0],
        chain_result(),
        atol=1e-5,
    )


def test_names_of_inputs_outputs_and_layers(tmp_path):
    model, name = load_graph(write_keras(tmp_path / "a.keras", CHAIN, CHAIN_VARIABLES))
    assert name == str(tmp_path / "a.keras")
    values = [
        (value.name, [size.dim_param or size.dim_value for size in value.type.tensor_type.shape.dim])
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert values == [("x", ["batch", 4]), ("fc2", ["batch", 3])]
    assert (model.ir_version, model.opset_import[0].version) == (9, 20)
    assert [node.input[1] for node in model.graph.node if node.op_type == "Gemm"] == [
        "fc1.weight",
        "fc2.weight",
    ]


def test_a_chain_is_a_float_network(tmp_path):
    path = write_keras(
        tmp_path / "a.keras", sequential(source("x", 4), first(activation="relu"), second()), CHAIN_VARIABLES
    )
    network = load_model(path)
    assert [entry.name for entry in network] == ["fc1", "fc2"] and network.layers[0].function == RELU
    np.testing.assert_allclose(network.predict(X), np.maximum(X @ W1.T + B1, 0) @ W2.T + B2, atol=1e-5)


SQUARE = RNG.standard_normal((4, 4)).astype(np.float32)
INNER_BIAS = RNG.standard_normal(4).astype(np.float32)
BRANCHED_VARIABLES = {
    "shared": {"kernel": SQUARE},
    "deep": {"kernel": SQUARE.T, "bias": INNER_BIAS},
    "fc1": DENSE_1,
}


def branched(call, first_of_inner: int) -> dict:
    """Two inputs, a layer and a model that are called twice each, two outputs."""
    inner = sequential(
        source("inner_x", 4), layer("Dense", "deep", units=4, activation="tanh", use_bias=True), name="inner"
    ) | {"name": "inner"}
    shared = layer("Dense", "shared", units=4, activation="linear", use_bias=False)
    one, two = ("inner", first_of_inner, 0), ("inner", first_of_inner + 1, 0)
    layers = [
        source("a", 4),
        source("b", 4),
        call(inner, [("shared", 0, 0)], [("shared", 1, 0)]),
        call(shared, [("a", 0, 0)], [("b", 0, 0)]),
        call(layer("Add", "sum"), [one, two, ("a", 0, 0)]),
        call(layer("Concatenate", "joined", axis=-1), [one, ("b", 0, 0)]),
        call(first(activation="relu"), [("sum", 0, 0)]),
    ]
    if call is called_2:
        layers[:2] = ({key: value for key, value in entry.items() if key != "module"} for entry in layers[:2])
    return functional(layers, [["a", 0, 0], ["b", 0, 0]], [["fc1", 0, 0], ["joined", 0, 0]])


@pytest.mark.parametrize(
    ("call", "offset", "write"),
    [(called, 0, write_keras), (called, 0, write_h5), (called_2, 1, write_h5), (called_2, 0, write_h5)],
    ids=["Keras 3", "Keras 3 h5", "Keras 2", "Keras 2 counting from 0"],
)
def test_branches_shared_layers_and_models_within(tmp_path, call, offset, write):
    version = {} if call is called else {"version": "2.2.4"}
    path = write(
        tmp_path / ("a.keras" if write is write_keras else "a.h5"),
        branched(call, offset),
        BRANCHED_VARIABLES,
        **version,
    )
    a, b = X, X[::-1].copy()
    one, two = (np.tanh(x @ SQUARE @ SQUARE.T + INNER_BIAS) for x in (a, b))
    out, joined = run(path, a, b)
    np.testing.assert_allclose(out, np.maximum((one + two + a) @ W1.T + B1, 0), atol=1e-5)
    np.testing.assert_allclose(joined, np.concatenate([one, b], axis=1), atol=1e-5)


@pytest.mark.parametrize(("picked", "doubled"), [(1, False), (2, True)])
def test_results_of_an_inner_functional_model_count_from_one(tmp_path, picked, doubled):
    """So does Keras 3, only there; with two calls of which one is a result it matters which."""
    inner = functional(
        [source("u", 4), called(layer("Dense", "shared", units=4, use_bias=False), [("u", 0, 0)])],
        [["u", 0, 0]],
        [["shared", 0, 0]],
        "inner",
    ) | {"name": "inner"}
    layers = [
        source("a", 4),
        called(inner, [("a", 0, 0)], [("inner", 0, 0)]),
        called(layer("Add", "sum"), [("inner", 0, 0), ("inner", 1, 0)]),
    ]
    model = functional(layers, [["a", 0, 0]], [["inner", picked, 0], ["sum", 0, 0]])
    once = X @ SQUARE
    result, total = run(write_keras(tmp_path / "a.keras", model, BRANCHED_VARIABLES), X)
    np.testing.assert_allclose(result, once @ SQUARE if doubled else once, atol=1e-5)
    np.testing.assert_allclose(total, once + once @ SQUARE, atol=1e-4)


ACTIVATIONS = {
    "relu": lambda x: np.maximum(x, 0),
    "relu6": lambda x: np.clip(x, 0, 6),
    "tanh": np.tanh,
    "sigmoid": lambda x: 1 / (1 + np.exp(-x)),
    "softmax": softmax,
    "gelu": lambda x: x * (1 + np.vectorize(erf)(x / np.sqrt(2))) / 2,
    "elu": lambda x: np.where(x > 0, x, np.expm1(x)),
    "selu": lambda x: 1.05070098 * np.where(x > 0, x, 1.67326324 * np.expm1(x)),
    "silu": lambda x: x / (1 + np.exp(-x)),
    "swish": lambda x: x / (1 + np.exp(-x)),
    "softplus": lambda x: np.log1p(np.exp(x)),
    "softsign": lambda x: x / (1 + np.abs(x)),
    "hard_sigmoid": lambda x: np.clip(x / 6 + 0.5, 0, 1),
    "hard_silu": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "leaky_relu": lambda x: np.where(x > 0, x, 0.2 * x),
    "exponential": np.exp,
    "linear": lambda x: x,
    "mish": lambda x: x * np.tanh(np.log1p(np.exp(x))),
    "log_softmax": lambda x: np.log(softmax(x)),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activations_by_name(tmp_path, name):
    path = write_keras(
        tmp_path / "a.keras", sequential(source("x", 4), first(activation=name)), CHAIN_VARIABLES
    )
    np.testing.assert_allclose(run(path, X)[0], ACTIVATIONS[name](X @ W1.T + B1), atol=1e-4, rtol=1e-5)


def test_hard_sigmoid_of_keras_2_has_another_slope(tmp_path):
    path = write_h5(
        tmp_path / "a.h5",
        sequential(source("x", 4), first(activation="hard_sigmoid")),
        CHAIN_VARIABLES,
        "2.4.0",
    )
    np.testing.assert_allclose(run(path, X)[0], np.clip(0.2 * (X @ W1.T + B1) + 0.5, 0, 1), atol=1e-5)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        (
            layer("ReLU", "a", max_value=1.0, negative_slope=0.2, threshold=0.5),
            lambda x: np.where(x > 0.5, np.minimum(x, 1), 0.2 * np.minimum(x - 0.5, 0)),
        ),
        (
            layer("ReLU", "a", max_value=None, negative_slope=0.2, threshold=0),
            lambda x: np.where(x > 0, x, 0.2 * x),
        ),
        (layer("ReLU", "a", max_value=6.0), lambda x: np.clip(x, 0, 6)),
        (layer("LeakyReLU", "a", alpha=0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
        (layer("LeakyReLU", "a", negative_slope=0.4), lambda x: np.where(x > 0, x, 0.4 * x)),
        (layer("ELU", "a", alpha=0.7), lambda x: np.where(x > 0, x, 0.7 * np.expm1(x))),
        (layer("ThresholdedReLU", "a", theta=0.5), lambda x: np.where(x > 0.5, x, 0)),
        (layer("Softmax", "a", axis=-1), softmax),
        (
            layer(
                "Activation",
                "a",
                activation={
                    "module": "keras.layers",
                    "class_name": "LeakyReLU",
                    "config": {"negative_slope": 0.3},
                },
            ),
            lambda x: np.where(x > 0, x, 0.3 * x),
        ),
        (
            layer(
                "Activation",
                "a",
                activation={"module": "keras.activations", "class_name": "function", "config": "tanh"},
            ),
            np.tanh,
        ),
        (layer("GaussianNoise", "a", stddev=1.0), lambda x: x),
        (layer("Rescaling", "a", scale=0.5, offset=[1, 2, 3, 4, 5, 6]), lambda x: 0.5 * x + np.arange(1, 7)),
        (
            layer("Normalization", "a", axis=-1, invert=False, mean=None, variance=None),
            lambda x: (x - MEAN) / np.sqrt(VARIANCE),
        ),
        (layer("Normalization", "a", axis=None, mean=2.0, variance=4.0), lambda x: (x - 2) / 2),
        (
            layer("LayerNormalization", "a", axis=-1, epsilon=1e-3),
            lambda x: (
                (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-3) * MEAN + VARIANCE
            ),
        ),
        (layer("Reshape", "a", target_shape=[2, -1]), lambda x: x.reshape(-1, 2, 3)),
        (layer("Flatten", "a", data_format="channels_last"), lambda x: x),
    ],
    ids=lambda value: value["class_name"] if isinstance(value, dict) else "",
)
def test_layers(tmp_path, entry, expected):
    own = {
        "Normalization": {"mean": MEAN, "variance": VARIANCE, "count": np.int64(0)},
        "LayerNormalization": {"gamma": MEAN, "beta": VARIANCE},
    }
    variables = CHAIN_VARIABLES | {"a": own.get(entry["class_name"], {})}
    path = write_keras(tmp_path / "a.keras", sequential(source("x", 4), first(), entry), variables)
    np.testing.assert_allclose(run(path, X)[0], expected(X @ W1.T + B1), atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("Subtract", np.subtract),
        ("Multiply", np.multiply),
        ("Average", lambda a, b: (a + b) / 2),
        ("Maximum", np.maximum),
        ("Minimum", np.minimum),
    ],
)
def test_merges(tmp_path, kind, expected):
    layers = [
        source("x", 4),
        called(layer("Dense", "shared", units=4, use_bias=False), [("x", 0, 0)]),
        called(layer(kind, "both"), [("x", 0, 0), ("shared", 0, 0)]),
    ]
    path = write_keras(
        tmp_path / "a.keras", functional(layers, ["x", 0, 0], ["both", 0, 0]), BRANCHED_VARIABLES
    )
    np.testing.assert_allclose(run(path, X)[0], expected(X, X @ SQUARE), atol=1e-5)


def test_tokens_and_integers(tmp_path):
    """More dimensions than two, free ones, and inputs that are no floats."""
    path = write_keras(
        tmp_path / "a.keras",
        sequential(source("x", None, 4), first(activation="tanh"), layer("BatchNormalization", "norm")),
        CHAIN_VARIABLES,
    )
    tokens = RNG.integers(0, 9, (2, 5, 4)).astype(np.float32)
    expected = (np.tanh(tokens @ W1.T + B1) - MEAN) / np.sqrt(VARIANCE + 1e-3) * GAMMA + BETA
    np.testing.assert_allclose(run(path, tokens)[0], expected, atol=1e-5)
    integers = layer("InputLayer", "x", batch_shape=[None, 4])
    integers["config"]["dtype"] = "uint8"
    path = write_keras(tmp_path / "c.keras", sequential(integers, first()), CHAIN_VARIABLES)
    np.testing.assert_allclose(
        run(path, np.uint8([[1, 2, 3, 250]]))[0], np.float32([[1, 2, 3, 250]]) @ W1.T + B1, rtol=1e-5
    )


def test_shapes_of_inputs_that_stand_elsewhere(tmp_path):
    """In the first layer as Keras 2 writes it, as a bare list of layers, and beside the layers of Keras 3."""
    model = sequential(first(batch_input_shape=[None, 4]), second())
    bare = model | {"config": model["config"]["layers"]}
    write_pair(tmp_path, "bare", model, CHAIN_VARIABLES)
    (tmp_path / "bare.json").write_text(json.dumps(bare), encoding="utf-8")
    built = sequential(first(), second())
    built["config"]["build_input_shape"] = [2, 4]
    expected = (X @ W1.T + B1) @ W2.T + B2
    for path in (tmp_path / "bare.json", write_keras(tmp_path / "a.keras", built, CHAIN_VARIABLES)):
        np.testing.assert_allclose(run(path, X)[0], expected, atol=1e-5)


def test_weights_whose_names_fill_several_attributes(tmp_path):
    path = write_h5(tmp_path / "a.h5", CHAIN, CHAIN_VARIABLES)
    with h5py.File(path, "r+") as file:
        group = file["model_weights/norm"]
        names = group.attrs["weight_names"]
        del group.attrs["weight_names"]
        group.attrs["weight_names0"], group.attrs["weight_names1"] = names[:2], names[2:]
    np.testing.assert_allclose(run(path, X)[0], chain_result(), atol=1e-5)

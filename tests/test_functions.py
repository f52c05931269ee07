"""Pointwise functions: their values against torch's, derivatives, factors taken out, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

from permfc import functions
from permfc.errors import ModelError
from permfc.functions import IDENTITY, RELU, Function

X = np.concatenate([np.linspace(-30, 30, 601), np.linspace(-3, 3, 601), [0.0, 1e-6, -1e-6]]).astype(np.float32)
TORCH = {  # the function, and torch's with its arguments
    "tanh": (functions.TANH, {}),
    "sigmoid": (functions.SIGMOID, {}),
    "gelu": (functions.GELU, {}),
    "gelu, tanh": (functions.GELU_TANH, {"approximate": "tanh"}),
    "silu": (functions.SILU, {}),
    "hardswish": (functions.HARD_SWISH, {}),
    "hardsigmoid": (functions.hard_sigmoid(1 / 6, 0.5), {}),
    "leaky_relu": (functions.leaky_relu(0.2), {"negative_slope": 0.2}),
    "elu": (functions.elu(0.7), {"alpha": 0.7}),
    "selu": (functions.selu(), {}),
    "softplus": (functions.SOFTPLUS, {}),
    "relu6": (functions.RELU6, {}),
    "hardtanh": (functions.clip(-1, 1), {}),
    "relu": (RELU, {}),
}


@pytest.mark.parametrize("name", TORCH)
def test_values_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    function, arguments = TORCH[name]
    wanted = getattr(torch.nn.functional, name.split(",")[0])(torch.from_numpy(X), **arguments).numpy()
    assert function(X).dtype == np.float32
    np.testing.assert_allclose(function(X), wanted, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("name", TORCH)
def test_slopes_are_those_of_torch(name):
    torch = pytest.importorskip("torch")
    function, arguments = TORCH[name]
    x = torch.from_numpy(X[np.abs(np.abs(X[:, None]) - [0, 1, 3, 6]).min(axis=1) > 0.01]).requires_grad_()  # not at an edge
    getattr(torch.nn.functional, name.split(",")[0])(x, **arguments).sum().backward()
    np.testing.assert_allclose(function.slope(x.detach().numpy()), x.grad.numpy(), atol=1e-3)


def test_error_function():
    from math import erf

    x = np.linspace(-5, 5, 1001)
    np.testing.assert_allclose(functions.erf(x), [erf(value) for value in x], atol=2e-7)


@pytest.mark.parametrize(("function", "plain", "gain"), [
    (Function("Relu-Mul", lambda x: 0.5 * np.maximum(x, 0)), RELU, 0.5),
    (Function("Mul", lambda x: 3.0 * x), IDENTITY, 3.0),
    (functions.clip(0, 6), functions.clip(0, 6), 1.0),
    (functions.TANH, functions.TANH, 1.0),
    (functions.leaky_relu(4.0), Function("", lambda x: np.where(x > 0, x / 4, x)), 4.0),
    (Function("Relu-Neg", lambda x: -np.maximum(x, 0)), Function("", lambda x: -np.maximum(x, 0)), 1.0),
    (Function("Abs", np.abs), Function("", np.abs), 1.0),
    (Function("zero", np.zeros_like), Function("", np.zeros_like), 1.0),
], ids=lambda value: getattr(value, "name", ""))
def test_factors_are_taken_out(function, plain, gain):
    found, factor = function.normalised()
    assert factor == pytest.approx(gain)
    assert (found.is_identity, found.is_rectifier) == (plain.is_identity, plain.is_rectifier)
    np.testing.assert_allclose(found(X), plain(X), rtol=1e-6)


def test_two_straight_lines_are_homogeneous_and_others_are_not():
    assert Function("Abs", np.abs).normalised()[0].homogeneous
    assert functions.leaky_relu(0.1).normalised()[0].homogeneous
    for bent in (functions.elu(), functions.clip(-1, 1), Function("Add", lambda x: x + 1), Function("Clip-Mul", lambda x: 2 * np.clip(x, 0, 6))):
        assert not bent.normalised()[0].homogeneous
        assert bent.normalised()[0].needs_table


def test_offset_is_taken_off():
    np.testing.assert_allclose(functions.SIGMOID.less(0.5)(X), functions.SIGMOID(X) - 0.5, atol=1e-7)
    assert RELU.less(0.0) is RELU
    assert RELU.less(1.0).needs_table


def test_a_value_that_is_not_finite_is_refused():
    with pytest.raises(ModelError, match=r"Function Log of -1 is nan: a function between layers must be finite for everything"):
        Function("Log", np.log)(np.array([2.0, -1.0], dtype=np.float32))

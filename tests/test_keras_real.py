"""Keras files against networks that others trained, and against Keras itself where it is installed."""

from __future__ import annotations

import os

import h5py
import numpy as np
import pytest

from keras_files import run, softmax
from permfc.importers import load_model

RNG = np.random.default_rng(1)
pytestmark = pytest.mark.usefixtures("no_trial")


def test_real_jet_tagger(data_folder):
    """A network of Keras 2 of which a user reported that his tool cannot synthesise it."""
    folder = data_folder / "keras"
    x = RNG.standard_normal((9, 16)).astype(np.float32)
    h, names = x, ["fc1_relu", "fc2_relu", "fc3_relu", "fc4_relu", "fc5_relu", "output_softmax"]
    with h5py.File(folder / "dense_16x200x5_weights.h5") as file:
        for name in names:
            h = h @ file[f"{name}/{name}/kernel:0"][()] + file[f"{name}/{name}/bias:0"][()]
            h = softmax(h) if name == names[-1] else np.maximum(h, 0)
    for name in ("dense_16x200x5.json", "dense_16x200x5_weights.h5"):
        np.testing.assert_allclose(run(folder / name, x)[0], h, atol=1e-6)
    assert [entry.name for entry in load_model(folder / "dense_16x200x5.json")] == names


def test_against_keras_itself(tmp_path):
    os.environ.setdefault("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="keras is not installed: pip install keras")
    x = keras.Input((8,), name="x")
    inner = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(6, "gelu"), keras.layers.BatchNormalization()], name="inner"
    )
    h = inner(keras.layers.Dense(6, "relu")(x))
    model = keras.Model(
        x,
        [
            keras.layers.Dense(3, "softmax")(
                keras.layers.PReLU()(keras.layers.Concatenate()([h, inner(h), x]))
            ),
            h,
        ],
    )
    for variable in model.weights:
        variable.assign(
            RNG.uniform(0.2, 1, variable.shape)
            * RNG.choice([1, -1] if "variance" not in variable.name else [1], variable.shape)
        )
    data = RNG.standard_normal((5, 8)).astype(np.float32)
    expected = [keras.ops.convert_to_numpy(result) for result in model(data)]
    (tmp_path / "pair.json").write_text(model.to_json(), encoding="utf-8")
    model.save_weights(tmp_path / "pair.weights.h5")
    for name in ("a.keras", "a.h5", "pair.json"):
        if name[0] == "a":
            model.save(tmp_path / name)
        for found, wanted in zip(run(tmp_path / name, data), expected, strict=True):
            np.testing.assert_allclose(found, wanted, atol=1e-5)

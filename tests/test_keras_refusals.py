"""Keras files that cannot be read: one sentence that names the file, the layer and the cure, and nothing
executed or blown up."""

from __future__ import annotations

import json
import sys
import zipfile

import h5py
import numpy as np
import pytest

from importer_cases import B1, W1, damaged
from keras_files import (
    called,
    called_2,
    functional,
    layer,
    sequential,
    source,
    write_h5,
    write_keras,
    write_pair,
)
from permfc.errors import ModelError, ToolError
from permfc.importers import keras_weights
from permfc.importers.keras_file import keras_to_onnx

_SURVIVE = keras_weights.survive

FC = layer("Dense", "fc", units=6, activation="linear", use_bias=True)
WEIGHTS = {"fc": {"kernel": W1.T, "bias": B1}}
MODEL = sequential(source("x", 4), FC)
CURE = r"export the model to ONNX with model\.export\(format='onnx'\) or tf2onnx$"


pytestmark = pytest.mark.usefixtures("no_trial")


def behind(*entries: dict) -> dict:
    return sequential(source("x", 4), FC, *entries)


@pytest.mark.parametrize(
    ("model", "text"),
    [
        (
            behind(
                layer("Lambda", "odd", function={"class_name": "__lambda__", "config": {"code": "4wEAAAA="}})
            ),
            r"^Layer 'odd' of .*a\.keras is a Lambda layer, whose Python code is never executed: " + CURE,
        ),
        (
            behind(layer("Mine", "odd") | {"module": "shop", "registered_name": "shop>Mine"}),
            r"Layer 'odd' of .* is of class Mine, which is not Keras's own: ",
        ),
        (
            behind(layer("Dense", "odd") | {"registered_name": "shop>Dense"}),
            r"is of class Dense, which is not Keras's own",
        ),
        (
            behind(layer("Relu", "odd") | {"module": "keras.src.ops.nn"}),
            r"is of class Relu, which is not Keras's own",
        ),
        (
            behind(layer("LSTM", "memory", units=3)),
            r"^Layer 'memory' of .*a\.keras is a LSTM layer, which is not read from Keras files: " + CURE,
        ),
        (behind(layer("Conv2D", "conv", filters=3)), r"Layer 'conv' of .* is a Conv2D layer"),
        (
            behind(layer("Activation", "a", activation="glu")),
            r"Layer 'a' of .* is a Activation with the activation 'glu', which is none of elu, ",
        ),
        (
            behind(
                layer(
                    "Activation", "a", activation={"class_name": "function", "module": "shop", "config": "f"}
                )
            ),
            r"with an activation of class 'function'",
        ),
        (
            {"class_name": "Mine", "module": "shop", "config": {}},
            r"a\.keras describes a model of class 'Mine', not one of Sequential, Functional, Model: ",
        ),
        ([], r"describes a model of class \[\]"),
        (sequential(), r"is damaged, it has no layers: save the model again with Keras$"),
        (behind(FC), r"two of its layers have the same name"),
        (sequential(FC), r"does not tell the shape of its input: build it with keras\.Input before saving"),
        (sequential(source("x", -4), FC), r"its input 'x' has shape \[None, -4\]"),
        (
            sequential(layer("InputLayer", "x", batch_shape=[None, 4], dtype="string"), FC),
            r"Input 'x' of .* takes 'string'",
        ),
        (
            sequential(source("x", None), FC),
            r"Layer 'fc' of .* is a Dense whose input's size is not in the file",
        ),
        (
            sequential(source("x", 4), layer("Dense", "fc", units=-1)),
            r"Layer 'fc' of .*, a Dense, has -1 units and inputs of shape \[None, 4\]",
        ),
        (
            sequential(source("x", 4), layer("Dense", "fc", units=6, use_bias=0)),
            r"has use_bias 0, which must be true or false",
        ),
        (
            sequential(source("x", 4), layer("Dense", "fc", units=6, lora_rank=2)),
            r"is a Dense with quantised or low-rank weights",
        ),
        (
            sequential(source("x", 5), FC),
            r"Kernel of layer 'fc' in .* has shape \[4, 6\], but the model's description needs \[5, 6\]",
        ),
        (
            sequential(source("x", 4), layer("Dense", "fc", units=10**9)),
            r"has shape \[4, 6\], but the model's description needs \[4, 1000000000\]",
        ),
        (
            sequential(source("x", 4), layer("Dense", "fc", units=6, use_bias=False)),
            r"has 2 arrays for layer 'fc', whose description needs 1 \(kernel\)",
        ),
        (behind(layer("LeakyReLU", "a", alpha="much")), r"has alpha 'much', which must be a number"),
        (behind(layer("Softmax", "a", axis=2)), r"works along dimension 2 of 2"),
        (behind(layer("Softmax", "a", axis=[0, 1])), r"is a Softmax along the dimensions \[0, 1\]"),
        (behind(layer("Reshape", "a", target_shape=[4, 2])), r"makes \[4, 2\] of \[6\]"),
        (behind(layer("Reshape", "a", target_shape="no")), r"has target_shape 'no'"),
        (
            functional([source("x", 4), called(FC, [("x", 0, 0)])], ["x", 0, 0], ["fc", 1, 0]),
            r"layer 'fc' has no such result",
        ),
        (
            functional([source("x", 4), called(FC, [("y", 0, 0)])], ["x", 0, 0], ["fc", 0, 0]),
            r"it takes results of call 0 of layer 'y', which there is not",
        ),
        (
            functional([source("x", 4), called(FC, [("fc", 0, 0)])], ["x", 0, 0], ["fc", 0, 0]),
            r"its layers depend on one another in a circle",
        ),
        (
            functional([source("x", 4), called(FC, [("x", 0, 0)], mask=[1])], ["x", 0, 0], ["fc", 0, 0]),
            r"Layer 'fc' of .* is called with mask=\[1\]",
        ),
        (
            functional(
                [source("x", 4), called(layer("Dropout", "d"), [("x", 0, 0)], training=True)],
                ["x", 0, 0],
                ["d", 0, 0],
            ),
            r"called with training=True",
        ),
        (
            functional([source("x", 4), called(FC, [("x", 0, 0)])], [], ["fc", 0, 0]),
            r"it has no input_layers",
        ),
        (
            functional(
                [source("x", 4), FC | {"inbound_nodes": [{"args": [2.0], "kwargs": {}}]}],
                ["x", 0, 0],
                ["fc", 0, 0],
            ),
            r"is called with something that is no tensor",
        ),
        (
            functional(
                [
                    source("x", 4),
                    called_2(FC, [("x", 0, 0)], [("x", 0, 0)]),
                    called_2(layer("Add", "s"), [("fc", 0, 0), ("x", 0, 0)]),
                ],
                ["x", 0, 0],
                ["s", 0, 0],
            ),
            r"Layer 's' of .*, a Add, combines tensors of shapes \[None, 6\], \[None, 4\]",
        ),
    ],
)
def test_unusable_models(tmp_path, model, text):
    path = write_keras(tmp_path / "a.keras", MODEL, WEIGHTS, **{"config.json": json.dumps(model).encode()})
    with pytest.raises(ModelError, match=text):
        keras_to_onnx(path)


def test_wrong_weights(tmp_path):
    cases = [
        (
            {"fc": {"kernel": np.where(W1.T > 1, np.nan, W1.T), "bias": B1}},
            r"kernel of layer 'fc' of .* holds NaN or infinite values: train the model again",
        ),
        (
            {"fc": {"kernel": W1, "bias": B1}},
            r"Kernel of layer 'fc' in .* has shape \[6, 4\].* give the weights that belong to this model",
        ),
        (
            {"fc": {"kernel": W1.T.astype("S8"), "bias": B1}},
            r"is not a plain array of numbers, but \|S8: save it as float32",
        ),
    ]
    for weights, text in cases:
        for path in (
            write_keras(tmp_path / "a.keras", MODEL, weights),
            write_h5(tmp_path / "a.h5", MODEL, weights),
        ):
            with pytest.raises(ModelError, match=text):
                keras_to_onnx(path)
    with pytest.raises(
        ModelError, match=r"a\.h5 has no arrays named kernel for layer 'fc': save model and weights again"
    ):
        keras_to_onnx(write_h5(tmp_path / "a.h5", MODEL, {"fc": {"w": W1}}))
    with pytest.raises(
        ModelError,
        match=r"has 0 arrays for layer 'lost', whose description needs 2 \(kernel, bias\): give the weights",
    ):
        keras_to_onnx(write_keras(tmp_path / "a.keras", behind(layer("Dense", "lost", units=2)), WEIGHTS))
    other = sequential(source("x", 4), layer("Dense", "gone", units=6))
    path = write_h5(tmp_path / "a.h5", MODEL, WEIGHTS)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps(other)
    with pytest.raises(
        ModelError, match=r"a\.h5 has no weights of layer 'gone': save model and weights again"
    ):
        keras_to_onnx(path)


def test_files_that_are_none(tmp_path):
    for name, content, text in (
        (
            "a.keras",
            b"no zip",
            r"a\.keras is not a readable \.keras file, File is not a zip file: save it again with "
            r"model\.save",
        ),
        (
            "a.h5",
            b"no HDF5",
            r"a\.h5 is not a readable HDF5 file: copy it again, or save it again with Keras",
        ),
        ("b.json", b"{}", r"b\.json is a description without weights: put them beside it as b_weights\.h5"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ModelError, match=text):
            keras_to_onnx(tmp_path / name)
    with pytest.raises(ModelError, match=r"c\.keras does not exist"):
        keras_to_onnx(tmp_path / "c.keras")
    description, weights = write_pair(tmp_path, "pair", MODEL, WEIGHTS)
    description.write_bytes(b"{" * 100_000)
    with pytest.raises(
        ModelError,
        match=r"The description of the model in .*pair\.json is no JSON text, .*: save the model again with Keras",
    ):
        keras_to_onnx(description)
    description.unlink()
    with pytest.raises(
        ModelError,
        match=r"pair_weights\.h5 holds weights without a description .*: put model\.to_json\(\) beside it as pair\.json",
    ):
        keras_to_onnx(weights)
    with zipfile.ZipFile(tmp_path / "d.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    with pytest.raises(ModelError, match=r"it has no metadata\.json: save it again with model\.save"):
        keras_to_onnx(tmp_path / "d.keras")


def test_deep_descriptions(tmp_path):
    nested = FC
    for level in range(150):
        nested = sequential(
            source(f"x{level}", 4), nested | {"name": nested["config"]["name"]}, name=f"m{level}"
        )
    with pytest.raises(ModelError):
        keras_to_onnx(
            write_keras(tmp_path / "a.keras", MODEL, WEIGHTS, **{"config.json": json.dumps(nested).encode()})
        )
    with pytest.raises(ModelError, match=r"no JSON text"):
        keras_to_onnx(write_keras(tmp_path / "a.keras", MODEL, WEIGHTS, **{"config.json": b"[" * 200_000}))


def test_models_that_call_one_another_too_often(tmp_path, monkeypatch):
    """Each of 24 models calls the one within it twice: 16 million layers from 10 KB."""
    inner = layer("ReLU", "deepest")
    for level in range(24):
        name = f"m{level}"
        body = [
            source("x", 4),
            called(
                inner | {"name": inner["config"]["name"]}, [("x", 0, 0)], [(inner["config"]["name"], 0, 0)]
            ),
        ]
        count = 1 if level == 0 else 2
        inner = functional(body, ["x", 0, 0], [inner["config"]["name"], count, 0], name)
    monkeypatch.setattr("permfc.importers.onnx_builder._MOST_NODES", 500)
    path = write_keras(tmp_path / "a.keras", inner, {})
    with pytest.raises(
        ModelError,
        match=r"a\.keras has more than 500 operators: it is damaged, or its parts call one another too often",
    ):
        keras_to_onnx(path)


def test_archives_that_expand_too_far(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", json.dumps(MODEL))
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", bytes(20 << 20))
    with pytest.raises(
        ModelError, match=r"a\.keras is damaged: its model\.weights\.h5 would take 20971520 bytes"
    ):
        keras_to_onnx(tmp_path / "a.keras")


@pytest.mark.parametrize("kind", ["never written", "compressed", "linked", "elsewhere", "virtual"])
def test_arrays_that_are_not_in_the_file(tmp_path, kind):
    """Of 4 GB in a file of some KB, or in other files, which are not opened."""
    units = 1 << 28
    path = write_h5(
        tmp_path / "a.h5",
        sequential(source("x", 4), layer("Dense", "fc", units=units, use_bias=False)),
        {"fc": {}},
    )
    (tmp_path / "other.bin").write_bytes(bytes(64))
    with h5py.File(path, "r+") as file:
        group = file["model_weights/fc"]
        group.attrs["weight_names"] = np.array([b"fc/kernel:0"])
        if kind == "linked":
            group["fc/kernel:0"] = h5py.ExternalLink("other.h5", "/x")
        elif kind == "elsewhere":
            group.create_dataset(
                "fc/kernel:0", (4, units), "f4", external=[(str(tmp_path / "other.bin"), 0, 16 * units)]
            )
        elif kind == "virtual":
            layout = h5py.VirtualLayout((4, units), "f4")
            layout[0] = h5py.VirtualSource("other.h5", "x", (units,))
            group.create_virtual_dataset("fc/kernel:0", layout)
        else:
            group.create_dataset(
                "fc/kernel:0",
                (4, units),
                "f4",
                **({"chunks": (4, 1 << 20), "compression": "gzip"} if kind == "compressed" else {}),
            )
    with pytest.raises(
        ModelError,
        match=r"(has not the 4294967296 bytes of|has no kernel of|is not a plain array|No arrays|has no)",
    ):
        keras_to_onnx(path)


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_a_model_error_or_harmless(tmp_path, seed):
    """In the description and in the archive's own records."""
    path = write_keras(tmp_path / "a.keras", MODEL, WEIGHTS)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        start = archive.start_dir
    if seed % 2:
        write_keras(path, MODEL, WEIGHTS, **{"config.json": damaged(members["config.json"], seed)})
    else:
        content = path.read_bytes()
        path.write_bytes(content[:start] + damaged(content[start:], seed))
    try:
        model = keras_to_onnx(path)
    except ModelError:
        return
    assert model.ByteSize() < 10_000


@pytest.mark.parametrize("fault", ["crash", "loop"])
def test_files_on_which_the_library_fails(tmp_path, monkeypatch, fault):
    """HDF5 itself crashes or loops on some damaged files; the process that reads them first takes that
    blow."""
    path, trial = write_h5(tmp_path / "a.h5", MODEL, WEIGHTS), tmp_path / "hdf5_trial.py"
    trial.write_text({"crash": "import os; os.abort()", "loop": "while True: pass"}[fault], encoding="utf-8")
    monkeypatch.setattr(keras_weights, "__file__", str(tmp_path / "keras_weights.py"))
    monkeypatch.setattr(keras_weights, "_PATIENCE", 1)
    with pytest.raises(
        ModelError,
        match=r"a\.h5 is not a readable HDF5 file, HDF5's own library fails on it: copy it again, or save it",
    ):
        _SURVIVE(path, None)


def test_whole_files_survive(tmp_path):
    path = write_h5(tmp_path / "a.h5", MODEL, WEIGHTS)
    _SURVIVE(path, None)
    _SURVIVE(path, path.read_bytes())


def test_h5py_is_named_when_it_is_missing(tmp_path, monkeypatch):
    path = write_h5(tmp_path / "a.h5", MODEL, WEIGHTS)
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ToolError, match=r"Reading .*a\.h5 needs h5py: pip install 'permfc\[keras\]'"):
        keras_to_onnx(path)

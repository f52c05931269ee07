"""Trained networks from files of arrays, and what is said about those that cannot be used."""

from __future__ import annotations

import json
import sys
from importlib import import_module

import numpy as np
import pytest
from safetensors.numpy import save_file

from importer_cases import B1, B2, W1, W2, X, assert_expected, damaged
from permfc.errors import InputError, ModelError, ToolError
from permfc.functions import IDENTITY
from permfc.importers import FloatLayer, FloatNetwork, load_model


@pytest.mark.parametrize("names", [
    ("0_weight", "0_bias", "2_weight", "2_bias"),
    ("0.weight", "0.bias", "2.weight", "2.bias"),
    ("ip1.weight", "ip1.bias", "ip2.weight", "ip2.bias"),
    ("net.9.weight", "net.9.bias", "net.10.weight", "net.10.bias"),
])
def test_named_arrays(tmp_path, names):
    arrays = dict(zip(names, (W1, B1, W2, B2), strict=True))
    np.savez(tmp_path / "net.npz", **arrays)
    save_file(arrays, tmp_path / "net.safetensors")
    assert_expected(load_model(tmp_path / "net.npz"))
    assert_expected(load_model(str(tmp_path / "net.safetensors")))
    assert_expected(load_model(arrays))


def test_shapes_decide_where_names_mislead(tmp_path):
    arrays = {"encoder.weight": W1, "encoder.bias": B1, "decoder.weight": W2, "decoder.bias": B2}
    np.savez(tmp_path / "net.npz", **arrays)
    assert_expected(load_model(tmp_path / "net.npz"))
    assert_expected(load_model(arrays))


def test_layers_without_bias_and_in_half_precision():
    network = load_model({"fc.weight": W1.astype(np.float16)})
    assert network.layers[0].bias.tolist() == [0.0] * 6
    assert network.layers[0].weight.dtype == np.float32


def test_types_of_safetensors(tmp_path):
    """NumPy has no bfloat16; what has fewer bits is no plain number."""
    rounded = (W1.view(np.uint32) >> 16 << 16).view(np.float32)
    halves = (W1.view(np.uint32) >> 16).astype("<u2")
    for kind, data in (("BF16", halves.tobytes()), ("F8_E4M3", halves.tobytes()[::2])):
        header = json.dumps({"fc.weight": {"dtype": kind, "shape": [6, 4], "data_offsets": [0, len(data)]}}).encode()
        (tmp_path / f"{kind}.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + data)
    np.testing.assert_array_equal(load_model(tmp_path / "BF16.safetensors").layers[0].weight, rounded)
    with pytest.raises(ModelError, match=r"Tensor fc\.weight of .* has values of type F8_E4M3: convert them to one of BF16, F64, F32"):
        load_model(tmp_path / "F8_E4M3.safetensors")


def test_network_passes_through():
    network = load_model({"weight": W1})
    assert load_model(network) is network
    assert (network.inputs, network.outputs, network.weight_count) == (4, 6, 24)


def spoiled(position: tuple[int, int], value: float) -> np.ndarray:
    weight = W2.copy()
    weight[position] = value
    return weight


@pytest.mark.parametrize(("arrays", "text"), [
    ({"0.weight": W1, "2.weight": spoiled((1, 3), np.nan)}, r"Weight of layer 2 holds nan at \[1, 3\]: 1 of 18 values are NaN or infinite"),
    ({"0.weight": W1, "0.bias": np.full(6, np.inf)}, r"Bias of layer 0 holds inf at \[0\]: 6 of 6"),
    ({"0.weight": np.full((2, 2), 1e300)}, r"Weight of layer 0 holds inf at \[0, 0\]"),
    ({"0.weight": np.zeros((0, 4))}, r"Layer 0 is empty: its weight has shape \[0, 4\]"),
    ({"conv1.weight": np.zeros((2, 3, 5, 5))}, r"The model has convolutions \(conv1\) but no fully connected layer"),
    ({"norm.weight": B1, "fc.weight": W1}, r"Weight of layer norm must be a matrix \[outputs, inputs\], not an array of shape \[6\]"),
    ({"0.weight": W1, "0.bias": B2}, r"Bias of layer 0 must have one value for each of the 6 outputs, not shape \[3\]"),
    ({"0.weight": W1, "2.weight": W1}, r"are no chain .* `layers`, .* there are 0 \[6, 4\], 2 \[6, 4\]"),
    ({"0.bias": B1}, r"Layer '0' has a bias but no weight"),
    ({"0.scale": B1}, r"Array '0\.scale' is neither a weight nor a bias .*: names must end in weight, kernel or bias; name the layers .* `layers`"),
    ({"0.weight": W1, "1.weight": B1, "1.running_mean": B1, "2.weight": W2}, r"Layer 1 is a normalisation, whose place an array file does not tell"),
    ({"0.weight": W1.T, "0.bias": B1}, r"Bias of layer 0 has 6 values for 4 outputs: .* give `kernel` out-in or in-out"),
    ({"0.weight": W1.astype(complex)}, r"Weight of layer 0 must hold real numbers, not complex128"),
    ({"0.weight": [[1.0, 2.0], [3.0]]}, r"Value '0\.weight' is no plain array of numbers"),
    ({}, r"The model has no fully connected layer"),
])
def test_unusable_arrays(arrays, text):
    with pytest.raises(ModelError, match=text):
        load_model(arrays)


def test_unreadable_files(tmp_path):
    with pytest.raises(ModelError, match=r"absent\.npz does not exist"):
        load_model(tmp_path / "absent.npz")
    with pytest.raises(ModelError, match=r"must be a file of type \.npz, \.safetensors, \.pt, \.pth, \.ckpt, \.pth\.tar, \.onnx, .*, "
                                         r"\.json, not '\.bin'"):
        load_model(tmp_path / "net.bin")
    with pytest.raises(ModelError, match=r"not 'without an ending'"):
        load_model(tmp_path / "net")
    with pytest.raises(ModelError, match=r"A model must be a path, a mapping .* not int"):
        load_model(3)
    for name, text in (("a.npz", r"a\.npz is not a readable \.npz archive"), ("a.safetensors", r"not a readable \.safetensors file")):
        (tmp_path / name).write_bytes(b"\x93garbage" * 9)
        with pytest.raises(ModelError, match=text):
            load_model(tmp_path / name)
    save_file({"0.weight": W1}, tmp_path / "cut.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "cut.safetensors").read_bytes()[:-1])
    with pytest.raises(ModelError, match=r"cut\.safetensors is not a readable \.safetensors file"):
        load_model(tmp_path / "cut.safetensors")
    np.savez(tmp_path / "pickled.npz", weight=np.array([{}], dtype=object))
    with pytest.raises(ModelError, match=r"pickled\.npz is not a readable \.npz archive of plain arrays"):
        load_model(tmp_path / "pickled.npz")
    np.savez(tmp_path / "cut.npz", weight=W1)
    data = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(data[:len(data) // 2])
    with pytest.raises(ModelError, match=r"cut\.npz is not a readable"):
        load_model(tmp_path / "cut.npz")


@pytest.mark.parametrize("ending", ["npz", "safetensors"])
def test_random_damage_is_a_model_error_or_harmless(tmp_path, ending):
    arrays = {"a.weight": W1, "a.bias": B1, "b.weight": W2, "b.bias": B2}
    path = tmp_path / f"net.{ending}"
    np.savez(path, **arrays) if ending == "npz" else save_file(arrays, path)
    content, refused = path.read_bytes(), 0
    for seed in range(300):
        path.write_bytes(damaged(content, seed))
        try:
            load_model(path)
        except ModelError:
            refused += 1
    assert refused > 100


def test_missing_torch_is_named(tmp_path, monkeypatch):
    (tmp_path / "net.pt").write_bytes(b"")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ToolError, match=r"Reading .*net\.pt needs torch: pip install 'permfc\[train\]'"):
        load_model(tmp_path / "net.pt")


@pytest.mark.parametrize("package", ["permfc.torch", "permfc.train"])
def test_packages_that_need_torch_say_how_to_install_it(package, monkeypatch):
    for name in [name for name in sys.modules if name.startswith(package)]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=rf"^{package} needs torch, which is missing; run: pip install 'permfc\[train\]'$"):
        import_module(package)


def test_inputs_are_checked():
    network = FloatNetwork((FloatLayer(W1, B1, IDENTITY, "0"),))
    with pytest.raises(InputError, match=r"Input must be numbers \[samples, 4\] .* not float32 \[5, 3\]"):
        network.predict(X[:, :3])


KERAS = {"model/dense/kernel:0": W1.T, "model/dense/bias:0": B1, "model/dense_1/kernel:0": W2.T, "model/dense_1/bias:0": B2}


def test_kernels_are_inputs_by_outputs(tmp_path):
    np.savez(tmp_path / "keras.npz", **KERAS)
    assert_expected(load_model(tmp_path / "keras.npz"))
    assert [layer.name for layer in load_model(KERAS)] == ["model/dense", "model/dense_1"]


def test_orientation_by_option(tmp_path):
    arrays = {"a.weight": W1.T.copy(), "a.bias": B1, "b.weight": W2.T.copy(), "b.bias": B2}
    save_file(arrays, tmp_path / "net.safetensors")
    assert_expected(load_model(tmp_path / "net.safetensors", kernel="in-out"))
    with pytest.raises(ModelError, match=r"or give `kernel` out-in or in-out if weights are the other way round"):
        load_model(tmp_path / "net.safetensors")
    assert_expected(load_model({"a.kernel": W1, "a.bias": B1, "b.kernel": W2, "b.bias": B2}, kernel="out-in"))
    with pytest.raises(ModelError, match=r"kernel must be out-in or in-out, not 'io'"):
        load_model(arrays, kernel="io")


def test_order_of_square_layers(tmp_path):
    """A mapping keeps its order; a .safetensors file has none, so names decide, by number."""
    squares = {f"{number}.weight": np.full((2, 2), number, dtype=np.float32) for number in (10, 9, 2)}
    assert [layer.name for layer in load_model(squares)] == ["10", "9", "2"]
    save_file(squares, tmp_path / "net.safetensors")
    assert [layer.name for layer in load_model(tmp_path / "net.safetensors")] == ["2", "9", "10"]


CONVOLUTIONAL = {
    "classifier.0.weight": W1, "classifier.0.bias": B1, "classifier.3.weight": W2, "classifier.3.bias": B2,
    "features.0.weight": np.zeros((2, 1, 3, 3), dtype=np.float32), "features.0.bias": np.zeros(2, dtype=np.float32),
    "features.1.weight": np.ones(2, dtype=np.float32), "features.1.running_mean": np.zeros(2, dtype=np.float32),
}


def test_tail_behind_convolutions(tmp_path):
    save_file(CONVOLUTIONAL, tmp_path / "net.safetensors")
    network = load_model(tmp_path / "net.safetensors")
    assert_expected(network)
    assert network.notes == ("What is not fully connected, 2 of 4 layers, is left to the host: inputs and calibration data are the features "
                             "that layer classifier.0 takes",)


def test_normalisation_between_fully_connected_layers_is_not_lost():
    with pytest.raises(ModelError, match=r"Layer classifier\.1 normalises 6 features, .*: give the model as ONNX or torch"):
        load_model(CONVOLUTIONAL | {"classifier.1.weight": np.ones(6, dtype=np.float32)})


def test_chosen_layers():
    assert_expected(load_model(CONVOLUTIONAL | {"a.scale": W1}, layers=["classifier.0", "classifier.3"]))
    only = load_model(CONVOLUTIONAL, layers=["classifier.0"])
    assert np.allclose(only.predict(X), X @ W1.T + B1, atol=1e-5)


@pytest.mark.parametrize(("layers", "text"), [
    (["fc"], r"The model has no layer 'fc'; there are classifier\.0 \[6, 4\], classifier\.3 \[3, 6\]"),
    (["features.0"], r"Layer features\.0 has a weight of shape \[2, 1, 3, 3\] and is not fully connected"),
    (["classifier.3", "classifier.0"], r"Layer classifier\.0 takes 4 inputs, but layer classifier\.3 before it has 3 outputs"),
    ("classifier.0", r"layers must be one or more names of layers, not 'classifier\.0'"),
    ([], r"layers must be one or more names of layers, not \[\]"),
])
def test_unusable_choices(layers, text):
    with pytest.raises(ModelError, match=text):
        load_model(CONVOLUTIONAL, layers=layers)

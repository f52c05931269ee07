"""Fully connected layers of torch modules and state dicts."""

from __future__ import annotations

import numpy as np
import pytest

from importer_cases import B1, B2, W1, W2, X, assert_expected
from permfc.errors import ModelError
from permfc.importers import load_model

torch = pytest.importorskip("torch")
nn = torch.nn


def linear(weight: np.ndarray, bias: np.ndarray | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(weight))
        if bias is not None:
            made.bias.copy_(torch.from_numpy(bias))
    return made


class Functional(nn.Module):
    """Two layers, between whatever the test wants."""

    def __init__(self, before=lambda x: x, between=torch.relu, after=lambda x: x) -> None:
        super().__init__()
        self.fc1, self.fc2 = linear(W1, B1), linear(W2, B2)
        self.steps = (before, between, after)

    def forward(self, x):
        before, between, after = self.steps
        return after(self.fc2(between(self.fc1(before(x)))))


def random_norm(features: int) -> nn.BatchNorm1d:
    norm = nn.BatchNorm1d(features)
    with torch.no_grad():
        for value in (norm.running_mean, norm.bias):
            value.normal_()
        for value in (norm.running_var, norm.weight):
            value.uniform_(0.5, 2)
    return norm.eval()


@pytest.mark.parametrize("model", [
    nn.Sequential(nn.Flatten(), linear(W1, B1), nn.ReLU(), nn.Dropout(), linear(W2, B2)),
    nn.Sequential(nn.Sequential(linear(W1, B1), nn.ReLU()), nn.Identity(), linear(W2, B2)),
    Functional(),
    Functional(before=lambda x: torch.flatten(x, 1), between=nn.functional.relu),
    Functional(before=lambda x: x.view(x.size(0), -1), between=lambda x: nn.functional.dropout(x.relu(), training=False)),
    Functional(before=lambda x: x.reshape((-1, 4)), between=lambda x: torch.flatten(torch.relu(x), start_dim=1)),
    Functional(before=lambda x: x.flatten(1).contiguous()),
])
def test_modules(model):
    network = load_model(model)
    assert_expected(network)
    assert network.notes == ()


def test_names_bias_and_last_relu():
    network = load_model(nn.Sequential(linear(W1, None), linear(W2, B2), nn.ReLU()))
    assert [layer.function.is_rectifier for layer in network] == [False, True]
    assert [layer.name for layer in network] == ["0", "1"]
    assert not network.layers[0].bias.any()
    assert len(load_model(linear(W1, B1))) == 1


def test_a_softmax_is_left_to_the_host():
    network = load_model(nn.Sequential(linear(W1, B1), nn.Softmax(dim=1)))
    assert network.notes == ("Softmax '1' is left to the host: results are those before it",)
    tanh = load_model(nn.Sequential(linear(W1, B1), nn.Tanh(), nn.BatchNorm1d(6), nn.Dropout()))
    assert tanh.layers[0].function.is_identity
    assert tanh.notes == tuple(f"{what} is left to the host: results are those before it" for what in ("Tanh '1'", "BatchNorm1d '2'"))
    functional = load_model(Functional(after=lambda x: nn.functional.log_softmax(x, dim=1)))
    assert_expected(functional)
    assert functional.notes == ("log_softmax 'log_softmax' is left to the host: results are those before it",)


def test_what_stands_before_the_first_layer_is_left_to_the_host():
    network = load_model(Functional(before=torch.sigmoid))
    assert_expected(network)
    assert network.notes == ("What stands before layer fc1 of Module Functional is left to the host: inputs and calibration data are the 4 features "
                             "that the layer takes, which permfc features or FeatureNetwork computes",)


@pytest.mark.parametrize("model", [
    nn.Sequential(linear(W1, B1), random_norm(6), nn.ReLU(), linear(W2, B2)),
    nn.Sequential(linear(W1, None), nn.ReLU(), random_norm(6), nn.Dropout(), linear(W2, B2)),
    nn.Sequential(random_norm(4), linear(W1, B1), nn.ReLU(), linear(W2, None)),
    nn.Sequential(linear(W1, B1), nn.BatchNorm1d(6, affine=False).eval()),
])
def test_normalisation_is_folded(model):
    with torch.no_grad():
        want = model.eval()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(load_model(model).predict(X), want, atol=1e-4)


@pytest.mark.parametrize("ending", [".pt", ".pth", ".PTH.TAR", ".ckpt"])
def test_endings_of_state_dicts(tmp_path, ending):
    torch.save({"state_dict": Functional().state_dict(), "epoch": 1}, tmp_path / f"model{ending}")
    assert_expected(load_model(tmp_path / f"model{ending}"))


def test_state_dicts(tmp_path):
    model = nn.Sequential(linear(W1, B1), nn.ReLU(), linear(W2, B2))
    assert_expected(load_model(model.state_dict()))
    for name, saved in (("plain.pt", model.state_dict()), ("checkpoint.pth", {"epoch": 3, "model": model.state_dict(), "optimizer": {"lr": 0.1}})):
        torch.save(saved, tmp_path / name)
        assert_expected(load_model(tmp_path / name))
    halves = load_model(model.to(torch.bfloat16).state_dict())
    np.testing.assert_allclose(halves.predict(X), load_model(Functional()).predict(X), atol=0.2)


def test_unusable_state_files(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(ModelError, match=r"module\.pt is not a state dict that can be read safely; write one with torch\.save"):
        load_model(tmp_path / "module.pt")
    (tmp_path / "junk.pt").write_bytes(b"junk")
    with pytest.raises(ModelError, match=r"junk\.pt is not a state dict"):
        load_model(tmp_path / "junk.pt")
    torch.save({"fc.weight": torch.from_numpy(W1).to_sparse()}, tmp_path / "sparse.pt")
    with pytest.raises(ModelError, match=r"Value 'fc\.weight' is no plain array of numbers: .*Sparse"):
        load_model(tmp_path / "sparse.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"empty\.pt is not a state dict"):
        load_model(tmp_path / "empty.pt")
    torch.save({"epoch": 3}, tmp_path / "none.pt")
    with pytest.raises(ModelError, match=r"none\.pt must hold one state dict, not 0"):
        load_model(tmp_path / "none.pt")


@pytest.mark.parametrize(("model", "text"), [
    (nn.Sequential(linear(W1, B1), nn.LayerNorm(6), linear(W2, B2)),
     r"LayerNorm '1' of Module Sequential cannot be part .* layer 0 stands .* `layers`, 2 for"),
    (nn.Sequential(linear(W1, B1), nn.LayerNorm(6)), r"no fully connected tail, since LayerNorm '1' stands between .*; there are 0 \[6, 4\]"),
    (nn.Tanh(), r"Module Tanh has no fully connected layer"),
    (Functional(between=lambda x: x if x.sum() > 0 else -x), r"Module Functional cannot be traced \(.*\): export it to ONNX, or pass its state_dict"),
    (Functional(between=lambda x: x + x), r"add 'add.*' of Module Functional cannot be part"),
    (Functional(after=lambda x: (x, x)), r"returns several results: name the layers to take; there are fc1 \[6, 4\], fc2 \[3, 6\]"),
])
def test_unusable_modules(model, text):
    with pytest.raises(ModelError, match=text):
        load_model(model)


def test_chosen_layers():
    model = nn.Sequential(linear(W1, B1), nn.ReLU(), linear(W2, B2), nn.Tanh(), linear(W2.T.copy(), None))
    assert_expected(load_model(model, layers=["0", "2"]))
    assert load_model(model, layers=["0"]).layers[0].function.is_rectifier
    with pytest.raises(ModelError, match=r"Module Sequential has no fully connected layer '9'; it has 0 \[6, 4\], 2 \[3, 6\], 4 \[6, 3\]"):
        load_model(model, layers=["9"])

"""An offloaded model in one file."""

from __future__ import annotations

import pytest

from permfc.errors import FormatError, ModelError
from permfc.graph.container import Container, load_container, save_container
from torch_cases import quick_compress

torch = pytest.importorskip("torch")
nn = torch.nn

import permfc.torch  # noqa: E402
from permfc.torch import compressing  # noqa: E402


class Model(nn.Module):
    """An embedding that shares its matrix with what stays in torch, and two layers."""

    def __init__(self, width: int = 8, norm: bool = True) -> None:
        super().__init__()
        self.embedding = nn.Embedding(6, width)
        self.first, self.second = nn.Linear(width, width), nn.Linear(width, 4)
        self.norm = nn.BatchNorm1d(4) if norm else nn.Identity()
        self.output = nn.Embedding(6, width)
        self.output.weight = self.embedding.weight

    def forward(self, tokens):
        x = self.embedding(tokens)
        return self.norm(self.second(self.first(x)))


TOKENS = torch.arange(6)


@pytest.fixture
def offloaded(monkeypatch):
    monkeypatch.setattr(compressing, "compress", quick_compress)
    torch.manual_seed(0)
    model = Model().to(torch.bfloat16)
    model.norm.running_mean.normal_()
    return permfc.torch.offload(model, [TOKENS])


def test_saved_and_loaded(offloaded, tmp_path):
    permfc.torch.save(offloaded, tmp_path / "model")
    loaded = permfc.torch.load(tmp_path / "model", Model().to(torch.bfloat16))
    assert torch.equal(loaded(TOKENS), offloaded(TOKENS))
    assert loaded.layers == offloaded.layers and loaded.counters() == offloaded.counters()
    permfc.torch.save(loaded, tmp_path / "again")
    assert (tmp_path / "model").read_bytes() == (tmp_path / "again").read_bytes()
    assert load_container(tmp_path / "model", "torch").description["same"] == {"output.weight": "embedding.weight"}


@pytest.mark.parametrize(("module", "text"), [
    (Model(width=9), r"from another architecture: module first has 9 outputs and 9 inputs, in the file 8 and 8"),
    (nn.Sequential(nn.Linear(8, 8)), r"from another architecture: Sequential has no Linear module first"),
    (Model(norm=False), r"from another architecture: it has, but the module has not, norm\.bias, norm\.num_batches_tracked, .*"),
])
def test_other_architectures(offloaded, tmp_path, module, text):
    permfc.torch.save(offloaded, tmp_path / "model")
    with pytest.raises(ModelError, match=text):
        permfc.torch.load(tmp_path / "model", module)


def test_another_function_between_layers(tmp_path):
    permfc.torch.save(permfc.torch.offload(nn.Sequential(nn.Linear(8, 8), nn.ReLU()), [torch.randn(10, 8)], bits="dense8"), tmp_path / "model")
    with pytest.raises(ModelError, match=r"from another architecture: module 1 is of class Tanh, in the file ReLU"):
        permfc.torch.load(tmp_path / "model", nn.Sequential(nn.Linear(8, 8), nn.Tanh()))


def test_missing_and_misshapen_state(offloaded, tmp_path):
    permfc.torch.save(offloaded, tmp_path / "model")
    other = Model()
    other.extra = nn.Embedding(2, 2)
    with pytest.raises(ModelError, match=r"from another architecture: it has no extra\.weight$"):
        permfc.torch.load(tmp_path / "model", other)
    other = Model()
    other.embedding = other.output = nn.Embedding(7, 8)
    with pytest.raises(ModelError, match=r"from another architecture: .*size mismatch for embedding\.weight"):
        permfc.torch.load(tmp_path / "model", other)


def test_files_that_cannot_be_used(offloaded, tmp_path):
    with pytest.raises(ModelError, match=r"save writes what permfc\.torch\.offload gave, not Model"):
        permfc.torch.save(Model(), tmp_path / "model")
    permfc.torch.save(offloaded, tmp_path / "model")
    saved = load_container(tmp_path / "model", "torch")
    for name, description in (("nothing", {}), ("groups", saved.description | {"groups": [{"name": "first", "members": {"first": [0, 99]}}]})):
        save_container(Container("torch", description, saved.parts), tmp_path / name)
        with pytest.raises(FormatError, match=rf"{name} is damaged: its description lacks or misstates"):
            permfc.torch.load(tmp_path / name, Model())
    save_container(Container("torch", saved.description, {**saved.parts, "state.safetensors": b"junk"}), tmp_path / "junk")
    with pytest.raises(FormatError, match=r"junk is damaged"):
        permfc.torch.load(tmp_path / "junk", Model())
    save_container(Container("onnx", {}, {}), tmp_path / "onnx")
    with pytest.raises(FormatError, match=r"holds a network of kind 'onnx', not 'torch'"):
        permfc.torch.load(tmp_path / "onnx", Model())

"""Retraining: projections within their bits, modules equal to the golden model, and runs that can be interrupted."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="retraining needs torch")

from permfc.config import EngineConfig  # noqa: E402
from permfc.datasets import Dataset  # noqa: E402
from permfc.errors import InputError, ModelError  # noqa: E402
from permfc.image import model_file, pack  # noqa: E402
from permfc.network.sparse import sparse_bits  # noqa: E402
from permfc.train import export, permute_model, projection, recipes  # noqa: E402
from permfc.train.loop import Samples, Schedule, train  # noqa: E402
from permfc.train.pipeline import Plan, float_head  # noqa: E402

SIZES = (40, 64, 24, 5)
SHARES = (0.6, 0.3, 0.1)


def problem(samples: int = 240) -> Dataset:
    """Gaussian clusters, one a class."""
    generator = np.random.default_rng(0)
    centres = generator.normal(size=(SIZES[-1], SIZES[0]))
    labels = generator.integers(0, SIZES[-1], 2 * samples)
    x = (centres[labels] + 0.5 * generator.normal(size=(2 * samples, SIZES[0]))).astype(np.float32)
    return Dataset("clusters", x[:samples], labels[:samples], x[samples:], labels[samples:])


def permuted(image_bytes: float = 1200, seed: int = 0) -> tuple[torch.nn.Module, torch.Tensor]:
    """An untrained permuted network and samples for it."""
    torch.manual_seed(seed)
    x = torch.from_numpy(problem().train)
    model = permute_model(float_head(SIZES, 0.0), x, (4, 3, 2))
    model.revise(image_bytes, SHARES)
    return model, x


@pytest.mark.parametrize("outputs", [5, 10, 64, 300])
@pytest.mark.parametrize("words", [1, 3, 8])
def test_capacity_fits_whatever_is_zero(outputs: int, words: int) -> None:
    table = projection.capacities(outputs, 2, 16)
    words = min(words, len(table.nonzeros) - 1)
    count, rice = int(table.nonzeros[words]), int(table.rice[words])
    generator = np.random.default_rng(1)
    indices = np.zeros((200, outputs), dtype=np.uint8)
    np.put_along_axis(indices, generator.random(indices.shape).argsort(axis=1)[:, :count], 1, axis=1)
    indices[0] = np.arange(outputs) >= outputs - count  # the longest runs there are
    assert sparse_bits(indices, 2, rice).max() <= 16 * words
    assert table.nonzeros[0] == 0 and table.nonzeros[-1] == outputs and (np.diff(table.nonzeros) >= 0).all()


def test_extra_weights_fill_the_words() -> None:
    table = projection.capacities(300, 2, 16)
    words = np.full(50, 6)
    places = np.random.default_rng(2).random((50, 300)).argsort(axis=1)
    more = projection.extra(places, table.nonzeros[words], table.rice[words], 16 * words, 300, 2)
    assert more.min() >= 0 and more.max() >= 1
    for count, fits in ((more, True), (more + 1, False)):
        indices = np.zeros((50, 300), dtype=np.uint8)
        np.put_along_axis(indices, places, (np.arange(300) < (table.nonzeros[words] + count)[:, None]).astype(np.uint8), axis=1)
        assert ((sparse_bits(indices, 2, int(table.rice[6])) <= 96) == fits).all()


def test_allocation_keeps_to_budget_and_prefers_what_matters() -> None:
    generator = np.random.default_rng(3)
    saliency = generator.random((60, 100)) * np.repeat([0.0, 0.1, 1.0], 20)[:, None]
    capacity = projection.capacities(100, 2, 16).nonzeros
    sizes = projection.allocate(saliency, capacity, 150, 4)
    assert sizes.sum() <= 150 and len(np.unique(sizes)) <= 4
    assert (sizes[:20] == 0).all() and sizes[20:40].mean() < sizes[40:].mean()
    assert projection.allocate(saliency, capacity, 0, 4).sum() == 0


@pytest.mark.parametrize("frozen", [False, True])
def test_evaluation_is_the_golden_model(frozen: bool) -> None:
    model, x = permuted()
    model.train()(x)
    if frozen:
        model.freeze()
    with torch.no_grad():
        results = model.eval()(x)
    network = export(model)
    golden = network.compute(network.quantise(x.numpy()))
    unit = model.layers[-1].integers()[1] * float(model.layers[-1].input_step)
    assert np.array_equal(np.rint(results.numpy() / unit), golden)
    assert np.count_nonzero(golden) > golden.size // 2


def test_image_has_the_promised_bytes() -> None:
    model, _ = permuted()
    model.freeze()
    image = pack(export(model), EngineConfig(bus_bits=16))
    assert len(image) == model.image_bytes <= 1200
    assert [layer.nonzero().sum() > 0 for layer in model.layers] == [True] * 3


def test_frozen_layers_hold_more_in_the_same_bytes() -> None:
    model, _ = permuted()
    for layer, words in zip(model.layers, (2, 2, 1), strict=True):
        layer.words.fill_(words)
        layer.alive.fill_(True)
    before = sum(int(layer.nonzero().sum()) for layer in model.layers)
    model.freeze()
    assert sum(int(layer.nonzero().sum()) for layer in model.layers) > before
    assert len(pack(export(model), EngineConfig(bus_bits=16))) == model.image_bytes


def test_gradients_reach_all_weights() -> None:
    model, x = permuted(900)
    model.train()(x).square().sum().backward()
    for layer in model.layers[:2]:
        absent = ~layer.nonzero() & layer.alive
        assert layer.weight.grad[absent].abs().max() > 0 and layer.bias.grad.abs().max() > 0


def test_refuses_other_modules() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Tanh(), torch.nn.Linear(3, 2))
    with pytest.raises(ModelError, match="Expected ReLU, not Tanh"):
        permute_model(model, torch.ones(2, 4))
    with pytest.raises(ModelError, match="ending with Linear, not Linear, ReLU"):
        permute_model(model[:1].append(torch.nn.ReLU()), torch.ones(2, 4))
    with pytest.raises(ModelError, match="at most 4096 outputs, not 5000"):
        permute_model(torch.nn.Sequential(torch.nn.Linear(2, 5000)), torch.ones(2, 2))
    with pytest.raises(ModelError, match=r"must be an nn\.Sequential of Linear and ReLU in turn, or one Linear, not Tanh"):
        permute_model(torch.nn.Tanh(), torch.ones(2, 2))


def test_a_linear_alone() -> None:
    network = permute_model(torch.nn.Linear(6, 4), torch.ones(2, 6))
    assert len(network.layers) == 1 and network(torch.ones(2, 6)).shape == (2, 4)


PLAN = Plan(hidden=SIZES[1:3], ratio=16, float_schedule=Schedule(5, 20), schedule=Schedule(4, 20), classes=(4, 3, 2), shares=SHARES, dropout=0.1)


def run(output: Path, plan: Plan = PLAN, progress=lambda what, done, total: None, seed: int = 3) -> recipes.Result:
    return recipes.run_plan("tiny", plan, problem(), output, seed, progress)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, recipes.Result]:
    """A run that nothing interrupted: its folder and its result."""
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder)


def test_a_run_reports_what_the_file_computes(finished: tuple[Path, recipes.Result]) -> None:
    folder, result = finished
    assert json.loads((folder / "result.json").read_text())["golden_accuracy"] == result.golden_accuracy
    network, data = model_file.load(folder / "model.safetensors"), problem()
    labels = network.compute(network.quantise(data.test)).argmax(axis=1)
    assert result.golden_accuracy == pytest.approx(100 * (labels == data.test_labels).mean())
    assert result.float_accuracy > 90 and result.golden_accuracy > 80
    assert result.image_bytes == len(pack(network, EngineConfig(bus_bits=16)))
    weights = sum(a * b + b for a, b in pairwise(SIZES))
    assert result.ratio == pytest.approx(4 * weights / result.image_bytes) and result.ratio >= 16
    assert np.load(folder / "float.npz")["0_weight"].shape == (64, 40)


@pytest.mark.parametrize("interrupted", [("float network", 2), ("compressed network", 1), ("compressed network", 3)])
def test_resume_gives_the_identical_result(tmp_path: Path, interrupted: tuple[str, int], finished: tuple[Path, recipes.Result]) -> None:
    def interrupt(what: str, done: int, total: int) -> None:
        if (what, done) == interrupted:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, progress=interrupt)
    assert run(tmp_path) == finished[1]
    assert (tmp_path / "model.safetensors").read_bytes() == (finished[0] / "model.safetensors").read_bytes()


def test_a_run_does_not_depend_on_the_threads(tmp_path: Path, finished: tuple[Path, recipes.Result]) -> None:
    """Sums of floats depend on their order, and torch's threads split them."""
    used = set()
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        assert run(tmp_path, progress=lambda what, done, total: used.add(torch.get_num_threads())) == finished[1]
        assert used == {1} and torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)
    assert (tmp_path / "model.safetensors").read_bytes() == (finished[0] / "model.safetensors").read_bytes()


def test_a_folder_belongs_to_one_run(finished: tuple[Path, recipes.Result]) -> None:
    folder = finished[0]
    with pytest.raises(InputError, match="compressed.pt is of a training with ratio 16 instead of 12: remove it"):
        run(folder, replace(PLAN, ratio=12))
    with pytest.raises(InputError, match="float.pt is of a training with hidden"):
        run(folder, replace(PLAN, hidden=(80, 24)))


def test_impossible_ratio_says_what_is_possible(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="headers, tables and biases alone take .*: ask for a ratio below"):
        run(tmp_path, replace(PLAN, ratio=1000))
    with pytest.raises(InputError, match="Ratio must be positive and epochs at least 1, not -1 and 4"):
        run(tmp_path, replace(PLAN, ratio=-1))
    with pytest.raises(InputError, match="Ratio must be positive and epochs at least 1, not nan and 4"):
        run(tmp_path, replace(PLAN, ratio=float("nan")))
    with pytest.raises(InputError, match="Seed must be from 0 to 4294967295, not 10000000000"):
        run(tmp_path, PLAN, seed=10**10)


def test_checkpoints_of_other_runs_and_damaged_ones(tmp_path: Path) -> None:
    samples = Samples(torch.ones(4, 2), torch.zeros(4), lambda x, generator: x)
    module = torch.nn.Linear(2, 1)

    def fit(seed: int) -> None:
        train(module, samples, lambda x, y: module(x).sum(), Schedule(1, 4), seed, tmp_path / "check.pt", {"data": "ones"})

    fit(1)
    with pytest.raises(InputError, match="is of a training with seed 1 instead of 2: remove it or choose another output folder"):
        fit(2)
    (tmp_path / "check.pt").write_bytes(b"damaged")
    with pytest.raises(InputError, match="check.pt is damaged: remove it"):
        fit(1)
    for other in (module.state_dict(), [1]):
        torch.save(other, tmp_path / "check.pt")
        with pytest.raises(InputError, match="check.pt is not a checkpoint of permfc: remove it"):
            fit(1)


def test_unknown_recipe(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no recipe 'alexnet': choose one of lenet-300-100, lenet-5"):
        recipes.run("alexnet", tmp_path)

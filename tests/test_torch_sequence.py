"""Layers of a torch module are compressed one after the other: for what the ones before give, and with the bits that they deserve."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from permfc.errors import InputError
from permfc.importers.float_network import FloatNetwork
from permfc.network import Network
from torch_cases import quick_compress

torch = pytest.importorskip("torch")
nn = torch.nn

import permfc.torch  # noqa: E402
from permfc.torch import compressing  # noqa: E402
from permfc.torch.dense import units  # noqa: E402
from permfc.torch.recording import record, rows_now  # noqa: E402
from permfc.torch.sensitivity import sensitivities  # noqa: E402


class Deep(nn.Module):
    """Layers one behind the other, so that errors of one reach all others."""

    def __init__(self, width: int = 48, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, x):
        for layer in self.layers:
            x = nn.functional.leaky_relu(2 * layer(x))
        return x


class Weighted(nn.Module):
    """Two layers of which one hardly matters."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.small, self.large = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, x):
        return 0.02 * self.small(x) + self.large(x)


def samples(count: int, width: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    common = torch.randn(8, width, generator=torch.Generator().manual_seed(9))
    return torch.randn(count, 8, generator=generator) @ common / 3 + 0.5 * torch.randn(count, width, generator=generator)


@pytest.fixture(autouse=True)
def seeded(short_search: None) -> None:
    torch.manual_seed(0)


def test_a_layer_gets_what_the_ones_before_give(monkeypatch: pytest.MonkeyPatch) -> None:
    """And is told what they would give in float."""
    model, x, given = Deep(), samples(90, 48).split(30), []

    def compress(network: FloatNetwork, bits: float, calibration: np.ndarray, *engine: object, reference: np.ndarray | None = None) -> Network:
        given.append((calibration, reference))
        return quick_compress(network, bits, calibration)

    monkeypatch.setattr(compressing, "compress", compress)
    offloaded = permfc.torch.offload(model, x)
    everything, kept = torch.cat(x), ~compressing.held_out(90)
    with torch.no_grad():
        wanted = nn.functional.leaky_relu(2 * model.layers[0](everything))
        found = nn.functional.leaky_relu(2 * offloaded.module.layers[0](everything))
    np.testing.assert_array_equal(given[0][0], everything[kept])
    assert given[0][1] is None and not torch.equal(wanted, found)
    np.testing.assert_allclose(given[1][0], found[kept], rtol=1e-6)
    np.testing.assert_allclose(given[1][1], wanted[kept], rtol=1e-6)


def test_bits_go_where_errors_matter() -> None:
    model = Weighted()
    before = copy.deepcopy(model.state_dict())
    layers = permfc.torch.offload(model, samples(800, 64).split(200), bits=4.0).layers
    bits = {layer.name: layer.bits for layer in layers if layer.bits}
    assert list(bits) == ["small+large"]  # with one input they are one layer, which takes all
    separate = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), Weighted())
    layers = permfc.torch.offload(separate, samples(800, 64).split(200), bits=4.0, layers=["0", "2.small"]).layers
    bits = {layer.name: layer.bits for layer in layers if layer.bits}
    assert bits["0"] > bits["2.small"] + 1.0 and 3.8 < np.mean(list(bits.values())) <= 4.0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_sensitivities_are_sums_of_squared_derivatives() -> None:
    model, x = Weighted(), samples(100, 64).split(50)
    small, large = sensitivities(model, units(model), x)
    assert (small, large) == (pytest.approx(0.02 ** 2 * 6400), pytest.approx(6400))
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())
    frozen = copy.deepcopy(model).requires_grad_(False)
    assert sensitivities(frozen, units(frozen), x) == [small, large]


class Cut(Weighted):
    """A model whose results torch cannot follow back."""

    def forward(self, x):
        return torch.from_numpy(super().forward(x).detach().numpy())


def test_backward_hooks_do_not_run() -> None:
    model = Weighted()
    model.large.register_full_backward_hook(lambda *arguments: pytest.fail("a hook of the user ran"))
    assert sensitivities(model, units(model), [samples(10, 64)]) is None


def test_a_model_without_derivatives_has_the_same_bits_everywhere() -> None:
    assert sensitivities(Cut(), units(Cut()), [samples(10, 64)]) is None
    layers = permfc.torch.offload(nn.Sequential(nn.Linear(64, 64), Cut()), samples(800, 64).split(200), bits=4.0).layers
    bits = [layer.bits for layer in layers if layer.bits]
    assert len(bits) == 2 and min(bits) > 3.8 and max(bits) <= 4.0


class Choosing(nn.Module):
    """The second layer gets only rows for which the first one's sum is positive, twice."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x):
        chosen = x[self.first(x).sum(dim=1) > 0]
        return self.second(self.second(chosen))


def test_rows_behind_other_layers() -> None:
    model, x = Choosing(), [samples(40, 8), samples(30, 8, seed=1)]
    first, second = units(model)
    seen = record(model, [first, second], x)
    assert seen[1].ends == [2, 4]
    same = rows_now(model, second, seen[1], x, {})
    np.testing.assert_array_equal(same, seen[1].rows.rows())
    own = model.first.forward
    assert rows_now(model, second, seen[1], x, {model.first: lambda rows: own(rows).abs()}) is None  # others are chosen, and more
    assert rows_now(model, second, seen[1], x, {model.first: lambda rows: -own(rows)}) is None
    with_bug = {model.first: lambda rows: own(rows)[:, :0].reshape(3)}
    assert rows_now(model, second, seen[1], x, with_bug) is None
    earlier = rows_now(model, first, seen[0], x, {model.second: lambda rows: pytest.fail("the model was not left in time")})
    np.testing.assert_array_equal(earlier, seen[0].rows.rows())


class Heads(nn.Module):
    """Two results, one of a layer that writes over another's, and one of which the gradient may be NaN."""

    def __init__(self, root: bool = False) -> None:
        super().__init__()
        self.stem, self.first, self.second, self.root, self.last = nn.Linear(8, 8), nn.Linear(8, 4), nn.Linear(8, 4), root, None

    def forward(self, x):
        x.mul_(0.5)
        x = self.stem(x).relu_()
        self.last = self.first(x)
        second = self.second(x)
        return {"first": self.last, "second": torch.where(second > 0, second.sqrt(), 0 * second) if self.root else second}


def test_all_results_count_and_values_that_are_written_over() -> None:
    model, x = Heads(), [samples(50, 8)]
    before = x[0].clone()
    found = sensitivities(model, units(model), x)
    assert found[1:] == [200.0, 200.0] and model.last is None and torch.equal(x[0], before)
    with torch.no_grad():
        active = model.stem(0.5 * x[0]) > 0
    signs = np.sqrt(found[0])  # of random signs: about that of all weights behind active features
    both = torch.cat([model.first.weight, model.second.weight]).detach().square().sum(dim=0)
    assert signs == pytest.approx(float((active * both).sum().sqrt()), rel=0.25)
    rooted = Heads(root=True)
    assert sensitivities(rooted, units(rooted), x) is None


def test_a_model_that_writes_into_its_inputs_and_keeps_results() -> None:
    model, x = Heads(), samples(400, 8)
    offloaded = permfc.torch.offload(model, [x.clone()], bits="dense8")
    fresh = samples(100, 8, seed=3)
    with torch.no_grad():
        wanted, found = model(fresh.clone()), offloaded(fresh.clone())
    for name in wanted:
        assert float((found[name] - wanted[name]).norm() / wanted[name].norm()) < 0.05


def test_random_numbers_are_the_same_in_every_run() -> None:
    class Noisy(Deep):
        def forward(self, x):
            return super().forward(x + torch.randn_like(x))

    model, x = Noisy(), [samples(20, 48)]
    first, second = units(model)
    state = torch.random.get_rng_state()
    seen = record(model, [first, second], x)
    np.testing.assert_array_equal(rows_now(model, second, seen[1], x, {}), seen[1].rows.rows())
    assert torch.equal(torch.random.get_rng_state(), state)


@pytest.mark.parametrize("calibration", [[], iter(())])
def test_no_batches(calibration: object) -> None:
    with pytest.raises(InputError, match="calibration holds no batch"):
        permfc.torch.offload(Deep(), calibration)

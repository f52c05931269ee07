"""What torch modules compute, and what is read of them, are the same, or the module is refused."""

from __future__ import annotations

import numpy as np
import pytest

from importer_cases import B1, B2, W1, W2, X
from permfc.errors import ModelError
from permfc.functions import RELU, clip
from permfc.importers import load_model
from permfc.importers.chain import joined

torch = pytest.importorskip("torch")
nn = torch.nn
functional = nn.functional

from test_importers_torch import Functional, linear  # noqa: E402


class Statement(nn.Module):
    """A statement between two layers whose result nobody uses."""

    def __init__(self, statement) -> None:
        super().__init__()
        self.fc1, self.fc2, self.act = linear(W1, B1), linear(W2, B2), nn.ReLU(inplace=True)
        self.statement = statement

    def forward(self, x):
        x = self.fc1(x)
        self.statement(self, x)
        return self.fc2(x)


def joined_by(between) -> Functional:
    """Two layers and a function or module between them."""
    module = Functional(between=between)
    if isinstance(between, nn.Module):
        module.between = between
    return module


def assert_same(module: nn.Module) -> None:
    with torch.no_grad():
        want = module.eval()(torch.from_numpy(X)).numpy()
    np.testing.assert_allclose(load_model(module).predict(X), want, atol=1e-5)


@pytest.mark.parametrize("statement", [
    lambda self, x: functional.relu(x, inplace=True),
    lambda self, x: torch.relu_(x),
    lambda self, x: x.relu_(),
    lambda self, x: self.act(x),
    lambda self, x: x.clamp_(min=0),
    lambda self, x: x.mul_(3),
    lambda self, x: x.relu_().mul_(3).sub_(1),
    lambda self, x: (x.add_(1), functional.leaky_relu_(x, 0.2)),
    lambda self, x: torch.relu(x),  # does nothing
])
def test_what_statements_write_is_seen(statement):
    assert_same(Statement(statement))


def test_the_last_statement_counts_for_results_and_chosen_layers():
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = linear(W1, B1)

        def forward(self, x):
            x = self.fc(x)
            x.relu_()
            return x

    assert load_model(Last()).layers[0].function is RELU
    assert load_model(Statement(lambda self, x: x.relu_()), layers=["fc1"]).layers[0].function is RELU


@pytest.mark.parametrize("statement", [
    lambda self, x: x.view(-1).relu_(),
    lambda self, x: x[:, :2].zero_(),
    lambda self, x: x.data.neg_(),
])
def test_what_is_written_by_another_name_is_refused(statement):
    with pytest.raises(ModelError, match=r"Module Statement cannot be read, since on random inputs the module gives other results than the layers "
                                         r"that were read of it, \d+\.\d% apart: \w+_ '\w+' writes into its input: use its result instead"):
        load_model(Statement(statement))


def test_hooks():
    module = nn.Sequential(linear(W1, B1), nn.ReLU(), linear(W2, B2))
    seen = []
    module[0].register_forward_hook(lambda _, inputs, result: seen.append(result))  # changes nothing
    assert_same(module)
    module[2].register_forward_hook(lambda _, inputs, result: 2 * result)
    with pytest.raises(ModelError, match=r"other results .* apart: module 0 has a forward hook, which a layer would not have: remove it"):
        load_model(module)
    inner = nn.Sequential(nn.Sequential(linear(W1, B1)), linear(W2, B2))
    inner[0].register_forward_hook(lambda _, inputs, result: torch.relu(result))
    assert_same(inner)
    assert load_model(inner).layers[0].function is RELU
    inner.register_forward_hook(lambda _, inputs, result: 2 * result)
    with pytest.raises(ModelError, match=r"Module Sequential has a forward hook of its own, which its layers would not have: remove it"):
        load_model(inner)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("normalised", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm, nn.utils.spectral_norm])
def test_weights_that_are_computed_are_not_stale(normalised):
    module, trained = (nn.Sequential(normalised(nn.Linear(4, 6)), nn.ReLU(), linear(W2, B2)) for _ in range(2))
    module.load_state_dict(trained.state_dict())
    network = load_model(module)
    with torch.no_grad():
        np.testing.assert_allclose(network.predict(X), trained.eval()(torch.from_numpy(X)).numpy(), atol=1e-5)


def test_subclasses_of_linear():
    class Same(nn.Linear):
        pass

    class Doubled(nn.Linear):
        def forward(self, input):
            return 2 * super().forward(input)

    assert_same(nn.Sequential(Same(4, 6), nn.ReLU(), linear(W2, B2)))
    with pytest.raises(ModelError, match=r"apart: module 0 is a Doubled with a forward of its own: leave it to the host, or make it a plain Linear"):
        load_model(nn.Sequential(Doubled(4, 6), nn.ReLU(), linear(W2, B2)))


def test_dropout_that_never_stops_is_refused():
    with pytest.raises(ModelError, match=r"apart: its code does what torch\.fx does not see: export it to ONNX"):
        load_model(Functional(between=lambda x: functional.dropout(x, 0.9)))
    module = joined_by(nn.Dropout(0.9)).train()
    assert len(load_model(module)) == 2 and module.training


def test_a_part_that_cannot_be_run_alone_is_noted():
    class Sized(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.fc1, self.fc2 = nn.Conv1d(1, 2, 3), linear(W1, B1), linear(W2, B2)

        def forward(self, x):
            samples = x.size(0)
            return self.fc2(torch.relu(self.fc1(self.conv(x).flatten(1)).view(samples, -1)))

    network = load_model(Sized())
    assert network.notes[-1] == ("The layers of Module Sized were not compared with the module, which cannot be run on random inputs: "
                                 "fc2 depends on more than flatten")


@pytest.mark.parametrize("between", [
    nn.Tanh(), nn.Sigmoid(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(inplace=True), nn.Hardswish(), nn.Hardsigmoid(), nn.LeakyReLU(0.1), nn.PReLU(),
    nn.ELU(0.5), nn.SELU(), nn.Softplus(2.0), nn.ReLU6(), nn.Hardtanh(-2, 0.5), nn.Mish(), nn.CELU(), nn.Softsign(),
    torch.tanh, functional.sigmoid, torch.sigmoid, functional.gelu, lambda x: functional.gelu(x, approximate="tanh"), functional.silu,
    functional.hardswish, functional.hardsigmoid, lambda x: functional.leaky_relu(x, 0.3), lambda x: functional.leaky_relu(x, negative_slope=0.3),
    lambda x: functional.elu(x, alpha=0.3), functional.selu, lambda x: functional.softplus(x, beta=3), functional.relu6,
    lambda x: functional.hardtanh(x, -0.5, max_val=2), lambda x: x.tanh().sigmoid(), lambda x: x.clamp(-1, 1), lambda x: torch.clip(x, max=0.5),
    lambda x: x.clamp_min(0.25), lambda x: torch.relu(x) * 3 - 0.5, lambda x: torch.tanh(x.relu() * 0.5 + 0.1),
    lambda x: torch.relu(1 - x / 2), lambda x: 2 + 3 * torch.relu(x),
])
def test_functions_between_layers(between):
    assert_same(joined_by(between))


def test_functions_that_are_known_better():
    def function(between):
        return load_model(joined_by(between)).layers[0].function

    assert function(lambda x: x.clamp(min=0)) is RELU and function(lambda x: torch.clamp(torch.relu(x), min=-1)) is RELU
    assert function(nn.ReLU6()).clamp == (0, 6) and function(nn.ReLU6()).is_rectifier
    assert function(nn.LeakyReLU(0.1)).homogeneous and function(nn.GELU()).needs_table
    assert function(nn.Sequential(nn.ReLU(), nn.GELU())).name == "GELU of ReLU"
    assert joined(clip(-1, 3), clip(2, 9)).clamp == (2, 3)


@pytest.mark.parametrize("between", [nn.PReLU(6), lambda x: x * x, lambda x: torch.clamp(x, min=x.mean()), lambda x: 1 / (3 + x)])
def test_what_is_no_function_of_each_number(between):
    with pytest.raises(ModelError, match=r"of Module Functional cannot be part of a fully connected network"):
        load_model(joined_by(between))


def test_factors_in_front_are_folded():
    module = Functional(before=lambda x: (x - 0.5) / 0.25)
    network = load_model(module)
    assert network.notes == ()
    assert_same(module)


def test_wrappers():
    assert len(load_model(nn.DataParallel(Functional()))) == 2
    with pytest.raises(ModelError, match=r"Module 0 is TorchScript, which has no modules to look into"):
        load_model(nn.Sequential(torch.jit.ScriptModule()))

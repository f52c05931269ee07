"""permfc.torch.offload: what is exchanged, what is not and why, and what the exchanged model computes."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from permfc.compression.compress import compress
from permfc.errors import ConfigError, InputError, LinkError, ModelError
from permfc.graph.features import FeatureNetwork
from torch_cases import quick_compress

torch = pytest.importorskip("torch")
nn = torch.nn

import permfc.torch  # noqa: E402
from permfc.torch import compressing  # noqa: E402
from permfc.torch.rows import SpacedRows  # noqa: E402


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(compressing, "compress", quick_compress)
    torch.manual_seed(0)


@pytest.fixture
def real(monkeypatch):
    monkeypatch.setattr(compressing, "compress", compress)


def batches(*shape: int, count: int = 3) -> list[torch.Tensor]:
    return [torch.randn(shape) for _ in range(count)]


def close(found: torch.Tensor, wanted: torch.Tensor, part: float = 0.03) -> bool:
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).norm()) <= part * float(wanted.norm())


class Block(nn.Module):
    """Attention of one head, then two layers; one layer is never called."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.query, self.key, self.value, self.mixed = (nn.Linear(width, width) for _ in range(4))
        self.wide, self.narrow, self.unused = nn.Linear(width, 2 * width), nn.Linear(2 * width, width, bias=False), nn.Linear(3, 3)

    def forward(self, x):
        attention = torch.softmax(self.query(x) @ self.key(x).transpose(-1, -2), -1)
        x = x + self.mixed(attention @ self.value(x))
        return x + self.narrow(nn.functional.gelu(self.wide(x)))


def test_a_block():
    block = Block().train()
    before = copy.deepcopy(block.state_dict())
    offloaded = permfc.torch.offload(block, batches(4, 5, 16))
    assert [layer.name for layer in offloaded.layers] == ["query+key+value", "mixed", "wide", "narrow", "unused"]
    assert offloaded.layers[0].modules == ("query", "key", "value") and offloaded.layers[0].shape == (48, 16)
    assert offloaded.layers[4].reason == "no calibration batch reached it"
    x = torch.randn(2, 5, 16)
    assert close(offloaded(x), block(x))
    assert block.training and all(torch.equal(value, before[name]) for name, value in block.state_dict().items())
    assert isinstance(block.query, nn.Linear) and "forward" not in block.query.__dict__
    assert list(offloaded.module.state_dict()) == ["unused.weight", "unused.bias"]


def test_the_engine_runs_once_for_modules_with_one_input():
    offloaded = permfc.torch.offload(Block(), batches(4, 5, 16))
    x = torch.randn(2, 5, 16)
    offloaded(x)
    work = offloaded.counters()
    assert {name: found.runs for name, found in work.items()} == {"query+key+value": 10, "mixed": 10, "wide": 10, "narrow": 10}
    assert all(found.bytes > 0 for found in work.values())
    offloaded(x[:1])
    assert offloaded.counters()["mixed"].runs == 5
    query, key = offloaded.module.query(x), offloaded.module.key(x)
    x.mul_(2)  # the same tensor, other values
    assert not torch.equal(offloaded.module.query(x), query) and not torch.equal(offloaded.module.key(x), key)


def test_the_report():
    offloaded = permfc.torch.offload(Block(), batches(4, 5, 16))
    first, layers = offloaded.layers[0], offloaded.layers
    assert first.kinds == {"dense8": 16} and 0 < first.error < 0.02
    assert first.bits == 8 * first.image_bytes / (48 * 16)
    assert layers.share == (4 * 256 + 1024) / (4 * 256 + 1024 + 9) and layers.image_bytes == sum(layer.image_bytes for layer in layers)
    lines = repr(layers).splitlines()
    assert lines[0].split() == ["layer", "shape", "bits", "bytes", "error", "kinds"] and lines[1].startswith("query+key+value  48x16  ")
    assert lines[5].endswith("in torch: no calibration batch reached it")
    assert lines[6].startswith("4 of 5 layers are on the engine: 99.6% of the fully connected weights, 95.0% of the 2,156 parameters; ")


def test_chosen_and_skipped():
    offloaded = permfc.torch.offload(Block(), batches(4, 5, 16), layers=["query", "value", "w*"], skip=["value"])
    reasons = {layer.name: layer.reason for layer in offloaded.layers}
    assert reasons == {"query": "", "key": "not among the layers named", "value": "skipped", "mixed": "not among the layers named", "wide": "",
                       "narrow": "not among the layers named", "unused": "not among the layers named"}
    with pytest.raises(ModelError, match=r"skip names 'querry', but there are query, key, value"):
        permfc.torch.offload(Block(), [], skip=["querry"])
    with pytest.raises(ModelError, match=r"layers must be a list of names, not 'query': write \['query'\]"):
        permfc.torch.offload(Block(), [], layers="query")


class Doubled(nn.Linear):
    def forward(self, input):
        return 2 * super().forward(input)


class Same(nn.Linear):
    """A subclass that computes what its base does."""


def test_why_layers_stay():
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.doubled, self.same, self.wide = Doubled(4, 4), Same(4, 4), nn.Linear(4, 32769)
            self.attention = nn.MultiheadAttention(4, 1, batch_first=True)

        def forward(self, x):
            return self.wide(self.attention(x, x, x)[0] + self.doubled(x) + self.same(x))

    reasons = {layer.name: layer.reason for layer in permfc.torch.offload(Model(), batches(2, 3, 4)).layers}
    assert reasons == {
        "doubled": "Doubled computes something else than its weights times its inputs plus its bias", "same": "",
        "wide": "it has more than the 32768 inputs or outputs that an engine can have",
        "attention.out_proj": "MultiheadAttention uses its weight, and does not call it"}
    with pytest.raises(ModelError, match=r"No layer of Linear can be offloaded: Linear, Target of 0.5 bits a weight cannot be reached"):
        permfc.torch.offload(nn.Linear(4, 4), batches(2, 4), bits=0.5)
    with pytest.raises(ModelError, match=r"Module ReLU has no Linear module"):
        permfc.torch.offload(nn.ReLU(), batches(2, 4))


def test_one_matrix_of_two_modules_and_a_module_called_twice():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(7, 8)
            self.first, self.second, self.head = nn.Linear(8, 8), nn.Linear(8, 8), nn.Linear(8, 7, bias=False)
            self.second.weight, self.second.bias = self.first.weight, self.first.bias
            self.head.weight = self.embedding.weight

        def forward(self, tokens):
            x = self.embedding(tokens)
            return self.head(self.second(self.first(self.first(x))))

    model, tokens = Tied(), torch.arange(7).repeat(10, 1)
    offloaded = permfc.torch.offload(model, [tokens])
    assert [layer.modules for layer in offloaded.layers] == [("first", "second"), ("head",)]
    assert close(offloaded(tokens), model(tokens))
    assert offloaded.counters()["first"].runs == 3 * 70


def test_encoder_layers_call_their_modules():
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 2, 32, batch_first=True), 2).eval()
    with torch.no_grad():
        want = encoder(torch.ones(2, 3, 16))
    offloaded = permfc.torch.offload(encoder, batches(4, 5, 16))
    assert [layer.name for layer in offloaded.layers.offloaded] == [f"layers.{n}.linear{m}" for n in (0, 1) for m in (1, 2)]
    assert close(offloaded(torch.ones(2, 3, 16)), want)
    assert len(offloaded.counters()) == 4
    assert encoder.layers[0].activation_relu_or_gelu == 1 and torch.backends.mha.get_fastpath_enabled()


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("normalised", [nn.utils.weight_norm, nn.utils.spectral_norm, nn.utils.parametrizations.weight_norm])
def test_computed_weights(normalised):
    model = nn.Sequential(normalised(nn.Linear(8, 8)), nn.ReLU(), nn.Linear(8, 3)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(3)  # the weight is stale until the next call
    x = torch.randn(5, 8)
    offloaded = permfc.torch.offload(model, batches(20, 8))
    assert offloaded.layers.share == 1
    assert close(offloaded(x), model(x))


def test_hooks_of_exchanged_modules_go_on_working():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    model[0].register_forward_hook(lambda module, inputs, result: 2 * result)
    model[1].register_forward_pre_hook(lambda module, inputs, named: ((inputs[0] + 1,), named), with_kwargs=True)
    offloaded = permfc.torch.offload(model, batches(20, 8))
    x = torch.randn(5, 8)
    assert close(offloaded(x), model(x)) and offloaded.layers.share == 1
    model[0].register_full_backward_hook(lambda module, *gradients: None)
    with pytest.raises(ModelError, match=r"Module 0 has backward hooks, but no gradient passes through the engine"):
        permfc.torch.offload(model, batches(20, 8))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_types_are_kept(dtype):
    model = nn.Linear(8, 3).to(dtype)
    offloaded = permfc.torch.offload(model, [batch.to(dtype) for batch in batches(20, 8)])
    result = offloaded(torch.ones(2, 2, 8, dtype=dtype))
    assert result.dtype == dtype and close(result, model(torch.ones(2, 2, 8, dtype=dtype)), 0.05)
    assert offloaded(torch.ones(0, 8, dtype=dtype)).shape == (0, 3) and offloaded(torch.ones(8, dtype=dtype)).shape == (3,)
    assert offloaded.module.weight.dtype == dtype and offloaded.module.weight.shape == (3, 8)


def test_batches_of_every_form():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(4, 2)

        def forward(self, x, scale=1.0):
            return {"result": self.fc(x * scale)}

    x = torch.randn(10, 4)
    forms = [permfc.torch.offload(Two(), iter([batch])) for batch in (x, (x, 1.0), {"x": x, "scale": 1.0})]
    assert all(form(x, scale=2.0)["result"].shape == (10, 2) for form in forms)
    for wrong, text in (([], r"calibration holds no batch"), (3, r"calibration must be several batches, not one int"),
                        (x, r"calibration must be several batches, not one Tensor: write \[batch\]"),
                        ([(x, x, x)], r"Two does not take calibration batch 0, which is a tuple: .*without labels")):
        with pytest.raises(InputError, match=text):
            permfc.torch.offload(Two(), wrong)


def test_what_an_exchanged_model_refuses():
    model = nn.Sequential(nn.Linear(4, 2))
    offloaded = permfc.torch.offload(model, batches(10, 4))
    with pytest.raises(InputError, match=r"Layer 0: Input must be finite, but feature 1 of sample 0 is nan"):
        offloaded(torch.tensor([[0.0, np.nan, 0.0, 0.0]]))
    with pytest.raises(InputError, match=r"Layer 0 takes 4 features, not a tensor of shape \[1, 3\]"):
        offloaded(torch.zeros(1, 3))
    with pytest.raises(ModelError, match=r"cannot be trained: train the original"):
        offloaded.train()
    assert offloaded.eval() is offloaded and not offloaded(torch.zeros(1, 4)).requires_grad


@pytest.mark.parametrize("kind", [torch.int64, torch.uint8, torch.bool, torch.complex64])
def test_what_is_no_real_number_is_refused_as_by_linear(kind):
    model = nn.Sequential(nn.Linear(4, 2))
    x = torch.ones(3, 4).to(kind)
    with pytest.raises(RuntimeError):
        model(x)
    with pytest.raises(InputError, match=rf"^Layer 0 takes real numbers, not {kind}: convert the input, with \.float\(\) for instance$"):
        permfc.torch.offload(model, batches(10, 4))(x)


@pytest.mark.parametrize("model", [nn.Sequential(nn.Linear(4, 2)), nn.Sequential(nn.Tanh(), nn.Linear(4, 2))])
def test_no_gradient_is_lost_silently(model):
    offloaded, x = permfc.torch.offload(model, batches(10, 4)), torch.zeros(1, 4, requires_grad=True)
    for called in (offloaded, offloaded.module):
        with pytest.raises(ModelError, match=r"^Layer \d runs on the engine, through which no gradient passes: call the model under torch\.no_grad"):
            called(x)
    with torch.no_grad():
        assert torch.equal(offloaded(x), offloaded(x.detach()))


@pytest.mark.parametrize(("given", "text"), [
    ("m", r"^A model must be a torch module, not 'm'$"),
    (nn.Linear, r"^A model must be a torch module, not the class Linear: give an object of it, with any weights$"),
])
def test_what_is_no_module(given, text):
    for call in (lambda: permfc.torch.offload(given, batches(10, 4)), lambda: permfc.torch.load("model", given),
                 lambda: FeatureNetwork.from_torch(given)):
        with pytest.raises(ModelError, match=text):
            call()


def test_code_that_needs_a_weight_is_found_out():
    class Reads(nn.Linear):
        def forward(self, input):
            return nn.functional.linear(input, self.weight, self.bias)

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = Reads(4, 4)

        def forward(self, x):
            return self.fc(x) @ self.fc.weight

    with pytest.raises(ModelError, match=r"does not take the first calibration batch after .*skip the module"):
        permfc.torch.offload(Model(), batches(10, 4))


def test_wrappers():
    model = nn.Sequential(nn.Linear(4, 2))
    compiled = type("OptimizedModule", (nn.Module,), {"__module__": "torch._dynamo.eval_frame"})()  # torch.compile takes ten seconds to import
    compiled._orig_mod = model
    for wrapped in (nn.DataParallel(model), compiled):
        assert permfc.torch.offload(wrapped, batches(10, 4)).layers[0].name == "0"
    with pytest.raises(ModelError, match=r"Submodule 0 is a DataParallel: take the module inside, `module`, in its place"):
        permfc.torch.offload(nn.Sequential(nn.DataParallel(model)), batches(10, 4))
    inner = nn.Sequential(nn.Linear(4, 2))
    inner[0]._compiled_call_impl = print  # what its method compile() sets
    with pytest.raises(ModelError, match=r"Module 0 was compiled by its method compile\(\): take it as it was before"):
        permfc.torch.offload(inner, batches(10, 4))
    with pytest.raises(ModelError, match=r"Module 0 is TorchScript, which has no modules"):
        permfc.torch.offload(nn.Sequential(torch.jit.ScriptModule()), batches(10, 4))


@pytest.mark.parametrize("sizes", [[3], [5, 5], [7, 1, 30, 11], [100], [1] * 50])
def test_rows_are_evenly_spaced(sizes):
    kept, start = SpacedRows(8), 0
    for size in sizes:
        kept.add(np.arange(start, start + size)[:, None].astype(np.float32))
        start += size
    rows = kept.rows()[:, 0]
    assert rows[0] == 0 and min(start, 4) <= len(rows) <= 8
    assert len(rows) == 1 or len(set(np.diff(rows))) == 1 and start - rows[-1] <= rows[1]


def test_a_device_by_its_name():
    model = nn.Sequential(nn.Linear(4, 2))
    offloaded = permfc.torch.offload(model, batches(10, 4), device="golden:bus_bits=64")
    offloaded(torch.zeros(3, 4))
    work = offloaded.counters()["0"]
    assert (work.runs, work.cycles, work.source) == (3, None, "predicted") and work.bytes % 24 == 0
    with pytest.raises(ConfigError, match=r"Device 'gloden' is of no known kind"):
        permfc.torch.offload(model, iter(lambda: pytest.fail("calibrated before the device's name was checked"), None), device="gloden")
    with offloaded:
        pass
    with pytest.raises(LinkError, match=r"The golden device is closed"):
        offloaded(torch.zeros(3, 4))


def test_the_real_compressor(real):
    model, seen = nn.utils.parametrizations.weight_norm(nn.Linear(6, 4)), []
    offloaded = permfc.torch.offload(model, batches(20, 6), bits="dense8", progress=lambda *step: seen.append(step))
    assert offloaded.layers[0].kinds == {"dense8": 6} and offloaded.layers[0].error < 0.03
    assert offloaded.layers[0].name == "ParametrizedLinear" and offloaded.layers[0].modules == ("",)
    x = torch.randn(3, 6)
    assert close(offloaded(x), model(x))
    assert seen[0] == ("record layers", 0, 1) and ("compress layers", 1, 1) in seen and seen[-1] == ("load", 1, 1)
    with pytest.raises(ModelError, match=r"No layer of ParametrizedLinear can be offloaded: .*, Target of 0\.1 bits a weight cannot be reached"):
        permfc.torch.offload(model, batches(20, 6), bits=0.1)
    with pytest.raises(InputError, match=r"Layer ParametrizedLinear: .* must be finite, but"):
        permfc.torch.offload(model, [torch.full((20, 6), torch.nan)], bits=64)


def test_under_inference_mode():
    model, x = Block(), torch.randn(2, 5, 16)
    with torch.inference_mode():
        offloaded = permfc.torch.offload(model, batches(4, 5, 16))
        assert offloaded.layers[0].name == "query+key+value" and close(offloaded(x.clone()), model(x))
    assert close(offloaded(x), model(x))


def test_a_layer_that_keeps_no_weight_stays_in_torch(real) -> None:
    with pytest.raises(ModelError, match=r"No layer of Linear can be offloaded: .*with so few bits it keeps none of its weights"):
        permfc.torch.offload(nn.Linear(64, 10), calibration=batches(100, 64), bits=1.8)

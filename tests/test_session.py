"""Whole networks: compressed, saved, loaded and run with their own inputs and outputs."""

from __future__ import annotations

import json
import warnings
import zipfile
from functools import partial

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import permfc  # noqa: E402
from graph_cases import graph, node, original, values  # noqa: E402
from permfc.errors import FormatError, InputError, LinkError, ModelError, ToolError  # noqa: E402
from permfc.graph.partition import partition  # noqa: E402
from permfc.graph.recording import reached  # noqa: E402
from permfc.graph.running import run_samples  # noqa: E402
from permfc.graph.values import Value, relative_error, share_equal  # noqa: E402
from permfc.graph.whole import WholeNetwork  # noqa: E402

pytestmark = pytest.mark.usefixtures("short_search")

W1, B1, W2, B2 = values(24, 16), values(24), values(8, 24), values(8)
LAYERS = {"fc1.weight": W1, "b1": B1, "fc2.weight": W2, "b2": B2}
GRAPHS = {
    "relu": [node("Gemm", "x fc1.weight b1", "h", transB=1), node("Relu", "h", "a"), node("Gemm", "a fc2.weight b2", "y", transB=1)],
    "softmax": [node("Gemm", "x fc1.weight b1", "h", transB=1), node("Softmax", "h", "a"), node("Gemm", "a fc2.weight b2", "y", transB=1)],
    "residual": [node("Gemm", "x fc1.weight b1", "h", transB=1), node("Add", "h h", "s"), node("LayerNormalization", "s n", "a"),
                 node("Gemm", "a fc2.weight b2", "l", transB=1), node("ArgMax", "l", "y", axis=1, keepdims=0)],
}
SAMPLES = values(40, 16, size=1.0)
BITS = 24.0  # of matrices so small, mostly headers


def model(name="relu", batch="batch", **given):
    return graph(GRAPHS[name], LAYERS | {"n": np.ones(24, np.float32)}, {"x": [batch, 16]}, **given)


def compressed(made, samples=SAMPLES, **more):
    """A network whose weights are int8, which is quick."""
    return permfc.compress_graph(made, samples, BITS, per_layer={"fc1": "dense8", "fc2": "dense8"}, **more)


@pytest.fixture(scope="module")
def network():
    return compressed(model("softmax"), source="net.onnx")


@pytest.mark.parametrize("name", GRAPHS)
def test_results_are_those_of_the_original_but_for_rounding(name, tmp_path):
    compressed(model(name)).save(tmp_path / "net")
    wanted = original(model(name), {"x": SAMPLES})
    with permfc.Session(tmp_path / "net") as session:
        found = session.run(None, {"x": SAMPLES})
    assert relative_error(found, wanted) < 0.02 and share_equal(found, wanted) >= 0.9
    assert found[0].dtype == wanted[0].dtype and found[0].shape == wanted[0].shape


def test_a_chain_is_compressed_for_what_the_ones_before_give(monkeypatch):
    """And is told what they would give in float; compressed alone, it is not."""
    from permfc.graph import compressing

    given, compress = [], compressing.compress

    def noting(network, bits, samples, *more, reference, **named):
        given.append((samples, reference))
        return compress(network, bits, samples, *more, reference=reference, **named)

    monkeypatch.setattr(compressing, "compress", noting)
    made = compressed(model("softmax"))
    first = made.chains["fc1"].predict(SAMPLES)
    (x, nothing), (now, before) = given
    np.testing.assert_array_equal(x, SAMPLES)
    np.testing.assert_allclose(now, softmax(first), atol=1e-6)
    np.testing.assert_allclose(before, softmax(SAMPLES @ W1.T + B1), atol=1e-6)
    assert nothing is None and not np.array_equal(now, before)


def test_a_batch_that_gives_a_chain_on_the_host_no_rows():
    part = partition(model("softmax"))
    first, second = part.chains

    class Empty:
        """A plan without a host's part."""

        def run(self, feeds, compute):
            compute(second.name, compute(first.name, feeds["x"]))

    assert reached(Empty(), part, second, {}, [{"x": SAMPLES[:0]}, {"x": SAMPLES[:3]}]).shape == (3, 24)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(axis=1, keepdims=True)


def test_a_session_is_used_like_onnxruntimes(network):
    session = permfc.Session(network, check=True)
    value, = session.get_inputs()
    assert (value.name, value.type, value.shape) == ("x", "tensor(float)", ["batch", 16])
    assert [value.name for value in session.get_outputs()] == ["y"]
    np.testing.assert_array_equal(session.run(["y"], {"x": SAMPLES})[0], session.run(None, {"x": SAMPLES})[0])
    runs = session.last_run
    assert [(run.chain, run.samples, run.cycles, run.source, run.mismatches) for run in runs.values()] == [
        ("fc1", 40, None, "predicted", 0), ("fc2", 40, None, "predicted", 0)]
    assert all(run.bytes > 0 for run in runs.values())
    session.close()


@pytest.mark.filterwarnings("ignore::permfc.ClippingWarning")
def test_clipped_inputs_are_counted(network):
    with permfc.Session(network) as session:
        session.run(None, {"x": SAMPLES})
        assert session.last_run["fc1"].clipped < 0.01
        session.run(None, {"x": 100 * SAMPLES})
        assert session.last_run["fc1"].clipped == network.chains["fc1"].clipped_share(100 * SAMPLES) > 0.9


def test_clipped_inputs_are_warned_of_once_a_session(network):
    for _ in range(2):
        with permfc.Session(network) as session, warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            for x in (SAMPLES, 100 * SAMPLES, 1e30 * SAMPLES):
                session.run(None, {"x": x})
        (warned,) = seen
        assert warned.category is permfc.ClippingWarning and warned.filename == __file__
        assert "of the values that reach chain fc1 are outside of the range that the network was compressed for" in str(warned.message)


@pytest.mark.filterwarnings("ignore::permfc.ClippingWarning")
def test_clipped_inputs_of_several_runs_are_joined():
    fixed, x = compressed(model("softmax", batch=20)), np.concatenate([SAMPLES[:20], 100 * SAMPLES[:20]])
    with permfc.Session(fixed) as session:
        _, (run, _) = run_samples(session, x)
    assert run.samples == 40 and run.clipped == pytest.approx(fixed.chains["fc1"].clipped_share(x))


def test_every_chains_error_is_told(network):
    """With what the chains before have done to its inputs."""
    first = network.chains["fc1"].predict(SAMPLES)
    inputs, before = {"fc1": SAMPLES, "fc2": softmax(first)}, {"fc1": SAMPLES, "fc2": softmax(SAMPLES @ W1.T + B1)}
    for name, weight, bias in (("fc1", W1, B1), ("fc2", W2, B2)):
        chain, figures = network.chains[name], network.figures[name]
        assert figures.error == pytest.approx(relative_error([chain.predict(inputs[name])], [before[name] @ weight.T + bias]), rel=1e-3)
        assert 0 < figures.error < 0.02 and figures.clipped == chain.clipped_share(inputs[name])


def test_the_simulated_engine_gives_the_golden_models_results(network):
    pytest.importorskip("permfc_sim")
    with permfc.Session(network) as golden, permfc.Session(network, "sim", check=True) as session:
        np.testing.assert_array_equal(session.run(None, {"x": SAMPLES[:3]})[0], golden.run(None, {"x": SAMPLES[:3]})[0])
        for name, run in session.last_run.items():
            assert run.source == "counted" and run.cycles > 0 and run.mismatches == 0
            assert run.bytes == golden.last_run[name].bytes


@pytest.mark.parametrize(("names", "feeds", "text"), [
    (["z"], {"x": SAMPLES}, r"has no output 'z'; its outputs are y"),
    (None, {}, r"^The network takes the inputs x: x is missing$"),
    (None, {"x": SAMPLES, "w": SAMPLES}, r"^The network takes the inputs x: there is no w$"),
    (None, {"w": SAMPLES}, r"^The network takes the inputs x: there is no w, and x is missing$"),
    (None, {"x": SAMPLES[:, :3]}, r"Input 'x' must have the shape \[batch, 16\], not \[40, 3\]"),
    (None, {"x": np.array([["a"] * 16])}, r"Input 'x' must be float32, not <U1"),
    (None, {"x": np.full((1, 16), np.nan, np.float32)}, r"Chain 'fc1': Input must be finite"),
    ("y", {"x": SAMPLES}, r"^Names of outputs must be a list of texts, or None for all, not 'y'$"),
    (3, {"x": SAMPLES}, r"^Names of outputs must be a list of texts, or None for all, not 3$"),
    (None, {"x": [[1, 2], [3]]}, r"Input 'x' is no array: "),
    (None, SAMPLES, r"Inputs must be a mapping of names to arrays, here x, not ndarray"),
])
def test_unusable_inputs(network, names, feeds, text):
    with permfc.Session(network) as session, pytest.raises(InputError, match=text):
        session.run(names, feeds)


@pytest.mark.parametrize("value", [-129, 300])
def test_integers_are_never_wrapped(value):
    assert Value("b", "tensor(int8)", ["n", 1]).checked(np.array([[-128], [127]])).dtype == np.int8
    with pytest.raises(InputError, match=rf"^Input 'b' must be int8, -128\.\.127, not {min(value, 0)}\.\.{max(value, 0)}$"):
        Value("b", "tensor(int8)", ["n", 1]).checked(np.array([[0], [value]]))


@pytest.mark.parametrize("rows", [0, 2])
def test_a_closed_session_refuses(network, rows):
    session = permfc.Session(network)
    session.close()
    with pytest.raises(LinkError, match=r"^The session is closed; open it again$"):
        session.run(None, {"x": SAMPLES[:rows]})


@pytest.mark.parametrize("given", [3, None])
def test_what_is_no_network_is_refused(given):
    with pytest.raises(ModelError, match=rf"^A session runs a WholeNetwork or the path of its file, not {type(given).__name__}: make one"):
        permfc.Session(given)


def test_no_rows_give_no_results(network):
    with permfc.Session(network) as session:
        assert session.run(None, {"x": SAMPLES[:0]})[0].shape == (0, 8)


def test_a_model_exported_for_a_fixed_number_of_samples_runs_on_any(network):
    fixed = compressed(model("softmax", batch=7))
    with permfc.Session(fixed) as session:
        results, runs = run_samples(session, SAMPLES)
    assert results[0].shape == (40, 8) and [run.samples for run in runs] == [42, 42]
    with permfc.Session(network) as session:
        assert relative_error(results, run_samples(session, SAMPLES)[0]) < 0.05


def test_results_without_samples_are_not_joined():
    nodes = [*GRAPHS["relu"], node("ReduceMean", "y", "mean", keepdims=0)]
    with permfc.Session(compressed(graph(nodes, LAYERS, {"x": [20, 16]}, ("y", "mean")))) as session:
        assert run_samples(session, SAMPLES[:20])[0][1].shape == ()
        with pytest.raises(InputError, match=r"^Output 'mean' has no row for each sample, so that those of 2 runs cannot be joined: give as many"):
            run_samples(session, SAMPLES)


def test_several_inputs_are_given_by_name():
    nodes = [node("Concat", "x z", "c", axis=1), node("Gemm", "c fc1.weight", "y")]
    two = graph(nodes, {"fc1.weight": values(20, 8)}, {"x": ["n", 16], "z": ["n", 4]})
    feeds = {"x": SAMPLES, "z": SAMPLES[:, :4]}
    made = permfc.compress_graph(two, feeds, BITS, per_layer={"fc1": "dense8"})
    with permfc.Session(made) as session:
        assert relative_error(session.run(None, feeds), original(two, feeds)) < 0.02
    with pytest.raises(InputError, match=r"takes the inputs x, z: give an array for each by its name"):
        permfc.compress_graph(two, SAMPLES, BITS)


@pytest.mark.parametrize("nodes", [
    [node("Concat", "x z", "c", axis=1), node("Gemm", "c both", "y")],
    [node("Gemm", "x fc1.weight", "h", transB=1), node("Gemm", "z other", "o"), node("Add", "h o", "y")],
], ids=["in the first stage", "in the last stage"])
def test_inputs_of_different_lengths_are_told_in_our_words(nodes, capfd):
    two = graph(nodes, {"both": values(20, 8), "other": values(4, 24), "fc1.weight": W1}, {"x": ["n", 16], "z": ["n", 4]})
    feeds, uneven = {"x": SAMPLES, "z": SAMPLES[:, :4]}, {"x": SAMPLES[:7], "z": SAMPLES[:, :4]}
    with permfc.Session(permfc.compress_graph(two, feeds, "dense8")) as session:
        for run in (lambda: session.run(None, uneven), lambda: permfc.compress_graph(two, uneven, "dense8")):
            with pytest.raises(InputError, match=r"does not take x float32 \[7, 16\], z float32 \[40, 4\]: x has 7 rows, z 40; operator") as told:
                run()
            assert "onnxruntime" not in str(told.value) and "::" not in str(told.value)
    assert capfd.readouterr().err == ""


def test_batches_of_different_lengths_calibrate():
    batches = [{"x": SAMPLES[:5]}, {"x": SAMPLES[5:]}]
    assert compressed(model(), batches).totals["relative_error"] < 0.02


def test_layers_tell_where_they_run(network):
    made = permfc.compress_graph(model("softmax"), SAMPLES, BITS, skip=["fc1"], per_layer={"fc2": "dense8"})
    assert [(row.name, row.chain, row.reason) for row in made.rows] == [("fc2", "fc2", ""), ("fc1", "", "skipped")]
    assert made.engine_weights == made.totals["engine_weights"] == made.totals["engine_multiplications"] == 192
    assert network.totals["engine_multiplications"] == network.totals["multiplications"]


def test_single_layers_get_what_was_chosen_for_them(network):
    assert {segments.kind.value for chain in network.chains.values() for segments in chain.layers[0].classes} <= {"dense8", "empty"}
    with pytest.raises(ModelError, match=r"has no fully connected layer 'fc9'; on the engine are fc1, fc2"):
        permfc.compress_graph(model("softmax"), SAMPLES, BITS, per_layer={"fc9": 3})


@pytest.mark.parametrize(("bits", "choice", "text"), [
    (BITS, "dense9", r"^Layer fc2 must have a positive number of bits a weight or one of the kinds prefix, sparse, dense8, not 'dense9'$"),
    (BITS, "dense8", r"^Layer fc2 cannot be dense8 on an engine with 8 levels: that takes 16$"),
    ("dense8", "prefix", r"^Layer fc1 cannot be dense8 on an engine with 8 levels: that takes 16$"),
])
def test_a_kind_that_no_layer_can_have_is_a_mistake(bits, choice, text):
    with pytest.raises(ModelError, match=text):  # and does not leave the layer on the host
        permfc.compress_graph(model("softmax"), SAMPLES, bits, per_layer={"fc2": choice}, config=permfc.EngineConfig(levels=8))


@pytest.mark.parametrize(("inputs", "text"), [
    (SAMPLES[:0], r"^There is no sample in these inputs: give one or more$"), ([], r"^There is no batch in these inputs: give one or more$"),
    (None, r"^Inputs must be an array, a mapping of names to arrays or an iterable of such mappings, not NoneType$"),
])
def test_no_samples(inputs, text):
    with pytest.raises(InputError, match=text):
        permfc.compress_graph(model(), inputs, BITS)


@pytest.mark.parametrize(("given", "more", "text"), [
    ("net.onnx", {}, r"^model must be a ModelProto, such as onnx\.load gives, not str$"),
    (model(), {"layers": "fc1"}, r"^layers must be a list of names of layers, not 'fc1'$"),
    (model(), {"skip": "fc1"}, r"^skip must be a list of names of layers, not 'fc1'$"),
    (model(), {"per_layer": ["fc1"]}, r"^per_layer must map names of layers to bits or kinds, not \['fc1'\]: write \{name: bits\}$"),
    (model(), {"per_layer": "fc1"}, r"^per_layer must map names of layers to bits or kinds, not 'fc1': write"),
    (model(), {"config": 8}, r"^config must be an EngineConfig, not 8$"),
])
def test_arguments_of_other_kinds_are_refused(given, more, text):
    with pytest.raises(ModelError, match=text):
        permfc.compress_graph(given, SAMPLES, BITS, **more)


@pytest.mark.parametrize("bits", [0, float("nan"), float("inf"), "dense4", True])
def test_bits_are_checked_first(bits):
    with pytest.raises(ModelError, match=rf"^Target bits a weight must be a positive number, or dense8, not {bits!r}"):
        permfc.compress_graph(model(), SAMPLES, bits)


@pytest.mark.parametrize("sample", [0, 39])
def test_calibration_that_is_not_finite_is_told_with_its_chain(sample):
    bad = SAMPLES.copy()
    bad[sample, 3] = np.nan
    parts = [{"x": bad[:20]}, {"x": bad[20:]}]
    with pytest.raises(InputError, match=r"^Chain 'fc1'.* must be finite, but feature 3 of sample \d+ is nan"):
        compressed(model(), parts)


@pytest.mark.parametrize("training", [True, False])
def test_dropout_that_draws_is_not_compared(training, monkeypatch):
    nodes = [GRAPHS["relu"][0], node("Dropout", "h ratio training", "a"), GRAPHS["relu"][2]]
    drawing = graph(nodes, LAYERS | {"ratio": np.float32(0.5), "training": np.bool_(training)}, {"x": ["batch", 16]})
    assert compressed(drawing).engine_weights == W1.size + W2.size
    monkeypatch.setattr("permfc.graph.agreement.tolerance", lambda part, original: -1.0)
    if not training:
        with pytest.raises(ModelError, match=r"cut into chains gives results that differ"):
            compressed(drawing)


def changed(path, edit):
    """The network file ``path`` with its parts changed by ``edit``, a function of them by name."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    edit(parts)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, part in parts.items():
            archive.writestr(name, part)


def exchange(parts):
    parts["chain0.safetensors"], parts["chain1.safetensors"] = parts["chain1.safetensors"], parts["chain0.safetensors"]


def rename(parts):
    manifest = json.loads(parts["permfc.json"])
    manifest["description"]["chains"][0] = "other"
    manifest["description"]["figures"]["other"] = manifest["description"]["figures"].pop("fc1")
    parts["permfc.json"] = json.dumps(manifest).encode()


def forget(key, parts):
    manifest = json.loads(parts["permfc.json"])
    del manifest["description"][key]
    parts["permfc.json"] = json.dumps(manifest).encode()


@pytest.mark.parametrize(("edit", "text"), [
    (exchange, r"part chain0\.safetensors does not belong to it"), (rename, r"chain 'fc1' is missing"),
    (partial(forget, "stages"), r"lacks or misstates 'stages'"),
    (partial(forget, "figures"), r"lacks or misstates 'figures'"),
])
def test_parts_that_do_not_belong_together_are_refused(network, tmp_path, edit, text):
    network.save(tmp_path / "net")
    changed(tmp_path / "net", edit)
    with pytest.raises(FormatError, match=text):
        permfc.Session(tmp_path / "net")


def test_a_loaded_network_is_the_saved_one(network, tmp_path):
    network.save(tmp_path / "net")
    loaded = WholeNetwork.load(tmp_path / "net")
    for told in ("inputs", "outputs", "figures", "rows", "totals"):
        assert getattr(loaded, told) == getattr(network, told)
    loaded.save(tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == (tmp_path / "net").read_bytes()


def test_missing_onnxruntime_is_named(network, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ToolError, match=r"needs onnxruntime: pip install 'permfc\[onnxruntime\]'"):
        permfc.Session(network)


def test_a_cut_that_changes_results_is_refused(monkeypatch):
    from permfc.graph import layers

    monkeypatch.setattr(layers.Dense, "follow", lambda self, scale, shift: None)
    changing = graph([*GRAPHS["relu"][:1], node("Mul", "h half", "m"), node("Tanh", "m", "y")], LAYERS | {"half": np.float32(0.5)}, {"x": ["n", 16]})
    with pytest.raises(ModelError, match=r"the model cut into chains gives results that differ by .*, first in chain 'fc1': leave it on the host"):
        permfc.compress_graph(changing, SAMPLES, BITS)

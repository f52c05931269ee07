"""Whole networks on the command line: compress, info, run, simulate and compare, and what is said about mistakes."""

from __future__ import annotations

import json
import re
import warnings

import numpy as np
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from command_line import fail, succeed  # noqa: E402
from graph_cases import graph, node, original, values  # noqa: E402
from permfc.config import EngineConfig  # noqa: E402
from permfc.device.placement import joined, place  # noqa: E402
from permfc.errors import FormatError  # noqa: E402
from permfc.graph.values import relative_error  # noqa: E402
from permfc.graph.whole import WholeNetwork  # noqa: E402
from permfc.image import model_file  # noqa: E402
from test_session import BITS, GRAPHS, LAYERS, SAMPLES, changed, exchange  # noqa: E402


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A model of two chains, its inputs, and the network made of both by the command line."""
    path = tmp_path_factory.mktemp("whole")
    onnx.save(graph(GRAPHS["softmax"], LAYERS, {"x": ["n", 16]}), path / "net.onnx")
    np.save(path / "x.npy", SAMPLES)
    np.savez(path / "x.npz", x=SAMPLES)
    (path / "kinds.json").write_text('{"fc1": "dense8", "fc2": "dense8"}')
    said = succeed("compress", path / "net.onnx", "-o", path / "net", "--bits", BITS, "--calibrate", path / "x.npz",
                   "--per-layer", path / "kinds.json", "--json").stdout
    (path / "said.json").write_text(said)
    return path


def test_compress_tells_where_layers_run(folder):
    told = json.loads((folder / "said.json").read_text())
    assert [(layer["name"], layer["chain"]) for layer in told["layers"]] == [("fc1", "fc1"), ("fc2", "fc2")]
    assert told["totals"]["relative_error"] < 0.03 and told["chains"] == {"fc1": [16, 24], "fc2": [24, 8]}
    shown = succeed("info", folder / "net").stdout
    assert "engine, chain fc1" in shown and "weights on the engine" in shown and "576 of 576 (100.0%)" in shown
    assert json.loads(succeed("info", folder / "net", "--json").stdout)["layers"] == told["layers"]
    assert json.loads(succeed("info", folder / "net", "--chain", "fc2", "--json").stdout)["weights"] == 192


def test_run_gives_the_originals_results(folder):
    told = json.loads(succeed("run", folder / "net", "--device", "golden", "-i", folder / "x.npy", "-o", folder / "y.npy", "--json").stdout)
    assert told["mismatches"] == 0 and [(run["chain"], run["samples"]) for run in told["chains"]] == [("fc1", 40), ("fc2", 40)]
    wanted = original(onnx.load(folder / "net.onnx"), {"x": SAMPLES})
    assert relative_error([np.load(folder / "y.npy")], wanted) < 0.03
    assert "fc2" in succeed("run", folder / "net", "--device", "golden", "-i", folder / "x.npy", "-o", folder / "y.npz").stdout
    np.testing.assert_array_equal(np.load(folder / "y.npz")["y"], np.load(folder / "y.npy"))


def test_every_chains_error_is_told(folder):
    told = json.loads((folder / "said.json").read_text())
    assert list(told["figures"]) == ["fc1", "fc2"] and all(0 < found["error"] < 0.02 for found in told["figures"].values())
    shown = " ".join(succeed("info", folder / "net").stdout.split())
    for name, shape in (("fc1", "16 > 24"), ("fc2", "24 > 8")):
        assert f"{name} {shape} {told['figures'][name]['error']:.2%} {told['figures'][name]['clipped']:.1%}" in shown


CLIPPED = "of the values that reach chain fc1 with {} are outside of the range that the network was compressed for, and are clipped"


@pytest.mark.parametrize("command", [["run", "--device", "golden"], ["compare", "--chain", "fc1"], ["simulate"], ["simulate", "--chain", "fc1"]],
                         ids=" ".join)
def test_clipped_inputs_are_told_with_their_chain(folder, tmp_path, command):
    for path, told in ((saved(tmp_path, 100 * SAMPLES[:2]), True), (folder / "x.npy", False)):
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # what a Session would say besides
            said = succeed(command[0], folder / "net", "-i", path, *command[1:])
        assert (CLIPPED.format(path) in " ".join(said.stderr.split())) == told
    if command[0] == "run":
        assert "clipped" in said.stdout


def test_clipped_calibration_is_told_with_its_chain(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("permfc_cli.warn.MOST_CLIPPED", -1.0)
    said = succeed("compress", folder / "net.onnx", "-o", tmp_path / "net", "--bits", BITS, "--calibrate", folder / "x.npy",
                   "--per-layer", folder / "kinds.json")
    assert CLIPPED.format(folder / "x.npy") in " ".join(said.stderr.split())


def test_large_errors_are_told_with_their_chain(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("permfc_cli.warn.LOST", -1.0)
    said = succeed("compress", folder / "net.onnx", "-o", tmp_path / "net", "--bits", BITS, "--calibrate", folder / "x.npy",
                   "--per-layer", folder / "kinds.json")
    assert re.search(r"Results of chain fc1 differ from the original's by \d+% of their size: .* with --skip", " ".join(said.stderr.split()))


def test_skipped_layers_stay(folder, tmp_path):
    shown = succeed("compress", folder / "net.onnx", "-o", tmp_path / "net", "--bits", BITS, "--calibrate", folder / "x.npy", "--skip", "fc1",
                    "--per-layer", folder / "kinds.json").stdout
    assert "host: skipped" in shown


def test_layers_without_weights_are_told(folder, tmp_path):
    """As for a chain alone, though no sample needs these weights."""
    dead = LAYERS | {"b1": np.full(24, -50, np.float32), "b2": np.ones(8, np.float32)}
    onnx.save(graph(GRAPHS["relu"], dead, {"x": ["n", 16]}), tmp_path / "net.onnx")
    said = [succeed("compress", tmp_path / "net.onnx", "-o", tmp_path / name, "--bits", BITS, "--calibrate", folder / "x.npy").stderr.splitlines()
            for name in ("net", "net.safetensors")]
    warned, of_chain = ([line for line in lines if "keeps none of its weights" in line] for lines in said)
    assert warned == of_chain and [line.split()[5] for line in warned] == ["fc2"]
    assert json.loads(succeed("info", tmp_path / "net", "--json").stdout)["figures"]["fc1"]["empty"] == ["fc2"]


def test_a_layer_on_the_host_is_no_chain(folder, tmp_path):
    succeed("compress", folder / "net.onnx", "-o", tmp_path / "net", "--bits", "dense8", "--calibrate", folder / "x.npy", "--skip", "*2")
    assert "Layer 'fc2' of" in fail("info", tmp_path / "net", "--chain", "fc2")
    assert "runs on the host, skipped: choose one of the chains fc1 with --chain" in fail("info", tmp_path / "net", "--chain", "fc2")


def test_what_is_wrong_with_the_model_is_told_before_its_samples(folder, tmp_path):
    onnx.save(graph(GRAPHS["softmax"], LAYERS, {"x": ["n", 16]}, ("h", "y")), tmp_path / "two.onnx")
    np.savez(tmp_path / "several.npz", x=SAMPLES, z=SAMPLES)
    said = fail("compress", tmp_path / "two.onnx", "-o", tmp_path / "net.safetensors", "--calibrate", tmp_path / "several.npz")
    assert "has the outputs h, y: name the layers to take with `layers`" in said


@pytest.mark.parametrize("command", ["info", "compare", "run", "simulate", "report", "pack"])
@pytest.mark.parametrize("name", ["net.onnx", "w.npz", "x.npy", "w.json"])
def test_what_is_not_compressed_is_told(command, name, folder, tmp_path):
    (tmp_path / "net.onnx").write_bytes((folder / "net.onnx").read_bytes())
    np.savez_compressed(tmp_path / "w.npz", **LAYERS)
    (tmp_path / "w.json").write_text('{"class_name": "Sequential"}')
    x = saved(tmp_path, SAMPLES, "x.npy")
    more = {"run": ["-i", x, "--device", "golden"], "simulate": ["-i", x], "report": ["-i", x, "-o", tmp_path / "r.html"],
            "pack": ["-o", tmp_path / "p.img"]}
    said = fail(command, tmp_path / name, *more.get(command, []))
    assert "is not a compressed network" in said and "`permfc compress` first" in said


def test_compare_takes_one_chain(folder):
    assert "has 2 chains: choose one of fc1, fc2 with --chain" in fail("compare", folder / "net", "-i", folder / "x.npy")
    told = json.loads(succeed("compare", folder / "net", "-i", folder / "x.npy", "--chain", "fc1", "--json").stdout)
    assert any(layout["layout"] == "permfc" for layout in told["layouts"])
    assert "has no chain 'fc9': choose one of fc1, fc2 with --chain" in fail("info", folder / "net", "--chain", "fc9")


def test_mistakes(folder, tmp_path):
    model, x, out = folder / "net.onnx", folder / "x.npy", tmp_path / "out"
    assert "Compressing all of" in fail("compress", model, "-o", out) and "give them with --calibrate" in fail("compress", model, "-o", out)
    assert "--max-drop is not for whole networks" in fail("compress", model, "-o", out, "--max-drop", 1, "--calibrate", x, "--labels", x)
    assert "--skip is for whole networks" in fail("compress", model, "-o", f"{out}.safetensors", "--skip", "fc1", "--calibrate", x)
    np.savez(tmp_path / "w.npz", **LAYERS)
    assert "w.npz holds one chain, whose layers --layers chooses" in fail("compress", tmp_path / "w.npz", "-o", out, "--skip", "fc1")
    (tmp_path / "w.npz").unlink()
    assert "has no fully connected layer 'fc9'; it has fc1 [24, 16]" in fail("compress", model, "-o", out, "--skip", "fc9", "--calibrate", x)
    np.savez(tmp_path / "z.npz", z=SAMPLES)
    assert "z.npz holds the arrays z, but the network takes the inputs x" in fail("compress", model, "-o", out, "--calibrate", tmp_path / "z.npz")
    (tmp_path / "z.npz").write_bytes(b"PK nothing")
    assert "z.npz is not a file that numpy.savez wrote" in fail("run", folder / "net", "--device", "golden", "-i", tmp_path / "z.npz")
    assert "must have the shape [n, 16], not [40, 3]" in fail("run", folder / "net", "--device", "golden", "-i", saved(tmp_path, SAMPLES[:, :3]))
    empty, wrong = saved(tmp_path, SAMPLES[:0], "empty.npy"), saved(tmp_path, np.full((2, 16), np.nan, np.float32), "nan.npy")
    assert "empty.npy holds no input: give it one row or more" in fail("run", folder / "net", "--device", "golden", "-i", empty)
    for command in (["simulate"], ["compare", "--chain", "fc1"]):
        assert "empty.npy holds no input that reaches chain fc1: give it" in fail(command[0], folder / "net", "-i", empty, *command[1:])
        assert "Chain 'fc1': Input must be finite, but feature 0 of sample 0 is nan" in fail(command[0], folder / "net", "-i", wrong, *command[1:])
    assert "No chain of" in fail("compress", model, "-o", out, "--calibrate", x, "--bits", 0.1)
    assert "is written for one chain of a network: choose it with --chain" in fail(
        "simulate", folder / "net", "-i", x, "--waves", tmp_path / "w.vcd")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.npy", "nan.npy", "wrong.npy", "z.npz"]  # nothing half-written


def test_a_network_file_is_no_model_file(folder):
    with pytest.raises(FormatError, match="net is an archive, such as that of a whole network, not the model file"):
        model_file.load(folder / "net")


def saved(tmp_path, array, name="wrong.npy"):
    np.save(tmp_path / name, array)
    return tmp_path / name


def test_several_results_go_to_an_archive(tmp_path):
    nodes = [node("Gemm", "x fc1.weight b1", "h", transB=1), node("Softmax", "h", "y")]
    onnx.save(graph(nodes, LAYERS, {"x": ["n", 16]}, ("y", "h")), tmp_path / "net.onnx")
    (tmp_path / "kinds.json").write_text('{"fc1": "dense8"}')
    x = saved(tmp_path, SAMPLES)
    succeed("compress", tmp_path / "net.onnx", "-o", tmp_path / "net", "--bits", BITS, "--calibrate", x, "--per-layer", tmp_path / "kinds.json")
    assert "outputs y, h, which" in fail("run", tmp_path / "net", "--device", "golden", "-i", x, "-o", tmp_path / "y.npy")
    succeed("run", tmp_path / "net", "--device", "golden", "-i", x, "-o", tmp_path / "y.npz")
    assert {name: array.shape for name, array in np.load(tmp_path / "y.npz").items()} == {"y": (40, 24), "h": (40, 24)}


def test_a_file_whose_parts_do_not_belong_together(folder, tmp_path):
    (tmp_path / "net").write_bytes((folder / "net").read_bytes())
    changed(tmp_path / "net", exchange)
    assert "part chain0.safetensors does not belong to it" in fail("info", tmp_path / "net")


def test_a_model_without_layers_is_refused(tmp_path):
    onnx.save(graph([node("Relu", "x", "y")], {}, {"x": ["n", 16]}), tmp_path / "net.onnx")
    x = saved(tmp_path, values(4, 16))
    assert "has no fully connected layer that an engine can have" in fail("compress", tmp_path / "net.onnx", "-o", tmp_path / "net", "--calibrate", x)


def test_every_chain_is_simulated(folder):
    pytest.importorskip("permfc_sim")
    told = json.loads(succeed("simulate", folder / "net", "-i", folder / "x.npy", "-o", folder / "s.npy", "--json").stdout)
    assert [(name, run["inputs"], run["mismatches"]) for name, run in told["chains"].items()] == [("fc1", 40, 0), ("fc2", 40, 0)]
    assert relative_error([np.load(folder / "s.npy")], original(onnx.load(folder / "net.onnx"), {"x": SAMPLES})) < 0.03


def test_pack_joins_the_images_of_all_chains(folder):
    told = json.loads(succeed("pack", folder / "net", "-o", folder / "net.img", "--json").stdout)
    assert [image["file"] for image in told["images"]] == [f"{folder / 'net'}, chain {name}" for name in ("fc1", "fc2")]
    images = place(WholeNetwork.load(folder / "net").chains, EngineConfig(), 0)  # as a session's device has them
    assert (folder / "net.img").read_bytes() == joined(images.values())

"""The benchmark command on a network of seconds: its rows, what it keeps, and what it says when something is missing."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from permfc.compression import compress
from permfc.config import EngineConfig
from permfc.functions import IDENTITY
from permfc.image import model_file
from permfc.importers import FloatNetwork, load_model
from permfc_cli.bench import cells, command, gates, methods, problems
from permfc_cli.bench.measure import CONFIG, measure_image, measure_stored, with_weights
from permfc_cli.bench.peers import Stored
from permfc_cli.bench.problems import Benchmark, Problem
from permfc_cli.bench.retraining import own_problem
from permfc_cli.main import app

RECIPE = "lenet-300-100"


def _problem() -> Problem:
    """Scikit-learn's 8 x 8 digits and a network 64-128-10 trained on them."""
    from sklearn.datasets import load_digits
    from sklearn.neural_network import MLPClassifier

    x, labels = load_digits(return_X_y=True)
    x = (x / 16).astype(np.float32)
    trained = MLPClassifier((128,), random_state=0, max_iter=100, tol=0.01, n_iter_no_change=3).fit(x[:1200], labels[:1200])
    arrays = {f"{number}.weight": weight.T for number, weight in enumerate(trained.coefs_)}
    arrays |= {f"{number}.bias": bias for number, bias in enumerate(trained.intercepts_)}
    return Problem(load_model(arrays), x[:300], x[1200:], labels[1200:])


@pytest.fixture(scope="module")
def problem() -> Problem:
    return _problem()


@pytest.fixture
def small(problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two benchmarks, with and without labels, instead of the real ones; one could be retrained."""
    known = {
        RECIPE: Benchmark(RECIPE, "digits, 64-128-10", lambda folder: [problem], (), (100.0,)),
        "errors": Benchmark("errors", "the same twice, outputs compared", lambda folder: [replace(problem, labels=None)] * 2),
    }
    for module in (problems, command):
        monkeypatch.setattr(module, "BENCHMARKS", known)
    monkeypatch.setattr("permfc_cli.bench.tables.BENCHMARKS", known)


def bench(output: Path, *arguments: object) -> Any:
    return CliRunner().invoke(app, ["bench", "--data", str(output), "-o", str(output), *map(str, arguments)])


def rows(output: Path, *arguments: object) -> dict[tuple[str, str], dict]:
    """What the command printed as JSON, by benchmark and method."""
    result = bench(output, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return {(row["benchmark"], row["method"]): row for row in json.loads(result.stdout)["rows"]}


def sentence(result: Any) -> str:
    """The one sentence of a command that must end with status 2."""
    assert result.exit_code == 2, result.output
    return " ".join(result.stderr.split())


@pytest.mark.usefixtures("small")
def test_every_row_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {name: method for name, method in methods.METHODS.items() if name not in ("permfc-1", "permfc-1.5", "permfc-2", "permfc-2.5")}
    monkeypatch.setattr(cells, "METHODS", chosen)  # each rate takes a second
    found = rows(tmp_path, "--no-train")
    measured = {key: row for key, row in found.items() if "not_run" not in row}
    assert [method for name, method in found if name == RECIPE] == [*chosen, "retrained-100"]
    for row in measured.values():
        assert row["bits_per_weight"] == pytest.approx(row["bits"] / row["weights"])
        assert row["ratio"] == pytest.approx(row["float_bits"] / row["bits"])
        assert 0 < row["bytes_skipping"] <= row["bytes_all"] * (1.2 if row["method"] == "deep-compression" else 1)
    assert found[RECIPE, "float32"]["drop"] == 0
    assert found[RECIPE, "float32"]["bits"] == 32 * (64 * 128 + 128 * 10 + 138)
    assert found[RECIPE, "deep-compression"]["drop"] <= methods.ALLOWED_DROP
    assert 0 < found["errors", "deep-compression"]["output_error"] <= methods.ALLOWED_ERROR
    assert found["errors", "permfc-3"]["output_error"] < found["errors", "int2-g64"]["output_error"]
    assert found[RECIPE, "permfc-3"]["bits_per_weight"] <= 3
    assert json.loads((tmp_path / "results.json").read_text())["rows"] == list(found.values())
    assert (tmp_path / "table.md").read_text().count("\n| ") == 3
    assert "| permfc 3 bits |" in (tmp_path / "details.md").read_text()
    for picture in ("accuracy.svg", "bytes.svg"):
        assert "<svg" in (tmp_path / picture).read_text()


@pytest.mark.usefixtures("small")
def test_an_interrupted_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(name: str, run):
        def call(problem: Problem):
            calls.append(name)
            if name == "int3-g64" and calls.count(name) == 1:
                raise KeyboardInterrupt
            return run(problem)
        return call

    few = {name: methods.METHODS[name] for name in ("float32", "int8", "int3-g64", "int2-g64")}
    monkeypatch.setattr(cells, "METHODS", {name: replace(method, run=counted(name, method.run)) for name, method in few.items()})
    assert bench(tmp_path, "--only", "errors").exit_code != 0
    first = (tmp_path / "cells" / "errors" / "int8.json").read_bytes()
    found = rows(tmp_path, "--only", "errors")
    assert len(found) == 4
    assert calls == ["float32", "float32", "int8", "int8", "int3-g64", "int3-g64", "int3-g64", "int2-g64", "int2-g64"]
    assert (tmp_path / "cells" / "errors" / "int8.json").read_bytes() == first
    assert rows(tmp_path, "--only", "errors") == found
    assert len(calls) == 9


@pytest.mark.usefixtures("small")
def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "cells" / "errors").mkdir(parents=True)
    (tmp_path / "cells" / "errors" / "float32.json").write_text('{"bits": 3')
    assert "float32.json does not hold the figures of a cell; delete it to have it measured again" in sentence(bench(tmp_path, "--only", "errors"))


@pytest.mark.usefixtures("small")
def test_without_torch_the_retrained_row_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "METHODS", {})
    for name in [name for name in sys.modules if name.startswith("permfc.train")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert rows(tmp_path, "--only", RECIPE)[RECIPE, "retrained-100"]["not_run"] == "torch is missing, which trains; run: pip install 'permfc[train]'"
    assert not (tmp_path / "cells").exists()


@pytest.mark.usefixtures("small")
def test_finished_runs_are_measured(tmp_path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "METHODS", {})
    accuracies = []
    for seed, bits in enumerate((2.0, 3.0, 1.2)):
        run = tmp_path / "train" / f"{RECIPE}-r100-s{seed}"
        run.mkdir(parents=True)
        np.savez(run / "float.npz", **{f"{number}_{part}": getattr(layer, part)
                                       for number, layer in enumerate(problem.network) for part in ("weight", "bias")})
        network = compress.compress(problem.network, bits, problem.calibration)
        model_file.save(network, run / "model.safetensors")
        accuracies.append(measure_image(problem, network).accuracy)
    row = rows(tmp_path, "--only", RECIPE, "--no-train")[RECIPE, "retrained-100"]
    assert row["not_run"] == "lenet-300-100 is not trained for 100x: run without --no-train"
    for done in (1, 3):
        for seed in range(done):
            (tmp_path / "train" / f"{RECIPE}-r100-s{seed}" / "result.json").touch()
        row = rows(tmp_path, "--only", RECIPE, "--no-train")[RECIPE, "retrained-100"]
        expected = sorted(accuracies[:done])
        assert row["accuracy"] == pytest.approx(expected[done // 2])
        assert row["note"] == f"median of {done} of 3 seeds: " + ", ".join(f"{accuracy:.2f}" for accuracy in expected)


def test_the_simulated_engine_gives_the_same_labels(tmp_path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    run = tmp_path / "train" / gates.RUN
    run.mkdir(parents=True)
    assert "lenet-300-100-r100-s0 is not trained, which the simulation runs" in bench(tmp_path, "--only", "rtl").output
    model_file.save(compress.compress(problem.network, 2.0, problem.calibration, engine=EngineConfig(bus_bits=16)), run / "model.safetensors")
    (run / "result.json").touch()
    monkeypatch.setattr(gates, "CONFIG", EngineConfig(lanes=4, bus_bits=16))
    monkeypatch.setattr(gates, "DIGITS", 5)
    monkeypatch.setattr("permfc.datasets.mnist", lambda folder: type("Data", (), {"test": problem.test, "test_labels": problem.labels}))
    found = json.loads(bench(tmp_path, "--only", "rtl", "--json").stdout)["rtl"]
    assert (found["digits"], found["results"], found["different_results"], found["different_labels"]) == (5, 50, 0, 0)
    assert found["traffic_as_predicted"] is True
    (run / "model.safetensors").unlink()
    assert json.loads(bench(tmp_path, "--only", "rtl", "--json").stdout)["rtl"] == found


def test_own_convolutions_make_the_samples(tmp_path: Path, problem: Problem, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    arrays = {"conv1_weight": rng.normal(size=(20, 1, 5, 5)), "conv1_bias": rng.normal(size=20),
              "conv2_weight": rng.normal(size=(50, 20, 5, 5)), "conv2_bias": rng.normal(size=50),
              "0_weight": rng.normal(size=(10, 800)), "0_bias": np.zeros(10)}
    np.savez(tmp_path / "float.npz", **arrays)
    images = rng.uniform(size=(2, 784)).astype(np.float32)
    monkeypatch.setattr("permfc.datasets.mnist", lambda folder: type("Data", (), {"test": images}))
    own = own_problem(problem, tmp_path, tmp_path)
    assert own.network.inputs == 800
    assert own.test.min() == 0
    window = images[1].reshape(28, 28)[:6, :6]  # feature 0 of channel 0 needs 2 x 2 places of the second convolution
    first = np.array([[(arrays["conv1_weight"][k, 0] * window[i:i + 5, j:j + 5]).sum() + arrays["conv1_bias"][k] for i in (0, 1) for j in (0, 1)]
                      for k in range(20)])
    from permfc_cli.bench.convolutions import convolved
    pooled = convolved(images, [(arrays["conv1_weight"], arrays["conv1_bias"])], True).reshape(2, 20, 12, 12)
    np.testing.assert_allclose(pooled[1, :, 0, 0], np.maximum(first.max(axis=1), 0), rtol=1e-5, atol=1e-6)


def test_what_zero_activations_save(problem: Problem) -> None:
    test = np.zeros((2, 64), dtype=np.float32)
    test[1, :3] = 1.0
    layers = [Stored(layer.weight, np.full(layer.inputs, 80.0), 16.0, pointer_bits=8) for layer in problem.network]
    hidden = np.count_nonzero(problem.network.layer_inputs(test)[1], axis=1).mean()
    figures = measure_stored(replace(problem, test=test, labels=np.zeros(2, dtype=np.int64)), layers)
    assert figures.bytes_all == (80 * (64 + 128) + 2 * 16 + 16 * 138) / 8
    assert figures.bytes_skipping == pytest.approx((88 * (1.5 + hidden) + 2 * 16 + 16 * 138) / 8)


def test_mean_errors_are_taken_off_where_outputs_are_compared(problem: Problem) -> None:
    weights = [layer.weight + np.float32(0.01) for layer in problem.network][:1]
    single = Problem(FloatNetwork(problem.network.layers[:1]), problem.calibration, problem.calibration, None)
    single = replace(single, network=FloatNetwork((replace(single.network.layers[0], function=IDENTITY),)))
    change = with_weights(single, weights).predict(single.test) - single.network.predict(single.test)
    np.testing.assert_allclose(change.mean(axis=0), 0, atol=1e-5)
    assert np.abs(change).max() > 1e-3


def test_bytes_of_an_image(problem: Problem) -> None:
    network = compress.compress(problem.network, 2.0, problem.calibration, engine=replace(CONFIG, block_outputs=1024))
    dark = measure_image(replace(problem, test=np.zeros_like(problem.test)), network)
    lit = measure_image(replace(problem, test=np.ones_like(problem.test)), network)
    assert dark.bytes_skipping < lit.bytes_skipping <= lit.bytes_all < lit.bits / 8
    assert dark.bytes_all == lit.bytes_all


def test_unknown_names(tmp_path: Path) -> None:
    message = sentence(bench(tmp_path, "--only", "lenet"))
    assert message.startswith("Error: There is no benchmark 'lenet': choose from lenet-300-100, lenet-5, ")


def test_missing_files_are_named_one_by_one(tmp_path: Path) -> None:
    (tmp_path / "usps").mkdir()
    (tmp_path / "usps" / "usps.npz").touch()
    message = sentence(bench(tmp_path, "--only", "usps-256-256", "--only", "clinc150-384"))
    assert message.startswith(f"Error: Missing {tmp_path}/clinc150/clinc150_minilm_f16.npz, {tmp_path}/trained/clinc150_minilm_384.npz, "
                              f"{tmp_path}/trained/usps_256_256_10.npz: pass --data DIR with them")


def test_a_real_network(data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cells, "METHODS", {name: methods.METHODS[name] for name in ("float32", "int8", "int4-g64", "permfc-2.5")})
    result = CliRunner().invoke(app, ["bench", "--data", str(data_folder), "-o", str(tmp_path), "--only", "usps-256-256", "--json"])
    found = {row["method"]: row for row in json.loads(result.stdout)["rows"]}
    assert found["float32"]["accuracy"] == pytest.approx(93.57, abs=0.01)
    assert found["permfc-2.5"]["drop"] < 1
    assert found["permfc-2.5"]["bytes_skipping"] < found["int4-g64"]["bytes_skipping"]

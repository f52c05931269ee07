"""Every subcommand on a small network, and what it says to a user's mistake."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from command_line import fail, succeed
from networks import random_network
from permfc import image
from permfc.config import EngineConfig
from permfc.image import model_file
from permfc.network import Kind
from permfc_cli import console

ENGINE = ["--lanes", "4", "--bus-bits", "32", "--block-outputs", "64", "--features", "64"]
COMMANDS = (
    "bench", "build", "compare", "compress", "demo", "devices", "export-rtl", "features", "finetune", "info", "pack", "report", "run", "selftest",
    "simulate", "synth",
)


@pytest.fixture
def network_file(tmp_path: Path) -> Path:
    path = tmp_path / "net.safetensors"
    model_file.save(random_network(5, (40, 64, 10)), path)
    return path


@pytest.fixture
def inputs_file(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(0).normal(0, 20, (3, 40)))
    return path


@pytest.fixture
def float_model(tmp_path: Path) -> Path:
    rng = np.random.default_rng(1)
    shapes = {"0": (48, 40), "1": (10, 48)}
    arrays = {f"{name}_weight": rng.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    arrays |= {f"{name}_bias": rng.normal(0, 0.1, shape[0]).astype(np.float32) for name, shape in shapes.items()}
    path = tmp_path / "float.npz"
    np.savez(path, **arrays)
    return path


@pytest.mark.parametrize("command", ["bench", "compress", "demo", "export-rtl", "features", "finetune", "pack", "report", "run", "simulate"])
def test_what_is_written_has_one_name(command: str) -> None:
    assert "--output" in succeed(command, "--help").output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(command: str) -> None:
    assert f"permfc {command}" in " ".join(succeed(command, "--help").output.split())


@pytest.mark.parametrize(("command", "told"), [
    ("compare", "of a whole network as it takes them, .npz for several"), ("report", "of a whole network as it takes them, .npz for several"),
    ("compare", "needs matplotlib (permfc[demo])"), ("compress", "of .npz, .safetensors and .pt always one chain"),
])
def test_help_tells_what_is_needed(command: str, told: str) -> None:
    assert told in " ".join(succeed(command, "--help").output.replace("│", " ").split())


@pytest.mark.usefixtures("short_search")
def test_compress_writes_a_network_under_the_target(float_model: Path, inputs_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    result = succeed("compress", float_model, "-o", out, "--bits", 7, "--calibrate", inputs_file, "--json")
    figures = json.loads(result.stdout)
    assert figures["weights"] == 40 * 48 + 48 * 10
    assert 0 < figures["bits_per_weight"] <= 7
    network = model_file.load(out)
    assert (network.inputs, network.outputs) == (40, 10)
    assert figures["image_bytes"] == len(image.pack(network, EngineConfig()))


@pytest.mark.usefixtures("short_search")
def test_clipped_inputs_are_told(float_model: Path, network_file: Path, inputs_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "wide.npy", 100.0 * np.load(inputs_file))
    shown = succeed("simulate", network_file, "--input", tmp_path / "wide.npy", *ENGINE)
    assert "wide.npy are outside of the range that the network was compressed for" in " ".join(shown.stderr.split())
    assert "outside of the range" not in " ".join(succeed("simulate", network_file, "--input", inputs_file, *ENGINE).stderr.split())
    without = succeed("compress", float_model, "-o", tmp_path / "net.safetensors", "--bits", 7)
    assert "Without --calibrate, inputs are assumed to lie in -1..1" in " ".join(without.stderr.split())


@pytest.mark.parametrize(("bits", "lost"), [(1.8, True), (4, False)])
def test_layers_without_weights_are_told(bits: float, lost: bool, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "head.npz", fc_weight=rng.standard_normal((10, 64)).astype(np.float32))
    np.save(tmp_path / "x.npy", rng.standard_normal((40, 64)))
    said = succeed("compress", tmp_path / "head.npz", "-o", tmp_path / "net.safetensors", "--bits", bits, "--calibrate", tmp_path / "x.npy").stderr
    assert ("Warning: With so few bits fc keeps none of its weights and gives the same results for every input: ask for more bits a weight"
            in " ".join(said.split())) == lost


@pytest.mark.usefixtures("short_search")
def test_compress_prints_a_table(float_model: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    assert "bits a weight" in succeed("compress", float_model, "-o", out, "--bits", 7).stdout


def test_compress_refuses_a_target_without_writing(float_model: Path, tmp_path: Path) -> None:
    before = sorted(tmp_path.iterdir())
    assert "Target of 0.1 bits a weight cannot be reached" in fail("compress", float_model, "-o", tmp_path / "net.safetensors", "--bits", 0.1)
    assert sorted(tmp_path.iterdir()) == before


def test_compress_refuses_calibration_of_another_length(float_model: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "c.npy", np.zeros((3, 39)))
    assert "40" in fail("compress", float_model, "-o", tmp_path / "net.safetensors", "--bits", 7, "--calibrate", tmp_path / "c.npy")


def test_info_tells_the_same_of_a_network_and_of_its_image(network_file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "net.img"
    succeed("pack", network_file, "-o", packed, "--bus-bits", 64)
    of_network = json.loads(succeed("info", network_file, "--bus-bits", 64, "--json").stdout)
    of_image = json.loads(succeed("info", packed, "--json").stdout)
    assert of_network.pop("file") != of_image.pop("file")
    assert of_network == of_image
    assert of_image["image_bytes"] == packed.stat().st_size
    assert [layer["features"] for layer in of_image["layers"]] == [40, 64]


def test_info_prints_tables(network_file: Path) -> None:
    shown = succeed("info", network_file).stdout
    assert "64 x 40" in shown
    assert "10 x 64" in shown


def test_pack_writes_the_image_of_the_engine(network_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.img"
    succeed("pack", network_file, "-o", out, *ENGINE)
    config = EngineConfig(lanes=4, bus_bits=32, block_outputs=64, features=64)
    assert out.read_bytes() == image.pack(model_file.load(network_file), config)


def test_pack_takes_a_device(network_file: Path, tmp_path: Path) -> None:
    figures = json.loads(succeed("pack", network_file, "-o", tmp_path / "net.img", "--device", "up5k", "--levels", 16, "--json").stdout)
    assert figures["bus_bits"] == 16


@pytest.mark.usefixtures("short_search")
def test_a_network_compressed_for_a_device_is_packed_for_it(float_model: Path, inputs_file: Path, tmp_path: Path) -> None:
    network = tmp_path / "small.safetensors"
    model_file.save(random_network(0, (40, 10), kinds=[Kind.DENSE8]), network)
    said = fail("pack", network, "-o", tmp_path / "net.img", "--device", "up5k")
    assert "levels >= 16, but this one has 8: compress it again for this engine (--levels 8), or" in said
    succeed("compress", float_model, "-o", network, "--bits", 4, "--levels", 8, "--calibrate", inputs_file)
    succeed("pack", network, "-o", tmp_path / "net.img", "--device", "up5k")


def test_pack_names_the_limit_and_writes_nothing(network_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.img"
    assert "features=64 would fit" in fail("pack", network_file, "-o", out, "--features", 32)
    assert not out.exists()


def test_a_damaged_image_is_refused(network_file: Path, tmp_path: Path) -> None:
    out = tmp_path / "net.img"
    succeed("pack", network_file, "-o", out)
    content = bytearray(out.read_bytes())
    content[len(content) // 2] ^= 1
    out.write_bytes(content)
    assert f"{out.name}: Image is damaged: its CRC-32" in fail("info", out)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["pack", "{net}", "-o", "{folder}/x.img", "--lanes", "5"], "lanes must be a power of two from 1 to 64, not 5"),
        (["pack", "{net}", "-o", "{folder}/x.img", "--device", "xc7"], "Device 'xc7' is unknown; choose one of ecp5-85k, ecp5-25k, up5k"),
        (["pack", "{net}", "-o", "{folder}/none/x.img"], "There is no folder {folder}/none to write x.img to: make it"),
        (["pack", "{net}", "-o", "{net}"], "{net} is read and would be replaced: choose another name"),
        (["pack", "{net}", "-o", "{folder}"], "{folder} is a folder: give the name of a file"),
        (["pack", "{net}", "-o", "/dev/null"], "/dev/null is a device: give the name of a file"),
        (["compress", "{float}", "-o", "{float}", "--bits", "7"], "{float} is read and would be replaced"),
        (["compress", "{float}", "-o", "{x}", "--bits", "7", "--calibrate", "{x}"], "{x} is read and would be replaced"),
        (["compress", "{float}", "-o", "{float}/net", "--bits", "7"], "There is no folder {float} to write net to"),
        (["simulate", "{net}", "-i", "{x}", "-o", "{x}"], "{x} is read and would be replaced"),
        (["run", "{net}", "--device", "sim", "-i", "{x}", "-o", "{folder}/none/y.npy"], "There is no folder {folder}/none to write y.npy to"),
        (["report", "{net}", "-i", "{x}", "-o", "{net}"], "{net} is read and would be replaced"),
        (["compare", "{net}", "--plot", "{folder}/none/p.svg"], "There is no folder {folder}/none to write p.svg to"),
        (["compress", "{net}", "-o", "{folder}/x.safetensors"], "Model {net} is compressed already: give the trained network"),
        (["compare", "{net}", "--bus-bits", "0"], "bus_bits must be a power of two from 16 to 512, not 0"),
        (["simulate", "{net}", "-i", "{x}", "--clock", "inf"], "Invalid value for '--clock'"),
        (["synth"], "permfc synth needs a device; give --device ecp5-85k, for example"),
        (["info", "{x}"], "not a compressed network"),
        (["info", "{folder}/none.img"], "does not exist"),
        (["simulate", "{net}", "-i", "{net}"], "is not an array that numpy.save wrote"),
        (["simulate", "{net}", "-i", "{x}", "--waves", "{folder}/none/w.vcd"], "There is no folder {folder}/none to write w.vcd to"),
    ],
)
def test_a_mistake_gives_one_sentence(arguments: list[str], sentence: str, network_file: Path, inputs_file: Path, float_model: Path,
                                      tmp_path: Path) -> None:
    names = {"net": network_file, "x": inputs_file, "float": float_model, "folder": tmp_path}
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    said = fail(*(argument.format(**names) for argument in arguments))
    # A long path is broken over lines where the terminal ends.
    assert sentence.format(**names).replace(" ", "") in said.replace(" ", "").replace("│", "")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_several_images_in_a_file_are_told(network_file: Path, inputs_file: Path, tmp_path: Path) -> None:
    other, packed = tmp_path / "other.safetensors", tmp_path / "flash.img"
    model_file.save(random_network(6, (20, 10)), other)
    images = json.loads(succeed("pack", network_file, other, "-o", packed, "--json").stdout)["images"]
    told = json.loads(succeed("info", packed, "--json").stdout)["images"]
    assert [one.pop("file") for one in told] == [f"{packed}, image 0", f"{packed}, image 1"]
    assert [one.pop("file") for one in images] == [str(network_file), str(other)]
    assert told == images and [(one["inputs"], one["outputs"]) for one in told] == [(40, 10), (20, 10)]
    assert f"{images[1]['offset']:,}" in succeed("info", packed).stdout
    assert "flash.img: These bytes hold several images, the first of" in fail("simulate", packed, "-i", inputs_file)


def test_simulate_checks_every_result(network_file: Path, inputs_file: Path, tmp_path: Path) -> None:
    packed, out = tmp_path / "net.img", tmp_path / "y.npy"
    succeed("pack", network_file, "-o", packed, *ENGINE)
    figures = json.loads(succeed("simulate", packed, "--input", inputs_file, "--output", out, *ENGINE, "--json").stdout)
    assert (figures["results"], figures["mismatches"]) == (30, 0)
    assert figures["traffic_as_predicted"]
    np.testing.assert_array_equal(np.load(out), model_file.load(network_file).predict(np.load(inputs_file)))


def test_simulate_prints_tables(network_file: Path, inputs_file: Path) -> None:
    shown = succeed("simulate", network_file, "--input", inputs_file, *ENGINE).stdout
    assert "30 of 30" in shown
    assert "segments fetched" in shown


def test_simulate_refuses_an_image_for_another_bus(network_file: Path, inputs_file: Path, tmp_path: Path) -> None:
    packed = tmp_path / "net.img"
    succeed("pack", network_file, "-o", packed, "--bus-bits", 64)
    assert "packed for a bus of 64 bits, the engine has 32" in fail("simulate", packed, "--input", inputs_file, "--bus-bits", 32)


@pytest.mark.parametrize(
    ("x", "sentence"),
    [(np.zeros((2, 39)), "Input must be numbers [batch, 40]"), (np.full((1, 40), np.nan), "Input must be finite")],
)
def test_simulate_refuses_unusable_inputs(x: np.ndarray, sentence: str, network_file: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "bad.npy", x)
    assert sentence in fail("simulate", network_file, "--input", tmp_path / "bad.npy", *ENGINE)


def test_simulate_refuses_an_engine_that_is_too_small_before_it_is_built(network_file: Path, inputs_file: Path, tmp_path: Path,
                                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("permfc_sim.simulate.SimDevice", None)
    arguments = ("simulate", network_file, "--input", inputs_file, "--waves", tmp_path / "w.vcd", *ENGINE, "--features", 32)
    assert "features=64 would fit" in fail(*arguments)
    assert not (tmp_path / "w.vcd").exists()


def test_export_rtl(tmp_path: Path) -> None:
    shown = json.loads(succeed("export-rtl", "-o", tmp_path / "ip", *ENGINE, "--json").stdout)
    assert shown["config"]["lanes"] == 4
    assert sorted(Path(name).name for name in shown["files"]) == ["README.md", "permfc.core", "permfc.v", "permfc.vlt"]
    assert "module permfc (" in (tmp_path / "ip" / "permfc.v").read_text()


def test_figures_are_folded_but_never_cut() -> None:
    table = console.table("", {"cycles": "right", "bytes": "right"})
    table.add_row("123,456,789", "987,654,321")
    narrow = Console(width=16, file=io.StringIO())
    narrow.print(table)
    shown = "".join(narrow.file.getvalue().split())
    assert "…" not in shown and sorted(filter(str.isdigit, shown)) == sorted("123456789987654321")

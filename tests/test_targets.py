"""Targets: bits, ratio, loss of accuracy, single layers; what is refused, and how."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from command_line import fail, succeed
from permfc.compression import targets
from permfc.compression.compress import compress
from permfc.config import EngineConfig
from permfc.errors import InputError, ModelError
from permfc.functions import IDENTITY, RELU
from permfc.image import size_report
from permfc.importers import FloatLayer, FloatNetwork
from permfc.network import Kind


def layered(seed: int = 0) -> FloatNetwork:
    rng = np.random.default_rng(seed)
    shapes = {"first": (90, 60), "second": (40, 90), "third": (12, 40)}
    layers = [FloatLayer(rng.standard_normal(shape) / np.sqrt(shape[1]), 0.1 * rng.standard_normal(shape[0]),
                         IDENTITY if name == "third" else RELU, name)
              for name, shape in shapes.items()]
    return FloatNetwork(tuple(layers))


def single() -> FloatNetwork:
    """The first layer alone: quick to compress again and again."""
    return FloatNetwork((layered().layers[0],))


def samples(count: int = 400) -> np.ndarray:
    return np.random.default_rng(1).uniform(-1, 1, (count, 60)).astype(np.float32)


def layer_bits(network, number: int) -> float:
    return size_report(network, EngineConfig()).layers[number].bits_per_weight


def kinds(network, number: int) -> set[Kind]:
    return {segments.kind for segments in network.layers[number].classes}


def test_a_layer_keeps_to_its_own_bits_and_the_image_to_the_total():
    network = layered()
    compressed = compress(network, 5.0, samples(), per_layer={"second": 2.5})
    assert 0.9 * 2.5 < layer_bits(compressed, 1) <= 2.5
    assert 8 * size_report(compressed, EngineConfig()).image_bytes <= 5.0 * network.weight_count
    assert layer_bits(compressed, 0) > 5.0


@pytest.mark.parametrize("kind", ["prefix", "sparse", "dense8"])
def test_a_layer_keeps_to_its_kind(kind):
    compressed = compress(layered(), 10.0, samples(), per_layer={"first": kind})
    assert kinds(compressed, 0) <= {Kind(kind), Kind.EMPTY}
    assert Kind(kind) in kinds(compressed, 0)


@pytest.mark.parametrize(("choices", "text"), [
    ({"fourth": 2.0}, r"The network has no layer 'fourth'; its layers are first, second, third"),
    ({"first": "huffman"}, r"Layer first must have a positive number of bits a weight or one of the kinds prefix, sparse, dense8, not 'huffman'"),
    ({"first": None}, r"Layer first must have a positive number of bits a weight or one of the kinds .* not None"),
    ({"first": np.nan}, r"Layer first must have a positive number of bits a weight .* not nan"),
    ({"second": True}, r"Layer second must have a positive number of bits a weight .* not True"),
    ({"first": 0.01}, r"Layer first cannot have 0\.01 bits a weight: its headers, biases and multipliers alone take \d"),
    ({"first": 9.0, "second": 9.0}, r"Target of 5 bits a weight cannot be reached: .* and the bits of the layers named take \d+\.\d+"),
])
def test_impossible_choices(choices, text):
    with pytest.raises(ModelError, match=text):
        compress(layered(), 5.0, samples(), per_layer=choices)


@pytest.mark.parametrize("choices", [["first"], "first", 3])
def test_choices_that_are_no_mapping(choices):
    with pytest.raises(ModelError, match="per_layer must map names of layers to bits or kinds, not (\\['first'\\]|'first'|3): write"):
        compress(layered(), 5.0, samples(), per_layer=choices)


def test_dense8_on_an_engine_with_eight_levels():
    with pytest.raises(ModelError, match="Layer third cannot be dense8 on an engine with 8 levels: that takes 16"):
        compress(layered(), 5.0, samples(), EngineConfig(levels=8), per_layer={"third": "dense8"})


def test_impossible_ratio_names_the_best():
    with pytest.raises(ModelError, match=r"ask for more, or for a ratio of at most (\d+\.\d+)") as refused:
        compress(layered(), targets.bits_for_ratio(1000.0), samples())
    best = float(str(refused.value).rsplit(" ", 1)[1])
    reached = compress(layered(), targets.bits_for_ratio(best), samples())
    assert 4 * layered().weight_count / size_report(reached, EngineConfig()).image_bytes >= best


def test_ratio_is_against_float32():
    assert targets.bits_for_ratio(16) == 2.0
    with pytest.raises(ModelError, match="Ratio to float32 must be a positive number, not -1"):
        targets.bits_for_ratio(-1)


def teacher_labels(network: FloatNetwork, x: np.ndarray) -> np.ndarray:
    return network.predict(x).argmax(axis=1)


def test_smallest_image_keeps_to_the_drop_and_a_smaller_one_does_not():
    network, x = single(), samples(1000)
    labels = teacher_labels(network, x)
    made = {}

    def make(bits: float):
        made[bits] = compress(network, bits, x)
        return made[bits]

    steps = []
    found, drop = targets.smallest_within(network, 10.0, x, labels, make, lambda *step: steps.append(step))
    assert drop <= 10.0
    assert drop == pytest.approx(100.0 - targets.percent_right(found.predict(x), labels))
    bits = next(bits for bits, each in made.items() if each is found)
    assert any(bits / 1.03 < smaller < bits for smaller in made)
    assert {step[0] for step in steps} == {"search smallest image"}


def test_a_drop_that_cannot_be_reached_names_the_least():
    network, x = single(), samples(300)
    with pytest.raises(ModelError, match=r"A drop of at most -5 points cannot be reached: the least found is -?\d+\.\d\d points"):
        targets.smallest_within(network, -5.0, x, teacher_labels(network, x), lambda bits: compress(network, bits, x), lambda *step: None)


def test_a_drop_must_be_a_number():
    with pytest.raises(InputError, match="Points of accuracy that may be lost must be a number, not nan"):
        targets.smallest_within(layered(), np.nan, samples(300), np.zeros(300, dtype=int), None, None)


@pytest.mark.parametrize(("labels", "text"), [
    (np.zeros(299, dtype=int), r"Labels must be 300 integers, one for each calibration sample, not int64 \[299\]"),
    (np.zeros(300), r"Labels must be 300 integers, .* not float64 \[300\]"),
    (np.full(300, 12), r"Labels must be from 0 to 11, not 12 to 12"),
])
def test_unusable_labels(labels, text):
    with pytest.raises(InputError, match=text):
        targets.smallest_within(layered(), 1.0, samples(300), labels, None, None)


@pytest.mark.parametrize(("content", "text"), [
    ("{", "is not a JSON file"),
    ("[1]", "must map layer names to bits a weight or a kind"),
    ("[" * 100_000, "is not a JSON file"),
    ('{"first": true}', "must map layer names to bits a weight or a kind"),
])
def test_unusable_per_layer_files(tmp_path, content, text):
    path = tmp_path / "bits.json"
    path.write_text(content)
    with pytest.raises(InputError, match=text):
        targets.read_per_layer(path)


# --- command line -------------------------------------------------------------------------------------------------------------------


@pytest.fixture
def files(tmp_path):
    network, x = single(), samples()
    np.savez(tmp_path / "net.npz", **{f"{layer.name}.{what}": getattr(layer, what) for layer in network for what in ("weight", "bias")})
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", teacher_labels(network, x))
    (tmp_path / "bits.json").write_text(json.dumps({"first": 5.5}))
    return tmp_path


def arguments(files, *options: str) -> list[str]:
    return ["compress", files / "net.npz", "-o", files / "out.safetensors", "--json",
            *(files / option if (files / option).is_file() else option for option in options)]


def test_command_with_ratio_and_layers(files):
    result = succeed(*arguments(files, "--ratio", "5", "--calibrate", "x.npy", "--per-layer", "bits.json"))
    found = json.loads(result.stdout)
    assert found["ratio_to_float32"] >= 5
    assert found["layers"][0]["bits_per_weight"] <= 5.5


def test_command_with_a_drop(files):
    result = succeed(*arguments(files, "--max-drop", "30", "--calibrate", "x.npy", "--labels", "y.npy"))
    assert json.loads(result.stdout)["bits_per_weight"] < 8
    assert "(at most 30 were allowed)" in " ".join(result.stderr.split())


def test_command_that_gains(files):
    """Labels that the float network never gives: whatever a compressed one has right is a gain."""
    np.save(files / "y.npy", (np.load(files / "y.npy") + 1) % single().outputs)
    result = succeed(*arguments(files, "--max-drop", "0", "--calibrate", "x.npy", "--labels", "y.npy"))
    assert re.search(r"^Gains \d", result.stderr, re.MULTILINE)


@pytest.mark.parametrize(("options", "text"), [
    (("--bits", "2", "--ratio", "16"), "--bits and --ratio are different targets: give one of them"),
    (("--max-drop", "1", "--calibrate", "x.npy"), "--max-drop measures accuracy"),
    (("--bits", "2", "--labels", "y.npy"), "--labels is only for --max-drop"),
])
def test_command_refuses_contradictions(files, options, text):
    assert text in fail(*arguments(files, *options))
    assert not (files / "out.safetensors").exists()

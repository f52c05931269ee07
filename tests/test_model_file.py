"""Model files: what is saved comes back, and damage anywhere is found."""

from __future__ import annotations

import dataclasses
import json
import re
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import random_inputs, random_network, random_table
from permfc import EngineConfig, FormatError, InputSteps, Kind, Network
from permfc.image import pack
from permfc.image.model_file import from_bytes, load, save, to_bytes

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.one_of(st.integers(1, 60), st.just(77)), min_size=2, max_size=4)
NETWORK = random_network(8, (30, 12, 4), block_outputs=8, classes=12, raw=False)
NETWORK = dataclasses.replace(
    NETWORK,
    input_steps=InputSteps(0.5, np.arange(30, dtype=np.uint8), np.arange(30, dtype=np.int16)),
    layers=tuple(dataclasses.replace(layer, relu=False, table=random_table(np.random.default_rng(0))) for layer in NETWORK.layers),
)
assert {segments.kind for segments in NETWORK.layers[0].classes} == set(Kind)
CONTENT = to_bytes(NETWORK)


@settings(deadline=None, max_examples=50)
@given(seeds, shapes, st.integers(4, 64), st.integers(1, 6))
def test_save_and_load(seed, shape, block_outputs, classes):
    network = random_network(seed, shape, block_outputs=block_outputs, classes=classes)
    loaded = from_bytes(to_bytes(network))
    config = EngineConfig(block_outputs=64)
    assert pack(loaded, config) == pack(network, config)
    assert [layer.block_outputs for layer in loaded.layers] == [layer.block_outputs for layer in network.layers]
    x = random_inputs(seed, shape[0], 2)
    np.testing.assert_array_equal(loaded.compute(x), network.compute(x))


@pytest.mark.parametrize("kind", list(Kind))
def test_each_kind_alone(kind):
    network = random_network(0, (20, 10), kinds=[kind], block_outputs=4)
    np.testing.assert_array_equal(from_bytes(to_bytes(network)).layers[0].weights(), network.layers[0].weights())


def test_file_is_complete_and_reproducible(tmp_path):
    path = tmp_path / "net.safetensors"
    path.write_bytes(b"an older file")
    save(NETWORK, path)
    assert path.read_bytes() == CONTENT == to_bytes(load(path))
    assert [entry.name for entry in tmp_path.iterdir()] == ["net.safetensors"]


def test_other_tools_can_read_it(tmp_path):
    save(NETWORK, tmp_path / "net.safetensors")
    tensors = safetensors.numpy.load_file(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(tensors["layers.1.bias"], NETWORK.layers[1].bias)
    classes = NETWORK.layers[0].classes
    assert tensors["layers.0.ends"].tolist() == [segments.end for segments in classes]
    assert tensors["layers.0.levels"].shape == (2, len(classes), 16)
    assert tensors["crc32"][0] == zlib.crc32(CONTENT.replace(tensors["crc32"].tobytes(), bytes(4)))


def test_tensors_are_those_of_the_document():
    document = (Path(__file__).parent.parent / "docs" / "format.md").read_text(encoding="utf-8").split("## Model file\n", 1)[1]
    types = {"u8": np.uint8, "i8": np.int8, "u16": np.uint16, "u32": np.uint32, "i16": np.int16, "i32": np.int32, "f16": np.float16}
    documented = {name: (types[kind], shape.count(",") + 1) for name, kind, shape in
                  re.findall(r"^\| `([\w.]+)` \| (\w+) \| ([^|]+) \|", document, flags=re.MULTILINE)}
    stored = safetensors.numpy.load(CONTENT)
    assert {name.replace("layers.0.", "layers.i."): (tensor.dtype, tensor.ndim) for name, tensor in stored.items()
            if not name.startswith("layers.1.")} == documented


def test_segments_take_whole_bytes_only():
    network = random_network(5, (64, 64), kinds=[Kind.PREFIX], block_outputs=64)
    stored = safetensors.numpy.load(to_bytes(network))["layers.0.segments"].size
    assert stored == sum(-(-segments.bits // 8) * segments.features for segments in network.layers[0].classes)


@given(st.integers(0, len(CONTENT) - 1))
def test_every_truncation_is_found(size):
    with pytest.raises(FormatError, match="Model file is truncated"):
        from_bytes(CONTENT[:size])


@settings(max_examples=300)
@given(st.integers(0, 8 * len(CONTENT) - 1))
def test_every_flipped_bit_is_found(bit):
    content = bytearray(CONTENT)
    content[bit // 8] ^= 1 << bit % 8
    with pytest.raises(FormatError, match="Model file is (damaged|truncated|not a compressed network)|Model file has format version"):
        from_bytes(bytes(content))


def rewritten(change) -> bytes:
    """The model file after ``change(tensors, metadata)``, with a CRC-32 that agrees."""
    tensors = safetensors.numpy.load(CONTENT)
    size = int.from_bytes(CONTENT[:8], "little")
    metadata = json.loads(json.loads(CONTENT[8:8 + size])["__metadata__"]["permfc"])
    tensors = {name: tensor.copy() for name, tensor in tensors.items()}
    change(tensors, metadata)
    tensors["crc32"][0] = 0
    content = bytearray(safetensors.numpy.save(tensors, {"permfc": json.dumps(metadata)}))
    size = int.from_bytes(content[:8], "little")
    start = 8 + size + json.loads(content[8:8 + size])["crc32"]["data_offsets"][0]
    content[start:start + 4] = zlib.crc32(content).to_bytes(4, "little")
    return bytes(content)


def test_rewriting_alone_changes_nothing():
    assert pack(from_bytes(rewritten(lambda tensors, metadata: None)), EngineConfig()) == pack(NETWORK, EngineConfig())


@pytest.mark.parametrize(("change", "message"), [
    (lambda tensors, metadata: metadata.update(version=2), "net has format version 2, this program reads version 3: compress the network again"),
    (lambda tensors, metadata: metadata.update(version=1), "net has format version 1, this program reads version 3: compress the network again"),
    (lambda tensors, metadata: tensors.pop("layers.1.bias"), "net is incomplete: it has no layers.1.bias"),
    (lambda tensors, metadata: metadata.pop("layers"), "net is incomplete: it has no layers"),
    (lambda tensors, metadata: metadata["layers"][0].update(shift=99), "net is damaged: Shift of a layer must be an integer from 1 to 47, not 99"),
    (lambda tensors, metadata: metadata["layers"][0].update(outputs="9"), "net is damaged: "),
    (lambda tensors, metadata: metadata["layers"].pop(), "net is damaged: Output scale of a network must be an array"),
    (lambda tensors, metadata: metadata.update(input_scale=-1.0), "net is damaged: Input scale must be a positive number, not -1"),
    (lambda tensors, metadata: tensors.update({"layers.0.kinds": np.full(3, 9, dtype=np.uint8)}), "net is damaged: "),
    (lambda tensors, metadata: tensors.update({"layers.0.segments": np.append(tensors["layers.0.segments"], np.uint8(0))}),
     r"net is damaged: layers.0.segments has \d+ bytes, its classes take \d+"),
    (lambda tensors, metadata: tensors["layers.1.bytes"].__iadd__(1), "net is damaged: "),
    (lambda tensors, metadata: tensors["layers.0.rice"].fill(7), "net is damaged: Rice parameter of a "),
    (lambda tensors, metadata: tensors.update({"layers.0.segments": tensors["layers.0.segments"][:-40]}), "net is damaged: "),
    (lambda tensors, metadata: tensors.update({"layers.0.bias": tensors["layers.0.mul"]}), r"net is damaged: Bias of a layer must be an array int32"),
    (lambda tensors, metadata: tensors["layers.0.counts"].fill(0), "net is damaged: "),
    (lambda tensors, metadata: metadata.update(input_scale=10**401), "net is damaged: input_scale must be a floating-point number, not 1000"),
    (lambda tensors, metadata: metadata.update(input_scale="1"), "net is damaged: input_scale must be a floating-point number, not 1"),
    (lambda tensors, metadata: metadata.update(input_scale=float("nan")), "net is damaged: Input scale must be a positive number, not nan"),
    (lambda tensors, metadata: metadata.update(output_exponent=128), "net is damaged: output_exponent must be an integer from -128 to 127"),
    (lambda tensors, metadata: metadata.pop("output_exponent"), "net is incomplete: it has no output_exponent"),
    (lambda tensors, metadata: tensors["output_scale"].fill(np.inf), "net is damaged: Output scale must be numbers up to"),
    (lambda tensors, metadata: tensors.update(output_scale=np.ones(4, dtype=np.float32)), "net is damaged: output_scale must be an array float16"),
    (lambda tensors, metadata: metadata["layers"][0].update(relu="false"), "net is damaged: layers.0.relu must be true or false, not 'false'"),
    (lambda tensors, metadata: metadata["layers"][0].update(raw=0), "net is damaged: layers.0.raw must be true or false, not '0'"),
    (lambda tensors, metadata: metadata["layers"][0].update(gelu=True), "net is damaged: layers.0 must have features, outputs, block_outputs, "
                                                                        "shift, relu, raw and nothing else, not also gelu"),
    (lambda tensors, metadata: metadata["layers"][0].update(outputs=10**9, block_outputs=1),
     "net is damaged: layers.0.outputs must be an integer from 1 to 32768, not 1000000000"),
    (lambda tensors, metadata: metadata["layers"][0].update(outputs=2 * 10**8), "net is damaged: layers.0.outputs must be an integer"),
    (lambda tensors, metadata: metadata["layers"][0].update(outputs=32768, block_outputs=1),
     r"net is damaged: layers.0.levels must be an array int8 \[32768, \d+, 16\], not int8 \[2, \d+, 16\]"),
    (lambda tensors, metadata: metadata["layers"][0].update(outputs=32768, block_outputs=16384), "net is damaged: The codewords of a segment"),
    (lambda tensors, metadata: tensors.update({"layers.1.table": np.zeros(255, dtype=np.int8)}), "net is damaged: Table of a layer must be"),
    (lambda tensors, metadata: tensors.update({"layers.1.ends": tensors["layers.1.ends"].astype(np.int64)}),
     r"net is damaged: layers.1.ends must be an array uint16 \[\d+\], not int64"),
    (lambda tensors, metadata: tensors.update(zeros=np.zeros(29, dtype=np.int16)), "net is damaged: Input steps are those of 29 inputs"),
    (lambda tensors, metadata: tensors.update(exponents=np.zeros(30, dtype=np.int8)), "net is damaged: Input exponents of a network must be"),
])
def test_contradictory_contents(change, message):
    with pytest.raises(FormatError, match=message):
        from_bytes(rewritten(change), "net")


def with_header(change) -> bytes:
    """The model file after ``change(header)``, whatever that does to the file."""
    size = int.from_bytes(CONTENT[:8], "little")
    header = json.loads(CONTENT[8:8 + size])
    change(header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + CONTENT[8 + size:]


@pytest.mark.parametrize(("change", "message"), [
    (lambda header: header["__metadata__"].update(permfc="[" * 100_000), "net is not a compressed network"),
    (lambda header: header["__metadata__"].update(permfc='{"version":' + "[" * 900 + "]" * 900 + "}"), "net is not a compressed network"),
    (lambda header: header["__metadata__"].update(permfc='{"version":' + "9" * 4000 + "}"), "net has format version 9{20}, this program"),
    (lambda header: header["__metadata__"].update(permfc='{"version":Infinity}'), "net is not a compressed network"),
    (lambda header: header["crc32"].update(data_offsets=[float("inf"), 4]), "net is not a compressed network"),
    (lambda header: header["crc32"].update(data_offsets=[-1, 4]), "net is not a compressed network"),
    (lambda header: header["crc32"].update(data_offsets=[10**400, 4]), "net is not a compressed network"),
    (lambda header: header["crc32"].update(data_offsets=[0, float("inf")]), "net is truncated: it has .* bytes, its header says inf"),
    (lambda header: header["crc32"].update(data_offsets=[0, 10**400]), "net is truncated: it has .* bytes, its header says 1000"),
    (lambda header: header["crc32"].update(data_offsets=None), "net is damaged or not a compressed network, since its header is not readable"),
])
def test_headers_that_make_no_sense(change, message):
    with pytest.raises(FormatError, match=message):
        from_bytes(with_header(change), "net")


def test_false_sizes_take_neither_time_nor_memory():
    """A file of some kilobytes that claims 32768 x 32768 weights."""
    def claim(tensors, metadata):
        metadata["layers"] = [{**metadata["layers"][0], "features": 32768, "outputs": 32768, "block_outputs": 32768}]
        tensors |= {"layers.0.kinds": np.array([3], np.uint8), "layers.0.ends": np.array([32768], np.uint16),
                    "layers.0.rice": np.full((1, 1), 6, np.uint8),
                    "layers.0.levels": np.eye(1, 16, dtype=np.int8)[None], "layers.0.counts": np.zeros((1, 1, 16), np.uint16),
                    "layers.0.bytes": np.ones((1, 1), np.uint16), "layers.0.segments": np.zeros(32768, np.uint8)}

    content = rewritten(claim)
    tracemalloc.start()
    with pytest.raises(FormatError, match="net is damaged: The codewords of a segment exceed its 1 bytes"):
        from_bytes(content, "net")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 20 * len(content)


@pytest.mark.parametrize(("content", "message"), [
    (b"", "net is truncated: it has 0 bytes, its header would end at 8"),
    (b"PK\x03\x04 a zip file of another tool", "net is an archive, such as that of a whole network, not the model file"),
    ((100_000).to_bytes(8, "little") + b"[" * 100_000, "net is damaged or not a compressed network, since its header is not readable"),
    (pack(NETWORK, EngineConfig()), r"net is an image: give the model file \(.safetensors\) that it was packed from"),
    (bytes(64), "net is damaged or not a compressed network, since its header is not readable"),
    (safetensors.numpy.save({"fc1.weight": np.zeros((2, 2))}), "net is not a compressed network: make one of a trained network with `permfc"),
    (safetensors.numpy.save({"x": np.zeros(1)}, {"permfc": "[]"}), "net is not a compressed network"),
    (CONTENT + b"\0", f"net is damaged: it has {len(CONTENT) + 1} bytes, its header says {len(CONTENT)}"),
])
def test_other_files(content, message):
    with pytest.raises(FormatError, match=message):
        from_bytes(content, "net")


def test_unreadable_path(tmp_path):
    with pytest.raises(FormatError, match=r"Cannot read .*absent.safetensors: No such file or directory"):
        load(tmp_path / "absent.safetensors")
    with pytest.raises(FormatError, match=r"Cannot read .*: Is a directory"):
        load(tmp_path)


def test_nothing_half_written(tmp_path, monkeypatch):
    with pytest.raises(FormatError, match=r"Cannot write .*net: No such file or directory"):
        save(NETWORK, tmp_path / "no" / "net")
    with pytest.raises(FormatError, match=r"Cannot write \.: it is a folder"):
        save(NETWORK, ".")
    (tmp_path / "file").touch()
    with pytest.raises(FormatError, match=r"Cannot write .*net: Not a directory"):
        save(NETWORK, tmp_path / "file" / "net")
    (tmp_path / "file").unlink()

    def fail(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(FormatError, match=r"Cannot write .*net: No space left on device"):
        save(NETWORK, tmp_path / "net")
    assert not list(tmp_path.iterdir())


def test_input_scale_survives_exactly():
    network = Network(NETWORK.layers, InputSteps(1 / 3), NETWORK.input_class, NETWORK.output_scale)
    assert from_bytes(to_bytes(network)).input_steps.scale == network.input_steps.scale
    assert from_bytes(to_bytes(dataclasses.replace(network, input_steps=InputSteps(7e-39)))).input_steps.scale == float(np.float32(7e-39))

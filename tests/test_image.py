"""Images: what is packed comes back, byte for byte where the format says so, and the traffic law counts what is stored."""

from __future__ import annotations

import dataclasses
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import longest_sparse, network_of, random_inputs, random_layer, random_network, random_segments
from permfc import ConfigError, EngineConfig, InputError, InputSteps, Kind, Layer, Network, Segments
from permfc.format import BLOCK_HEADER, CLASS_INFO, IMAGE_HEADER, PAIR, BlockFlag, HostFlag, ImageFlag
from permfc.image import pack, parse, predicted_traffic, required, size_report
from permfc.image.codec import lane_words, sparse_bits
from permfc.image.layout import image_layout

seeds = st.integers(0, 2**32 - 1)
shapes = st.lists(st.one_of(st.integers(1, 60), st.just(77)), min_size=2, max_size=4)
buses = st.sampled_from([16, 32, 64, 128, 256, 512])


def assert_same(a: Network, b: Network) -> None:
    """Assert that two networks agree in everything that an image stores."""
    assert (a.input_steps.scale, len(a.layers)) == (b.input_steps.scale, len(b.layers))
    np.testing.assert_array_equal(a.input_steps.exponents, b.input_steps.exponents)
    np.testing.assert_array_equal(a.input_steps.zeros, b.input_steps.zeros)
    np.testing.assert_array_equal(a.input_class, b.input_class)
    np.testing.assert_array_equal(a.output_scale, b.output_scale)
    for one, other in zip(a.layers, b.layers, strict=True):
        assert (one.shift, one.relu, one.raw) == (other.shift, other.relu, other.raw)
        np.testing.assert_array_equal(one.table, other.table)
        np.testing.assert_array_equal(one.bias, other.bias)
        np.testing.assert_array_equal(one.mul, other.mul)
        np.testing.assert_array_equal(one.weights(), other.weights())
        for classes, others in zip(one.blocks, other.blocks, strict=True):
            for segments, twin in zip(classes, others, strict=True):
                assert (segments.kind, segments.first, segments.end, segments.rice) == (twin.kind, twin.first, twin.end, twin.rice)
                np.testing.assert_array_equal(segments.levels, twin.levels)
                np.testing.assert_array_equal(segments.counts, twin.counts)


@settings(deadline=None)
@given(seeds, shapes, buses, st.integers(1, 64), st.integers(1, 6))
def test_pack_and_parse(seed, shape, bus_bits, block_outputs, classes):
    network = random_network(seed, shape, block_outputs=block_outputs, classes=classes)
    config = EngineConfig(bus_bits=bus_bits, block_outputs=64)
    image = parse(pack(network, config))
    assert image.bus_bits == bus_bits
    assert_same(network, image.network())
    x = random_inputs(seed, shape[0], 2)
    np.testing.assert_array_equal(image.network().compute(x), network.compute(x))


@pytest.mark.parametrize("shape", [(617, 300, 26), (1, 1), (1, 700), (700, 1)])
def test_shapes_of_real_layers(shape):
    network = random_network(1, shape, block_outputs=512, classes=8)
    assert_same(network, parse(pack(network, EngineConfig())).network())


def test_an_image_depends_on_the_bus_only():
    network = random_network(2, (30, 20), block_outputs=16)
    small, large = EngineConfig(lanes=4, block_outputs=16, features=32), EngineConfig(lanes=32, block_outputs=4096, features=32768)
    assert pack(network, small) == pack(network, large)
    assert pack(network, small) != pack(network, EngineConfig(bus_bits=64))


def test_fields_lie_where_the_format_says():
    rng = np.random.default_rng(4)
    layers = [
        random_layer(rng, 9, 20, block_outputs=16, kinds=[Kind.DENSE8], classes=1, relu=True),
        random_layer(rng, 20, 3, kinds=[Kind.PREFIX, Kind.EMPTY], classes=3, raw=True),
    ]
    own, wide = np.arange(1, 21, dtype=np.uint16), np.array([-32768, *[512] * 18, 256 * 32767], dtype=np.int32)
    layers[0] = dataclasses.replace(layers[0], bias=wide, mul=own)
    layers[1] = dataclasses.replace(layers[1], bias=np.array([-32768, 0, 32767], dtype=np.int32), mul=np.full(3, 40000, dtype=np.uint16))
    steps = InputSteps(0.3, np.arange(9, dtype=np.uint8), np.arange(-300, 600, 100, dtype=np.int16))
    network = network_of(layers, rng, steps, np.array([3, -0.75, 1e-3], dtype=np.float32))
    image = pack(network, EngineConfig(bus_bits=64))
    header = np.frombuffer(image, IMAGE_HEADER, 1)[0]
    assert image[:4] == b"PFC1"
    descriptor = 16 + 24 + 64
    fields = header["bus_bytes_log2"], header["levels"], header["inputs"], header["features"], header["block_outputs"], header["descriptor_words"]
    assert fields == (3, 16, 9, 20, 16, descriptor // 8)
    assert header["image_bytes"] == len(image)
    assert header["crc32"] == zlib.crc32(image[:28] + bytes(4) + image[32:])
    assert header["accumulator_bits"] == network.accumulator_bits

    block = np.frombuffer(image, BLOCK_HEADER, 1, 32)[0]
    assert (block["features"], block["outputs"], block["classes"], block["shift"]) == (9, 16, 2, layers[0].shift)
    assert block["flags"] == BlockFlag.FIRST | BlockFlag.RELU | BlockFlag.WIDE_BIAS
    assert block["mul"] == 0
    assert block["next_words"] == descriptor // 8
    infos = np.frombuffer(image, CLASS_INFO, 2, 48)
    assert infos["end"].tolist() == [9, 9]
    assert infos["words"].tolist() == [1 | PAIR, 0]
    assert infos["turns"].tolist() == [8, 0]
    tables = np.frombuffer(image, np.int8, 64, 72).reshape(2, 16, 2)[..., 0]
    assert tables.tolist() == [list(range(-128, 128, 16)), list(range(16))]
    assert np.frombuffer(image, "<i2", 16, 136).tolist() == [-128] + 15 * [2]
    assert np.frombuffer(image, "<u2", 16, 168).tolist() == list(range(1, 17))

    second = np.frombuffer(image, BLOCK_HEADER, 1, 200)[0]
    assert (second["outputs"], second["flags"]) == (4, BlockFlag.LAST | BlockFlag.RELU | BlockFlag.WIDE_BIAS)
    assert np.frombuffer(image, "<i2", 4, 200 + descriptor).tolist() == [2, 2, 2, 32767]
    third = np.frombuffer(image, BLOCK_HEADER, 1, 200 + descriptor + 8 + 8)[0]
    assert third["flags"] == BlockFlag.FIRST | BlockFlag.LAST | BlockFlag.FINAL | BlockFlag.RAW | BlockFlag.SHARED_MUL
    assert third["mul"] == 40000
    slots = int(third["classes"])
    parameters = 200 + descriptor + 8 + 8 + 16 + -(-12 * slots // 8) * 8 + 32 * slots
    assert np.frombuffer(image, "<i2", 3, parameters).tolist() == [-32768, 0, 32767]
    assert third["next_words"] == 0
    host = image[header["host_offset"]:]
    assert np.frombuffer(host, "<f4", 1)[0] == network.input_steps.scale
    assert np.frombuffer(host, "<u2", 2, 4).tolist() == [9, 3]
    assert len(host) == 10 + 6 + 9 + 18 + 2
    assert (host[8], np.frombuffer(host, "i1", 1, 9)[0]) == (HostFlag.EXPONENTS | HostFlag.ZEROS, 1)
    assert np.frombuffer(host, "<f2", 3, 10).tolist() == [1.5, -0.375, np.float16(0.5e-3)]
    assert network.output_scale.tolist() == [3, -0.75, 2 * np.float32(np.float16(0.5e-3))]
    assert host[16:25] == bytes(range(9))
    assert np.frombuffer(host, "<i2", 9, 25).tolist() == list(range(-300, 600, 100))
    np.testing.assert_array_equal(np.unpackbits(np.frombuffer(host, np.uint8, 2, 43), bitorder="little", count=9), network.input_class)


@pytest.mark.parametrize(("bus_bits", "padding"), [(64, 0), (512, 48)])
def test_a_table_lies_behind_the_parameters_of_the_first_block(bus_bits, padding):
    rng = np.random.default_rng(0)
    table = np.arange(256, dtype=np.uint8)[::-1].copy().view(np.int8)
    layers = [random_layer(rng, 4, 40, block_outputs=16, kinds=[Kind.PREFIX], table=table), random_layer(rng, 40, 8, kinds=[Kind.PREFIX], raw=True)]
    network = network_of(layers, rng)
    image = pack(network, EngineConfig(bus_bits=bus_bits))
    assert np.frombuffer(image, IMAGE_HEADER, 1)[0]["flags"] == ImageFlag.TABLES
    blocks = image_layout(network, bus_bits // 8).blocks
    assert [block.function_words * bus_bits // 8 for block in blocks] == [256, 0, 0, 0]
    flags = [np.frombuffer(image, BLOCK_HEADER, 1, block.offset * bus_bits // 8)[0]["flags"] for block in blocks]
    assert [bool(flag & BlockFlag.TABLE) for flag in flags] == [True, True, True, False]
    end = blocks[1].offset * bus_bits // 8
    assert image[end - 256:end] == bytes(range(255, -1, -1))
    assert size_report(network, EngineConfig(bus_bits=bus_bits)).layers[0].function == 256
    assert_same(network, parse(image).network())


@pytest.mark.parametrize(("slots", "width"), [(1, 0), (2, 1), (3, 2), (4, 2), (5, 3), (9, 4), (16, 4)])
def test_class_numbers_take_as_few_bits_as_they_need(slots, width):
    rng = np.random.default_rng(slots)
    classes = tuple(random_segments(rng, Kind.SPARSE, 3 * slot, 3, 5) for slot in range(slots))
    layer = Layer(3 * slots, 5, 5, (classes,), np.zeros(5, dtype=np.int32), np.ones(5, dtype=np.uint16), 1, True, False)
    network = network_of([layer], rng)
    image = pack(network, EngineConfig())
    host = image[parse(image).header["host_offset"]:]
    assert len(host) == 10 + 2 + -(-3 * slots * width // 8)
    written = sum(int(number) << width * feature for feature, number in enumerate(network.input_class))
    assert int.from_bytes(host[12:], "little") == written
    np.testing.assert_array_equal(parse(image).input_class, network.input_class)


@given(seeds, buses)
def test_a_sparse_class_is_as_long_as_its_longest_segment(seed, bus_bits):
    rng = np.random.default_rng(seed)
    segments = random_segments(rng, Kind.SPARSE, 0, 7, int(rng.integers(1, 90)))
    layer = Layer(7, segments.outputs, segments.outputs, ((segments,),), np.zeros(segments.outputs, dtype=np.int32),
                  np.ones(segments.outputs, dtype=np.uint16), 1, True, False)
    config = EngineConfig(bus_bits=bus_bits)
    network = network_of([layer], rng)
    words = max(-(-int(bits) // bus_bits) for bits in sparse_bits(segments.indices, segments.levels.size, segments.rice))
    assert predicted_traffic(network, np.ones(7, dtype=np.int8), config).segment_words.tolist() == [[7 * words]]
    assert_same(network, parse(pack(network, config)).network())


@given(seeds, buses)
def test_a_segment_is_found_without_pointers(seed, bus_bits):
    network = random_network(seed, (40, 30), block_outputs=16, classes=5, kinds=[Kind.PREFIX, Kind.EMPTY])
    image = pack(network, EngineConfig(bus_bits=bus_bits))
    layout = image_layout(network, bus_bits // 8)
    for block in layout.blocks:
        infos = np.frombuffer(image, CLASS_INFO, block.slots, (block.offset + block.header_words) * layout.bus_bytes)
        for info, segments, start in zip(infos, block.classes, block.segment_offsets, strict=True):
            if segments.kind is Kind.PREFIX:
                for feature in (segments.first, segments.end - 1):
                    address = (int(info["base"]) + feature * int(info["words"])) % 2**32
                    assert address == start + (feature - segments.first) * int(info["words"])


@settings(deadline=None)
@given(seeds, shapes, buses, st.integers(1, 64))
def test_size_report_counts_every_byte(seed, shape, bus_bits, block_outputs):
    network = random_network(seed, shape, block_outputs=block_outputs)
    config = EngineConfig(bus_bits=bus_bits, block_outputs=64)
    image = pack(network, config)
    report = size_report(network, config)
    assert report.image_bytes == len(image)
    assert report.bits_per_weight == 8 * len(image) / sum(layer.features * layer.outputs for layer in network.layers)
    assert all(layer.padding >= 0 for layer in report.layers)
    as_dict = report.as_dict()
    assert as_dict["header"] + as_dict["host"] + sum(layer["total"] for layer in as_dict["layers"]) == len(image)


def test_size_report_by_hand():
    segments = Segments.prefix(0, np.array([1, 2], dtype=np.int8), np.array([5, 4]), np.array([[0, 1] * 4 + [0]] * 3, dtype=np.uint8))
    layer = random_layer(np.random.default_rng(0), 3, 9, kinds=[Kind.EMPTY])
    layer = Layer(3, 9, 9, ((segments,),), layer.bias, np.arange(9, dtype=np.uint16), layer.shift, False, False)
    network = network_of([layer], np.random.default_rng(0))
    size = size_report(network, EngineConfig(bus_bits=32)).layers[0]
    assert (size.weights, size.descriptors, size.class_infos, size.level_tables, size.parameters) == (27, 16, 12, 32, 36)
    # 27 bits of code; three words hold them, and 18 bytes of biases take 20, as those of multipliers do
    assert (size.segments, size.padding) == (4, 2 + 2 + 3 * 4 - 4)
    assert size.total == 16 + 12 + 32 + 40 + 12
    shared = dataclasses.replace(layer, mul=np.full(9, 7, dtype=np.uint16))
    assert size_report(network_of([shared], np.random.default_rng(0)), EngineConfig(bus_bits=32)).layers[0].total == size.total - 20


@settings(deadline=None)
@given(seeds, shapes, buses, st.integers(1, 64), st.sampled_from([0.0, 0.3, 1.0]))
def test_traffic_is_that_of_the_nonzero_activations(seed, shape, bus_bits, block_outputs, density):
    network = random_network(seed, shape, block_outputs=block_outputs, classes=4)
    config = EngineConfig(bus_bits=bus_bits, block_outputs=64)
    x = random_inputs(seed, shape[0], 3, density)
    traffic = predicted_traffic(network, x, config)
    layout = image_layout(network, config.bus_bytes)
    assert traffic.header_words == -(-32 // config.bus_bytes)
    received = network.layer_inputs(x)
    for sample in range(3):
        for number in range(len(network.layers)):
            expected = fetched = features = 0
            for block in (block for block in layout.blocks if block.layer == number):
                expected += block.program_words
                for segments, size in zip(block.classes, block.feature_words, strict=True):
                    hits = np.count_nonzero(received[number][sample, segments.first:segments.end])
                    expected += size * hits
                    fetched += hits if segments.kind is not Kind.EMPTY else 0
                    features += segments.features
            assert traffic.layer_words[sample, number] == expected
            assert traffic.fetched[sample, number] == fetched
            assert traffic.skipped[sample, number] == features - fetched
        assert traffic.total_words[sample] == traffic.header_words + traffic.layer_words[sample].sum()


def test_a_run_with_every_activation_reads_the_whole_image():
    network = random_network(6, (30, 40), block_outputs=16, classes=5)
    config = EngineConfig(bus_bits=32)
    traffic = predicted_traffic(network, np.ones(30, dtype=np.int8), config)
    assert traffic.total_bytes.tolist() == [size_report(network, config).image_bytes - size_report(network, config).host]
    nothing = predicted_traffic(network, np.zeros(30, dtype=np.int8), config)
    assert nothing.segment_words.sum() == nothing.fetched.sum() == 0
    assert nothing.skipped.tolist() == [[3 * 30]]


def test_traffic_refuses_a_wrong_input():
    with pytest.raises(InputError, match=r"Activations must be int8 \[batch, 5\], not int8 \[1, 4\]"):
        predicted_traffic(random_network(0, (5, 3)), np.zeros(4, dtype=np.int8), EngineConfig())


LARGE = random_network(0, (40, 100), block_outputs=100, kinds=[Kind.DENSE8])


@pytest.mark.parametrize(("config", "message"), [
    ({"features": 32}, r"needs an engine with features >= 100, but this one has 32: an EngineConfig with features=128 would fit \(--features 128\)"),
    ({"block_outputs": 64}, r"block_outputs >= 100, but this one has 64: compress it again for this engine \(--block-outputs 64\), or "
                            r"an EngineConfig with block_outputs=128 would fit \(--block-outputs 128\)"),
    ({"levels": 8}, r"needs an engine with levels >= 16, but this one has 8: compress it again for this engine \(--levels 8\), or "
                    r"an EngineConfig with levels=16 would fit \(--levels 16\)$"),
    ({"accumulator_bits": 16}, r"needs an engine with accumulator_bits >= \d+, but this one has 16: an EngineConfig with accumulator_bits=\d+ would"),
    ({"features": 32, "levels": 8}, r"but this one has 32: an EngineConfig with features=128, levels=16 would fit"),
])
def test_an_engine_that_is_too_small(config, message):
    with pytest.raises(ConfigError, match=message):
        pack(LARGE, EngineConfig(**config))


def test_the_required_configuration_fits():
    config = EngineConfig(**required(LARGE))
    assert (config.features, config.block_outputs, config.levels, config.accumulator_bits) == (128, 128, 16, LARGE.accumulator_bits)
    assert_same(LARGE, parse(pack(LARGE, config)).network())


TABLE = random_network(0, (40, 20), raw=False, tables=False)
TABLE = dataclasses.replace(TABLE, layers=(dataclasses.replace(TABLE.layers[0], relu=False, table=np.zeros(256, dtype=np.int8)),))


def test_an_engine_without_tables():
    assert required(TABLE)["tables"]
    assert not required(LARGE)["tables"]
    pack(LARGE, EngineConfig(tables=False))
    with pytest.raises(ConfigError, match=r"The network needs an engine with tables, since it has functions other than ReLU and clamps, "
                                          r"but this one has none: an EngineConfig with tables=True would fit \(--tables\)"):
        pack(TABLE, EngineConfig(tables=False))
    with pytest.raises(ConfigError, match=r"features >= 40, .* an EngineConfig with features=64, tables=True would fit \(--features 64 --tables\)"):
        pack(TABLE, EngineConfig(tables=False, features=32))


def test_segments_that_a_lane_cannot_hold():
    network = longest_sparse(3, 100)
    with pytest.raises(ConfigError, match=r"A sparse segment of features 0 to 2 in layer 0 takes 100 bytes, but a lane of this engine holds 64: "
                                          r"compress it again for this engine \(--block-outputs 128\), or "
                                          r"an EngineConfig with block_outputs=256 would fit \(--block-outputs 256\)"):
        pack(network, EngineConfig(block_outputs=128))
    assert required(network)["block_outputs"] == 256
    pack(network, EngineConfig(**required(network)))
    pack(longest_sparse(3, 64), EngineConfig(block_outputs=64, bus_bits=512))  # a word of 64 bytes
    with pytest.raises(ConfigError, match="takes 3000 bytes, .* and no engine has enough: compress the network with block_outputs of at most 2048"):
        pack(longest_sparse(1, 3000), EngineConfig(block_outputs=4096, features=4096))


@settings(deadline=None)
@given(seeds, st.integers(1, 300), buses, st.sampled_from([Kind.PREFIX, Kind.DENSE8, Kind.EMPTY, Kind.SPARSE]))
def test_segments_of_every_kind_fit_the_smallest_engine_for_their_outputs(seed, outputs, bus_bits, kind):
    """By construction: 16 levels take at most 4 bits each, nibbles take 4, and sparse segments with their best Rice parameter at most 3."""
    rng = np.random.default_rng(seed)
    segments = random_segments(rng, kind, 0, 3, outputs)
    if kind is Kind.SPARSE:
        segments = Segments.sparse(0, segments.levels, segments.indices)
    config = EngineConfig(bus_bits=bus_bits, block_outputs=max(16, 1 << (outputs - 1).bit_length()))
    assert lane_words(segments, bus_bits) * config.bus_bytes <= config.segment_bytes


def test_no_engine_is_large_enough():
    network = network_of([random_layer(np.random.default_rng(0), 1, 5000, block_outputs=5000, kinds=[Kind.EMPTY])], np.random.default_rng(0))
    with pytest.raises(ConfigError, match="block_outputs >= 5000.* no engine has enough: compress the network with block_outputs of at most 4096"):
        pack(network, EngineConfig(features=8192))

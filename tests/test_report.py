"""Figures of networks."""

from __future__ import annotations

import tracemalloc

import numpy as np

from networks import network_of, random_network
from permfc.config import EngineConfig
from permfc.image import pack, parse
from permfc.image.report import network_report
from permfc.network import Kind, Layer, Segments


def test_layers_without_weights_take_no_memory() -> None:
    """What the report says follows from the segments: eight layers of 32768 x 32768 zeros are a few bytes each."""
    size = 32768
    blocks, ones = ((Segments.empty(0, size, 4096),),) * 8, np.ones(size, dtype=np.uint16)
    layer = Layer(size, size, 4096, blocks, np.zeros(size, dtype=np.int32), ones, 1, True, False)
    config = EngineConfig(features=size, block_outputs=4096)
    image = pack(network_of([layer] * 8, np.random.default_rng(0)), config)
    tracemalloc.start()
    report = network_report(parse(image).network(), config)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert {found.zero_weights for found in report.layers} == {1.0}
    assert most < 10 * len(image)


def test_report_agrees_with_the_image_and_the_weights() -> None:
    network = random_network(2, (70, 90, 20), block_outputs=64)
    report = network_report(network, EngineConfig(bus_bits=64))
    image_bytes = len(pack(network, EngineConfig(bus_bits=64)))
    assert report.size.image_bytes == image_bytes
    assert report.ratio == 4 * (70 * 90 + 90 * 20) / image_bytes
    for layer, found in zip(network.layers, report.layers, strict=True):
        assert (found.features, found.outputs, found.blocks) == (layer.features, layer.outputs, -(-layer.outputs // 64))
        assert sum(found.kinds.values()) == layer.features
        assert found.zero_weights == 1 - np.count_nonzero(layer.weights()) / layer.weights().size
    assert report.as_dict()["weights"] == 70 * 90 + 90 * 20


def test_levels_of_a_network_without_sequences() -> None:
    report = network_report(random_network(2, (20, 10), kinds=[Kind.DENSE8]), EngineConfig())
    assert report.layers[0].levels == 0
    assert report.layers[0].kinds == {"dense8": 20}


def test_levels_of_sparse_classes_count_zero() -> None:
    network = random_network(2, (20, 10), kinds=[Kind.SPARSE], classes=4)
    found = network_report(network, EngineConfig()).layers[0]
    assert found.levels == 1 + max(segments.levels.size for segments in network.layers[0].classes)
    assert found.kinds == {"sparse": 20}

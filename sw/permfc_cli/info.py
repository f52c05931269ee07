"""``permfc info``."""

from __future__ import annotations

import dataclasses

from permfc.config import EngineConfig
from permfc.device.placement import separated
from permfc.files import read_file
from permfc.graph.whole import WholeNetwork
from permfc.image import next_image
from permfc.image.layout import image_layout
from permfc.image.report import NetworkReport, network_report
from permfc.network import Kind, Network

from . import console, inputs
from .engine_options import EngineChoice, takes_engine
from .options import AsJson, ChainName, NetworkFile
from .whole import describe as describe_whole
from .whole import is_whole


@takes_engine
def info(file: NetworkFile, engine: EngineChoice, chain: ChainName = None, as_json: AsJson = False) -> None:
    """Show what a compressed network or an image consists of.

    An image is read from its bytes alone and verified: checksum, and every byte against what its contents require. Of a file with several
    images, for a flash, each is verified and told with its place.

    **Examples**

    - `permfc info lenet.safetensors`

    - `permfc info lenet.img --json`

    - `permfc info minilm --chain encoder.layer.0.intermediate.dense`
    """
    if chain is None and is_whole(file):
        describe_whole(WholeNetwork.load(file), str(file), as_json)
        return
    content = read_file(file)
    if chain is None and next_image(content) is not None:
        images = separated(content)
        describe_images({f"{file}, image {number}": (place, one.network()) for number, (place, one) in enumerate(images)},
                        images[0][1].bus_bits, str(file), as_json)
        return
    network, bus_bits = inputs.read_network(file, chain)
    config = engine.config()
    if bus_bits is not None:  # what an image is packed for stands in the image
        config = dataclasses.replace(config, bus_bits=bus_bits)
    describe(network, config, str(file), as_json)


def describe(network: Network, config: EngineConfig, name: str, as_json: bool) -> None:
    """Print the figures of a network."""
    report = network_report(network, config)
    console.show(as_json, {"file": name, **report.as_dict()}, *tables(report, name))


def describe_images(images: dict[str, tuple[int, Network]], bus_bits: int, name: str, as_json: bool) -> None:
    """Print where the images in a file for a flash begin: their networks, and offsets, by what they are called."""
    table = console.table(name, {"network": "left", **dict.fromkeys(["inputs", "outputs", "offset", "bytes"], "right")})
    figures = []
    for file, (offset, network) in images.items():
        size = image_layout(network, bus_bits // 8).image_bytes
        table.add_row(file, f"{network.inputs:,}", f"{network.outputs:,}", f"{offset:,}", f"{size:,}")
        figures.append({"file": file, "inputs": network.inputs, "outputs": network.outputs, "offset": offset, "image_bytes": size})
    console.show(as_json, {"file": name, "images": figures}, table)


def tables(report: NetworkReport, title: str) -> list[console.Table]:
    """Layers, kinds of classes, and the whole image."""
    return [_layers(report, title), _kinds(report), _totals(report)]


def _layers(report: NetworkReport, name: str) -> console.Table:
    headings = ["layer", "outputs x inputs", "blocks", "classes", "levels", "zeros", "bytes", "bits/w", "result"]
    layers = console.table(name, dict.fromkeys(headings, "right"))
    for number, layer in enumerate(report.layers):
        result = "int32" if layer.raw else "int8, ReLU" if layer.relu else "int8, table" if layer.table else "int8"
        layers.add_row(
            str(number), f"{layer.outputs} x {layer.features}", str(layer.blocks), str(layer.classes), str(layer.levels),
            f"{layer.zero_weights:.1%}", f"{layer.size.total:,}", f"{layer.size.bits_per_weight:.3f}", result,
        )
    return layers


def _kinds(report: NetworkReport) -> console.Table:
    kinds = console.table("", dict.fromkeys(["inputs of layer", *(kind.value for kind in Kind)], "right"))
    for number, layer in enumerate(report.layers):
        kinds.add_row(str(number), *(str(layer.kinds.get(kind.value, 0)) for kind in Kind))
    return kinds


def _totals(report: NetworkReport) -> console.Table:
    totals = console.table("", {"whole image": "left", f"{report.bus_bits}-bit bus": "right"})
    totals.add_row("weights", f"{report.size.weights:,}")
    totals.add_row("image bytes, everything included", f"{report.size.image_bytes:,}")
    totals.add_row("bits a weight", f"{report.size.bits_per_weight:.3f}")
    totals.add_row("smaller than float32", f"{report.ratio:.1f} x")
    totals.add_row("accumulator bits needed", str(report.accumulator_bits))
    totals.add_row("input value of one step", f"{report.input_scale:.6g}")
    totals.add_row(f"cycles of a run without zeros, modelled for {report.lanes} lanes", f"{report.cycles.total[0]:,}")
    totals.add_row("what they wait for most", report.cycles.limit)
    return totals

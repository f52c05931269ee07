"""``permfc compress`` of a whole network: a graph in, the network's file out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from permfc.config import EngineConfig
from permfc.errors import InputError
from permfc.graph.assumed import inputs_in_range
from permfc.graph.compressing import compress_graph
from permfc.graph.runtime import open_model
from permfc.graph.values import Value
from permfc.importers import GRAPH_FILES, load_graph

from . import console
from .warn import warn_of_clipping, warn_of_empty, warn_of_loss
from .whole import describe, read_samples


def is_graph(model: Path) -> bool:
    """Whether a file holds a whole network, and no arrays alone."""
    return model.suffix.lower() in GRAPH_FILES


def compress_whole(model: Path, out: Path, bits: float | str, calibrate: Path | None, layers: list[str] | None, skip: list[str],
                   per_layer: Mapping[str, float | str] | None, config: EngineConfig, as_json: bool) -> None:
    """Compress every fully connected layer of a graph that an engine can have, write the network and tell where each layer runs.

    Raises
    ------
    InputError
        If there is no calibration data, or it is not what the network takes.
    ModelError
        If the model cannot be used.
    """
    graph, source = load_graph(model)
    values = [Value(value.name, value.type, value.shape) for value in open_model(graph, source).get_inputs()]
    samples = inputs_in_range(graph, values) if calibrate is None else read_samples(calibrate, values)
    if samples is None:
        raise InputError(f"Compressing all of {model} takes typical inputs, which show what reaches its layers: give them with --calibrate, "
                         f".npy or, for {', '.join(value.name for value in values)} by name, .npz")
    if calibrate is None:
        console.note("Without --calibrate, inputs are drawn from the ranges that the file carries.")
    with console.progress() as steps:
        network = compress_graph(graph, samples, bits, source=source, layers=layers, skip=skip, per_layer=per_layer,
                                 config=config, progress=steps)
    for name, figures in network.figures.items():
        warn_of_clipping(figures.clipped, f"the values that reach chain {name} with {calibrate or 'these inputs'}")
        warn_of_empty(figures.empty)
        warn_of_loss(figures.error, name)
    network.save(out)
    describe(network, str(out), as_json)

"""From a trained float network to a compressed one, without retraining."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..config import EngineConfig
from ..errors import ModelError
from ..image.layout import image_layout
from ..importers import load_model
from ..importers.float_network import FloatNetwork
from ..network import Network
from ..network.segments import MAX_SIZE
from ..progress import Progress
from .allocation import allocate
from .assembly import assemble
from .overhead import step_bits
from .preparation import Prepared, prepare
from .tables import without_factors
from .targets import layer_budgets, sized

_ENGINE = EngineConfig()
_ATTEMPTS = 5  # to meet the target
_SMALL_SHARE = 0.1  # of the image


def compress(model: object, bits: float | str = 2.5, calibration: np.ndarray | None = None, engine: EngineConfig = _ENGINE, *,
             per_layer: Mapping[str, float | str] | None = None, reference: np.ndarray | None = None, progress: Progress | None = None) -> Network:
    """Compress a trained network to a target size, after training and without retraining.

    Parameters
    ----------
    model : FloatNetwork, path, torch module or state dict
        Whatever ``load_model`` takes.
    bits : float or "dense8"
        Most bits a weight: 8 * image bytes / weights, everything in the image included. Or int8 weights everywhere.
    calibration : float [S, inputs], optional
        Typical inputs, without labels; some hundred to two thousand. Without them, inputs are drawn from the range that a quantised
        file tells. Of other models they are assumed to lie in -1..1,
        hidden ranges are taken from made-up inputs with a margin of 2, and nothing is corrected: expect less accuracy.
    engine : EngineConfig
        The engine to compress for. Its bus width is the one that the size is optimised for; the network runs on any other. Outputs are
        stored in its blocks, and sequences have at most its levels: with 8, nothing is stored as dense8.
    per_layer : mapping of layer name to float or str, optional
        Most bits a weight of that layer, its tables included, or the one kind ("prefix", "sparse", "dense8") that its classes may have
        beside empty ones. The other layers share what the whole image may take.
    reference : float [S, inputs], optional
        For a part of a larger network, whose inputs in ``calibration`` are already changed by what was compressed before it: the same inputs
        as they were. The float network's results for these are what is wanted.
    progress : function (what, done, total), optional
        Called as the work goes on.

    Returns
    -------
    Network

    Raises
    ------
    ModelError
        If the model cannot be used or the target cannot be reached.
    InputError
        If the calibration data cannot be used.
    """
    network = without_factors(load_model(model))
    if not isinstance(per_layer, Mapping | None):
        raise ModelError(f"per_layer must map names of layers to bits or kinds, not {per_layer!r}: write {{name: bits}}")
    bits, per_layer = sized(network, bits, per_layer or {})
    if not isinstance(engine, EngineConfig):
        raise ModelError(f"engine must be an EngineConfig, not {engine!r}")
    _check_size(network)
    _check_functions(network, engine)
    calibration = network.inputs_in_range() if calibration is None else calibration
    report = progress or (lambda what, done, total: None)
    best, least, most_step_bits = None, np.inf, np.inf
    while most_step_bits >= 0:  # own steps and offsets of the inputs are tried against less of them where they are a large part of the image
        report("measure activations", 0, 1)
        ready = prepare(network, bits, calibration, reference, engine, per_layer, most_step_bits)
        report("measure activations", 1, 1)
        compressed = _compressed(ready, bits, engine, per_layer, report)
        taken = step_bits(ready.steps, network.inputs)
        if best is None and taken <= _SMALL_SHARE * bits * network.weight_count:
            return compressed
        if (error := _error(ready, compressed)) < least:
            best, least = compressed, error
        most_step_bits = taken - 1
    return best


def _compressed(ready: Prepared, bits: float, engine: EngineConfig, per_layer: Mapping[str, float | str], report: Progress) -> Network:
    """A network of at most ``bits`` bits a weight."""
    weights = ready.network.weight_count
    taken = float(step_bits(ready.steps, ready.network.inputs))
    for _ in range(_ATTEMPTS):
        budgets = layer_budgets(ready.network, bits, ready.storages, per_layer, taken)
        fits, orders = allocate(ready.scaled, ready.storages, budgets, report)
        compressed = assemble(ready, fits, orders, report)
        over = 8.0 * image_layout(compressed, engine.bus_bytes).image_bytes - bits * weights
        if over <= 0:
            return compressed
        taken += over
    raise ModelError(f"Target of {bits:.4g} bits a weight was missed by {over / weights:.4f} bits: ask for a little more")


def _error(ready: Prepared, compressed: Network) -> float:
    """Squared error of the results for the samples; only these have steps of their own."""
    wanted = ready.network.predict(ready.samples if ready.reference is None else ready.reference)
    return float(np.square(compressed.predict(ready.samples + ready.steps.offsets(compressed.inputs)) - wanted, dtype=np.float64).mean())


def _check_size(network: FloatNetwork) -> None:
    for layer in network:
        if max(layer.inputs, layer.outputs) > MAX_SIZE:
            raise ModelError(f"Layer {layer.name} has {layer.inputs} inputs and {layer.outputs} outputs, more than the {MAX_SIZE} that an "
                             "engine can have: split it")


def _check_functions(network: FloatNetwork, engine: EngineConfig) -> None:
    for layer in network:
        if layer.function.needs_table and not engine.tables:
            raise ModelError(f"Layer {layer.name} has the function {layer.function.name}, which takes a table, and the engine has tables=False: "
                             "take an engine with tables, or split the network behind that layer")

"""From an ONNX model to a whole network on the engine: cut, calibrate on the original, compress every chain, compare with the original."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..compression.compress import compress
from ..compression.targets import ANY_SIZE, LOST, check_bits, layer_plans, sized
from ..config import EngineConfig
from ..errors import InputError, ModelError
from ..network import Network
from ..progress import Progress
from .accounting import totals
from .agreement import check_agreement
from .chains import Chain
from .partition import Partition, partition
from .recording import reached, record, thinned
from .runtime import open_model
from .values import Feeds, Value, batches, relative_error, share_equal
from .whole import ChainFigures, Row, WholeNetwork

if TYPE_CHECKING:
    from onnx import ModelProto

_JUDGED_ROWS = 256  # of them, that tell its error
SKIPPED = "skipped"


def compress_graph(model: ModelProto, inputs: np.ndarray | Feeds | Iterable[Feeds], bits: float | str = 2.5, *, source: str = "the model",
                   layers: Sequence[str] | None = None, skip: Sequence[str] = (), per_layer: Mapping[str, float | str] | None = None,
                   config: EngineConfig | None = None, progress: Progress | None = None) -> WholeNetwork:
    """Compress the fully connected layers of any ONNX model that onnxruntime runs.

    Parameters
    ----------
    model : ModelProto
    inputs : array, mapping of names to arrays, or iterable of such mappings
        Typical inputs of the model, without labels; an array will do for a model with one input.
    bits : float or "dense8"
        Most bits a weight of every chain, everything in its image included; or int8 weights everywhere.
    source : str
        What messages call the model.
    layers, skip : names of layers, or patterns such as ``encoder.*.query``, optional
        The only ones to take, and those to leave on the host.
    per_layer : mapping of layer name to float or str, optional
        Bits or a kind for single layers, as for `permfc.compress`.
    config : EngineConfig, optional
        The engine to compress for, as for `permfc.compress`.
    progress : callable, optional

    Returns
    -------
    WholeNetwork

    Raises
    ------
    ModelError
        If the model cannot be used, or no layer can have so few bits.
    InputError
        If the model does not take such inputs.
    """
    _check_arguments(model, layers, skip, per_layer, config)
    check_bits(bits)
    config, report = config or EngineConfig(), progress or (lambda what, done, total: None)
    session = open_model(model, source)
    values = [tuple(Value(value.name, value.type, value.shape) for value in given) for given in (session.get_inputs(), session.get_outputs())]
    feeds = list(batches(values[0], inputs))
    if not feeds:
        raise InputError("There is no batch in these inputs: give one or more")
    reasons = dict.fromkeys(skip, SKIPPED)
    part = _affordable(model, source, layers, reasons, bits, config, per_layer or {})
    check_agreement(part, session, feeds[0])
    networks, figures, lost = _all_compressed(part, feeds, bits, config, per_layer or {}, report)
    if lost:
        part = partition(model, source, layers, reasons | lost)
        check_agreement(part, session, feeds[0])
    rows = _rows(part)
    stages = tuple((stage.host and stage.host.SerializeToString(), tuple(chain.joint for chain in stage.chains)) for stage in part.stages)
    made = WholeNetwork(source, *values, stages, networks, figures, rows, totals(model, part, rows, networks, feeds[0], config))
    made.totals.update(_errors(made, session.run(None, feeds[0]), feeds[0]))
    return made


def _check_arguments(model: object, layers: object, skip: object, per_layer: object, config: object) -> None:
    if not callable(getattr(model, "SerializeToString", None)):
        raise ModelError(f"model must be a ModelProto, such as onnx.load gives, not {type(model).__name__}")
    for what, names in (("layers", layers), ("skip", skip)):
        if isinstance(names, str):
            raise ModelError(f"{what} must be a list of names of layers, not {names!r}")
    if per_layer is not None and not isinstance(per_layer, Mapping):
        raise ModelError(f"per_layer must map names of layers to bits or kinds, not {per_layer!r}: write {{name: bits}}")
    if config is not None and not isinstance(config, EngineConfig):
        raise ModelError(f"config must be an EngineConfig, not {config!r}")


def _all_compressed(part: Partition, feeds: Sequence[Feeds], bits: float | str, config: EngineConfig, per_layer: Mapping[str, float | str],
                    report: Progress) -> tuple[dict[str, Network], dict[str, ChainFigures], dict[str, str]]:
    """Compress chain after chain, each for what the ones before give.

    Returns
    -------
    networks, figures : dicts by the chains' names
    lost : dict
        Why layers stay on the host, by their names; their chains are in neither of the others.
    """
    samples, plan = record(part, feeds, report), part.plan()
    networks: dict[str, Network] = {}
    figures: dict[str, ChainFigures] = {}
    lost: dict[str, str] = {}
    for number, chain in enumerate(part.chains):
        original = samples[chain.name]
        now = reached(plan, part, chain, networks, feeds) if networks else original
        now = now if len(now) == len(original) else original  # a graph whose shapes depend on values
        network = _compressed(chain, bits, now, original, config, per_layer)
        found = _figures(chain, network, now, original)
        if lost_now := _lost(chain, found):
            lost |= lost_now
        else:
            networks[chain.name], figures[chain.name] = network, found
        report("compress chains", number + 1, len(part.chains))
    if not networks:
        raise ModelError(f"No chain of {part.view.source} keeps its weights; {next(iter(lost.values()))}: ask for more bits a weight")
    return networks, figures, lost


def _compressed(chain: Chain, bits: float | str, now: np.ndarray, original: np.ndarray, config: EngineConfig,
                per_layer: Mapping[str, float | str]) -> Network:
    reference = None if np.array_equal(now, original) else original
    try:
        return compress(chain.network, bits, now, config, per_layer=_choices(chain, per_layer), reference=reference)
    except ModelError as error:
        raise ModelError(f"Chain {chain.name!r}: {error}; leave it on the host with `skip`") from error
    except InputError as error:
        raise InputError(f"Chain {chain.name!r}: {error}") from error


def _figures(chain: Chain, network: Network, now: np.ndarray, original: np.ndarray) -> ChainFigures:
    judged = [thinned(rows, _JUDGED_ROWS) for rows in (now, original)]
    error = relative_error([network.predict(judged[0])], [chain.network.predict(judged[1])])
    return ChainFigures(error, network.clipped_share(now), chain.network.emptied(network))


def _lost(chain: Chain, figures: ChainFigures) -> dict[str, str]:
    """Why the layers stay on the host of a chain in which a layer kept none of the weights that it needs.

    A layer whose weights matter to none of the samples may lose them.
    """
    if figures.error < LOST:
        return {}
    return {dense.name: f"too small: with so few bits {name} keeps none of its weights"
            for name in figures.empty for group in chain.layers for dense in group}


def _choices(chain: Chain, per_layer: Mapping[str, float | str]) -> dict[str, float | str]:
    """What the user chose for a chain's layers, each of which may be several of the graph's side by side."""
    return {layer.name: per_layer[name] for layer, group in zip(chain.network, chain.layers, strict=True)
            for dense in group for name in dense.names if name in per_layer}


def _affordable(model: ModelProto, source: str, layers: Sequence[str] | None, reasons: dict[str, str], bits: float | str, config: EngineConfig,
                per_layer: Mapping[str, float | str]) -> Partition:
    """The partition without chains whose headers alone take more than ``bits``, which ``reasons`` then names; ModelError if none is left."""
    part = partition(model, source, layers, reasons)
    _check_choices(part, bits, config, per_layer)
    while dear := {chain.name: error for chain in part.chains if (error := _too_dear(chain, bits, config, per_layer))}:
        if len(dear) == len(part.chains):
            raise ModelError(f"No chain of {source} can have {bits} bits a weight; chain {part.chains[0].name!r}: {next(iter(dear.values()))}")
        for chain in part.chains:
            if chain.name in dear:
                reasons |= dict.fromkeys((dense.name for group in chain.layers for dense in group), f"too small: {dear[chain.name]}")
        part = partition(model, source, layers, reasons)
    return part


def _too_dear(chain: Chain, bits: float | str, config: EngineConfig, per_layer: Mapping[str, float | str]) -> str:
    most, choices = sized(chain.network, bits, _choices(chain, per_layer))
    try:
        layer_plans(chain.network, most, config, choices)
    except ModelError as error:
        return str(error)
    return ""


def _check_choices(part: Partition, bits: float | str, config: EngineConfig, per_layer: Mapping[str, float | str]) -> None:
    """Refuse names and kinds that do not exist, and kinds that the engine cannot have: mistakes, not layers that are too small."""
    names = {name for chain in part.chains for group in chain.layers for dense in group for name in dense.names} | {kept.name for kept in part.kept}
    unknown = [name for name in per_layer if name not in names]
    if unknown:
        raise ModelError(f"{part.view.source} has no fully connected layer {unknown[0]!r}; on the engine are "
                         f"{', '.join(dense.name for chain in part.chains for group in chain.layers for dense in group)}")
    for chain in part.chains:
        kinds = {name: choice for name, choice in sized(chain.network, bits, _choices(chain, per_layer))[1].items() if isinstance(choice, str)}
        layer_plans(chain.network, ANY_SIZE, config, kinds)


def _rows(part: Partition) -> tuple[Row, ...]:
    engine = [Row(dense.name, list(dense.weight.shape), chain.name, "", dense.weight.size)
              for chain in part.chains for group in chain.layers for dense in group]
    return (*engine, *(Row(kept.name, list(kept.shape), "", kept.reason, kept.weights) for kept in part.kept))


def _errors(network: WholeNetwork, wanted: Sequence[np.ndarray], feeds: Feeds) -> dict[str, float]:
    """How far the compressed network's results are from the original's on some calibration samples."""
    tensors = network.plan().run(feeds, lambda name, x: network.chains[name].predict(x))
    found = [tensors[value.name] for value in network.outputs]
    return {"relative_error": relative_error(found, wanted), "equal_labels": share_equal(found, wanted)}

"""permfc.torch.offload: the fully connected layers of any torch module move to the engine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from torch import nn

from ..compression.compress import compress
from ..config import EngineConfig
from ..errors import InputError, ModelError
from ..image import size_report
from ..importers.float_network import FloatNetwork
from ..importers.torch_check import at_inference
from ..importers.torch_wrappers import unwrapped
from ..network import MAX_SIZE, Network
from ..progress import Progress
from .dense import Unit, chosen, units
from .engine import Engine
from .exchange import exchanged
from .grouping import columns, group_name, group_network, groups
from .model import Offloaded
from .modules import Group
from .recording import HELD_OUT, Record, call, record
from .report import LayerReport, Layers

_ANY_SIZE = 1e6  # bits a weight
_FEW = 4 * HELD_OUT  # with fewer rows none is held out


def offload(model: nn.Module, calibration: Iterable[object], bits: float | str = 2.5, device: str = "golden", layers: Sequence[str] | None = None,
            skip: Sequence[str] = (), config: EngineConfig | None = None, progress: Progress | None = None) -> Offloaded:
    """Compress the fully connected layers of a torch module, without retraining, and run them on the engine; the rest stays in torch.

    Parameters
    ----------
    model : nn.Module
        It is not changed; what is returned is a copy that shares nothing with it.
    calibration : iterable of batches
        Typical inputs: some hundred to two thousand rows for each layer. A batch is a tensor, a tuple of the arguments of ``forward``, or
        a dict of them by name.
    bits : float or "dense8"
        Most bits a weight of each layer, everything in its image included; or int8 weights everywhere.
    device : str
        Where the layers run: whatever ``permfc.open`` takes.
    layers, skip : names of Linear modules, or patterns such as ``encoder.*.query``, optional
        The only ones to exchange, and those not to exchange.
    config : EngineConfig, optional
        The engine that sizes are optimised for.
    progress : function (what, done, total), optional

    Returns
    -------
    Offloaded

    Raises
    ------
    ModelError
        If nothing can be offloaded, or the model cannot work with exchanged modules.
    InputError
        If the calibration data cannot be used.
    """
    config = config or EngineConfig()
    model = unwrapped(model)
    found = units(model)
    unwanted = chosen(found, layers, skip)
    records, first = record(model, found, calibration)
    reasons = {unit.name: unwanted.get(unit.name) or _reason(model, unit, seen) for unit, seen in zip(found, records, strict=True)}
    taken = groups([(unit, seen) for unit, seen in zip(found, records, strict=True) if not reasons[unit.name]])
    reports, made = [_left(unit, reasons[unit.name]) for unit in found if reasons[unit.name]], []
    for number, members in enumerate(taken):
        name = group_name([unit for unit, _ in members])
        if progress:
            progress(f"compress {name}", number, len(taken))
        report, group = _compressed(name, [unit for unit, _ in members], members[0][1].rows.rows(), bits, config)
        reports.append(report)
        made += [group] if group else []
    if not made:
        raise ModelError(f"No layer of {type(model).__name__} can be offloaded: "
                         + "; ".join(f"{report.name}, {report.reason}" for report in reports))
    order = {unit.name: number for number, unit in enumerate(found)}
    reports.sort(key=lambda report: order[report.modules[0]])
    summary = Layers(tuple(reports), sum(value.numel() for value in model.parameters()))
    copied = exchanged(model, made)
    _try(copied, made, first)
    return opened(copied, made, summary, device, progress)


def opened(copied: nn.Module, made: Sequence[Group], layers: Layers, device: str, progress: Progress | None = None) -> Offloaded:
    """A model with exchanged modules, and its device."""
    engine = Engine({group.name: group.network for group in made}, device, progress)
    for group in made:
        group.engine = engine
    return Offloaded(copied, layers, tuple(made), engine)


def _try(copied: nn.Module, made: Sequence[Group], batch: object) -> None:
    """Run a model with exchanged modules once, on the golden model: its code may use what these do not have."""
    with opened(copied, made, Layers((), 0), "golden") as trial, at_inference(copied):
        try:
            call(trial.module, batch, "the first calibration batch after its layers were exchanged")
        except InputError as error:
            raise ModelError(f"{error}. Where code uses a Linear module's weight itself, skip the module") from error


def _reason(model: nn.Module, unit: Unit, seen: Record) -> str:
    """Why a layer stays in torch; empty if nothing speaks against exchanging it."""
    if any(isinstance(module, nn.modules.linear.NonDynamicallyQuantizableLinear) for module in unit.modules):
        return "MultiheadAttention uses its weight, and does not call it"
    if seen.reason:
        return seen.reason
    if not seen.calls:
        return "no calibration batch reached it"
    if max(unit.outputs, unit.inputs) > MAX_SIZE:
        return f"it has more than the {MAX_SIZE} inputs or outputs that an engine can have"
    return ""


def _left(unit: Unit, reason: str) -> LayerReport:
    return LayerReport(unit.name, unit.names, (unit.outputs, unit.inputs), reason)


def _compressed(name: str, members: Sequence[Unit], rows: np.ndarray, bits: float | str, config: EngineConfig) -> tuple[LayerReport, Group | None]:
    """A layer's report, and the layer itself, if it can be made as small as that."""
    network = group_network(members, name)
    shape, names = (network.outputs, network.inputs), tuple(name for unit in members for name in unit.names)
    held = np.arange(len(rows)) % HELD_OUT == HELD_OUT - 1 if len(rows) >= _FEW else np.zeros(len(rows), dtype=bool)
    try:
        small = _small(network, bits, rows[~held], config)
    except InputError as error:
        raise InputError(f"Layer {name}: {error}") from error
    except ModelError as error:
        return LayerReport(name, names, shape, str(error)), None
    members_of = {name: part for unit, part in zip(members, columns(members), strict=True) for name in unit.names}
    report = LayerReport(name, names, shape, image_bytes=size_report(small, config).image_bytes, kinds=_kinds(small),
                         error=_error(network, small, rows[held] if held.any() else rows))
    return report, Group(name, small, members_of)


def _small(network: FloatNetwork, bits: float | str, rows: np.ndarray, config: EngineConfig) -> Network:
    if isinstance(bits, str):
        return compress(network, _ANY_SIZE, rows, config, per_layer={network.layers[0].name: bits})
    return compress(network, bits, rows, config)


def _kinds(network: Network) -> dict[str, int]:
    kinds: dict[str, int] = {}
    for segments in network.layers[0].classes:
        kinds[segments.kind.value] = kinds.get(segments.kind.value, 0) + segments.features
    return kinds


def _error(network: FloatNetwork, small: Network, rows: np.ndarray) -> float:
    wanted = network.predict(rows)
    power = np.square(wanted, dtype=np.float64).mean()
    return float(np.sqrt(np.square(small.predict(rows) - wanted, dtype=np.float64).mean() / power)) if power else 0.0

"""permfc.torch.offload: the fully connected layers of any torch module move to the engine."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torch import nn

from ..compression.targets import check_bits
from ..config import EngineConfig
from ..device.opening import opener
from ..errors import InputError, ModelError
from ..importers.torch_check import at_inference
from ..importers.torch_wrappers import unwrapped
from ..progress import Progress
from .compressing import compressed, left, shared_bits, why_not
from .dense import Unit, chosen, units
from .engine import Engine
from .exchange import exchanged, golden_forwards
from .grouping import groups
from .model import Offloaded
from .modules import Group
from .recording import Record, batches, call, record, rows_now
from .report import LayerReport, Layers
from .sensitivity import sensitivities


def offload(model: nn.Module, calibration: Iterable[object], bits: float | str = 2.5, device: str = "golden", layers: Sequence[str] | None = None,
            skip: Sequence[str] = (), engine: EngineConfig | None = None, progress: Progress | None = None) -> Offloaded:
    """Compress the fully connected layers of a torch module, without retraining, and run them on the engine; the rest stays in torch.

    Parameters
    ----------
    model : nn.Module
        It is not changed; what is returned is a copy that shares nothing with it.
    calibration : iterable of batches
        Typical inputs: some hundred to two thousand rows for each layer. A batch is a tensor, a tuple of the arguments of ``forward``, or
        a dict of them by name.
    bits : float or "dense8"
        Most bits a weight of all these layers together, everything in their images included; layers whose errors change the model's results
        more get more of them. Or int8 weights everywhere.
    device : str
        Where the layers run: whatever ``permfc.open`` takes.
    layers, skip : names of Linear modules, or patterns such as ``encoder.*.query``, optional
        The only ones to exchange, and those not to exchange.
    engine : EngineConfig, optional
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
    ConfigError
        If there is no such kind of device, told before anything is compressed.
    """
    model = unwrapped(model)
    check_bits(bits)
    opener(device)  # a name that is wrong costs no compression
    found = units(model)
    unwanted, given = chosen(found, layers, skip), batches(calibration)
    wanted = [unit for unit in found if unit.name not in unwanted]
    report = progress or _silent
    report("record layers", 0, 1)
    records = record(model, wanted, given)
    report("record layers", 1, 1)
    reasons = unwanted | {unit.name: why_not(unit, seen) for unit, seen in zip(wanted, records, strict=True)}
    taken = groups([(unit, seen) for unit, seen in zip(wanted, records, strict=True) if not reasons[unit.name]])
    rates = _rates(model, taken, given, bits, engine or EngineConfig(), report)
    reports, made = _compressed_in_order(model, taken, given, rates, engine or EngineConfig(), report)
    reports += [left(unit, reasons[unit.name]) for unit in found if reasons[unit.name]]
    copied = exchanged(model, _checked(model, made, reports))
    _try(copied, made, given[0])
    return opened(copied, made, _summary(model, found, reports), device, progress)


def _silent(what: str, done: int, total: int) -> None:
    """Progress that nobody watches."""


def _rates(model: nn.Module, taken: Sequence[Sequence[tuple[Unit, Record]]], given: Sequence[object], bits: float | str,
           engine: EngineConfig, report: Progress) -> list[float | str]:
    """Bits a weight for each layer of the engine: by how much its errors change the model's results, or the same for all if nobody can tell."""
    if isinstance(bits, str) or len(taken) < 2:
        return [bits] * len(taken)
    members = [unit for group in taken for unit, _ in group]
    report("share bits among layers", 0, 1)
    found = sensitivities(model, members, given)
    rates: list[float | str] = [bits] * len(taken)
    if found is not None:
        rates = list(shared_bits(taken, {unit.name: value for unit, value in zip(members, found, strict=True)}, bits, engine))
    report("share bits among layers", 1, 1)
    return rates


def _compressed_in_order(model: nn.Module, taken: Sequence[Sequence[tuple[Unit, Record]]], given: Sequence[object], rates: Sequence[float | str],
                         engine: EngineConfig, report: Progress) -> tuple[list[LayerReport], list[Group]]:
    """Layer after layer, each for what the ones before give."""
    reports, made = [], []
    golden: dict[nn.Module, Callable] = {}
    for number, (members, rate) in enumerate(zip(taken, rates, strict=True)):
        report("compress layers", number, len(taken))
        now = rows_now(model, *members[0], given, golden) if golden else None
        told, group = compressed(members, now, rate, engine)
        reports.append(told)
        if group:
            made.append(group)
            golden |= golden_forwards(model, group)
    report("compress layers", len(taken), len(taken))
    return reports, made


def _checked(model: nn.Module, made: list[Group], reports: Sequence[LayerReport]) -> list[Group]:
    if not made:
        reasons = "; ".join(f"{report.name}, {report.reason}" for report in reports)
        raise ModelError(f"No layer of {type(model).__name__} can be offloaded: {reasons}")
    return made


def _summary(model: nn.Module, found: Sequence[Unit], reports: Sequence[LayerReport]) -> Layers:
    order = {unit.names[0]: number for number, unit in enumerate(found)}
    inorder = sorted(reports, key=lambda report: order[report.modules[0]])
    return Layers(tuple(inorder), sum(value.numel() for value in model.parameters()))


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

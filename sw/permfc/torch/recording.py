"""Calibration: what reaches each fully connected layer of a module, and which layers get the very same tensor."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError
from ..importers.torch_check import at_inference
from .dense import Unit, expected
from .rows import SpacedRows

MOST_ROWS = 8192   # that a layer is calibrated with
HELD_OUT = 9       # every ninth row only measures the error
_CHECKED = 64      # rows of a call whose results are compared with those of a fully connected layer
_TOLERANCE = {torch.float16: 5e-3, torch.bfloat16: 4e-2}  # of rounding, over the largest result; others 1e-4


class Record:
    """What was seen of a unit.

    Members
    -------
    calls : list of int
        The number of the tensor that each call got; two units with equal lists always get the same tensors.
    rows : SpacedRows
    reason : str
        Why it cannot be exchanged; empty if it can.
    """

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.rows = SpacedRows(MOST_ROWS * HELD_OUT // (HELD_OUT - 1))
        self.reason = ""


class _Tensors:
    """Numbers tensors: the same number for the same tensor as long as nobody writes into it."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref, int, int]] = {}
        self._count = 0

    def number(self, tensor: Tensor) -> int:
        version = 0 if tensor.is_inference() else tensor._version  # under inference_mode torch does not count
        reference, known, number = self._known.get(id(tensor), (lambda: None, 0, 0))
        if reference() is not tensor or version != known:
            self._count += 1
            number = self._count
            self._known[id(tensor)] = (weakref.ref(tensor), version, number)
        return number


def record(model: nn.Module, units: Sequence[Unit], calibration: Iterable[object]) -> tuple[list[Record], object]:
    """Run a model on typical inputs as at inference.

    Parameters
    ----------
    model : nn.Module
        It is left as it was.
    units : the layers to watch
    calibration : iterable of batches
        A batch is a tensor, a tuple of ``forward``'s arguments, or a dict of them by name.

    Returns
    -------
    records : list of Record, one a unit
    first : object
        The first batch.

    Raises
    ------
    InputError
        If there is no batch, or the model does not take one.
    """
    if isinstance(calibration, (Tensor, Mapping, np.ndarray)) or not isinstance(calibration, Iterable):
        raise InputError(f"calibration must be several batches, not one {type(calibration).__name__}: write [batch], or x.split(64)")
    records, tensors = [Record() for _ in units], _Tensors()
    watched = {module: _watch(module, record, tensors) for unit, record in zip(units, records, strict=True) for module in unit.modules}
    first = None
    with at_inference(model), _forwards(watched):
        for number, batch in enumerate(calibration):
            first = batch if number == 0 else first
            call(model, batch, f"calibration batch {number}")
    if first is None:
        raise InputError("calibration holds no batch: it must be a list of batches, or something to iterate over once")
    return records, first


def call(model: Callable[..., object], batch: object, name: str) -> object:
    """The model's results for a batch; whatever else than an error of permfc goes wrong is an InputError that calls it ``name``."""
    arguments, named = ((), dict(batch)) if isinstance(batch, Mapping) else (batch if isinstance(batch, (tuple, list)) else (batch,), {})
    try:
        return model(*arguments, **named)
    except InputError:
        raise
    except Exception as error:  # whatever the model's own code raises
        raise InputError(f"{type(model).__name__} does not take {name}, which is a {type(batch).__name__}: {error}; a batch is a tensor, a "
                         "tuple of the arguments of forward (without labels), or a dict of them") from error


@contextmanager
def _forwards(watched: Mapping[nn.Module, Callable]) -> Iterator[None]:
    """Modules with other ``forward`` functions for a while: these see what hooks in front have made of the inputs."""
    own = {module: module.__dict__.get("forward") for module in watched}
    for module, forward in watched.items():
        module.__dict__["forward"] = forward
    try:
        yield
    finally:
        for module, forward in own.items():
            if forward is None:
                del module.__dict__["forward"]
            else:
                module.__dict__["forward"] = forward


def _watch(module: nn.Module, record: Record, tensors: _Tensors) -> Callable:
    """A ``forward`` that records."""
    forward = module.forward

    def watching(*arguments: object, **named: object) -> object:
        given = [*arguments, *named.values()]
        number = tensors.number(given[0]) if given and isinstance(given[0], Tensor) else 0  # before anything is written into it
        results = forward(*arguments, **named)
        record.reason = record.reason or _objection(module, given, results)
        if not record.reason:
            rows = given[0].detach().reshape(-1, given[0].shape[-1])
            record.calls.append(number)
            record.rows.add(rows.to("cpu", torch.float32).numpy())
        return results

    return watching


def _objection(module: nn.Module, given: list[object], results: object) -> str:
    """Why a call is not that of a fully connected layer; empty if it is."""
    if len(given) != 1 or not isinstance(given[0], Tensor) or not isinstance(results, Tensor):
        return "it takes or gives something else than one tensor"
    if given[0].layout is not torch.strided or not given[0].is_floating_point() or not module.weight.is_floating_point():
        return f"its inputs are {given[0].dtype}, its weights {module.weight.dtype}, not dense floats"
    if results.shape[:-1] != given[0].shape[:-1]:
        return "it changes the shape of its inputs"
    rows, found = given[0].reshape(-1, given[0].shape[-1])[:_CHECKED], results.reshape(-1, results.shape[-1])[:_CHECKED]
    wanted = expected(module, rows)
    if found.shape != wanted.shape or not _alike(found, wanted):
        return f"{type(module).__name__} computes something else than its weights times its inputs plus its bias"
    return ""


def _alike(found: Tensor, wanted: Tensor) -> bool:
    """Whether results are equal but for rounding; NaN and infinity are for the compressor to refuse."""
    finite = torch.isfinite(wanted)
    if not bool(finite.any()):
        return True
    allowed = _TOLERANCE.get(found.dtype, 1e-4) * wanted[finite].abs().max()
    return bool(((found.float() - wanted)[finite].abs() <= allowed).all())

"""Calibration: what reaches each fully connected layer of a module, and which layers get the very same tensor."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

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
    ends : list of int
        How many calls there had been after each batch.
    rows : SpacedRows
    reason : str
        Why it cannot be exchanged; empty if it can.
    """

    def __init__(self) -> None:
        self.calls: list[int] = []
        self.ends: list[int] = []
        self.rows = SpacedRows(MOST_ROWS * HELD_OUT // (HELD_OUT - 1))
        self.reason = ""


class _Enough(BaseException):
    """All calls of a batch that matter have been seen; nothing that a model's own code catches."""


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


def batches(calibration: Iterable[object]) -> list[object]:
    """The batches, or an InputError that says what they must be."""
    if isinstance(calibration, (Tensor, Mapping, np.ndarray)) or not isinstance(calibration, Iterable):
        raise InputError(f"calibration must be several batches, not one {type(calibration).__name__}: write [batch], or x.split(64)")
    kept = list(calibration)
    if not kept:
        raise InputError("calibration holds no batch: it must be a list of batches, or something to iterate over once")
    return kept


def record(model: nn.Module, units: Sequence[Unit], calibration: Sequence[object]) -> list[Record]:
    """Run a model on typical inputs as at inference.

    Parameters
    ----------
    model : nn.Module
        It is left as it was.
    units : the layers to watch
    calibration : list of batches
        A batch is a tensor, a tuple of ``forward``'s arguments, or a dict of them by name.

    Returns
    -------
    list of Record, one a unit

    Raises
    ------
    InputError
        If the model does not take a batch.
    """
    records, tensors = [Record() for _ in units], _Tensors()
    watched = {module: _watch(module, record, tensors) for unit, record in zip(units, records, strict=True) for module in unit.modules}
    with at_inference(model), instead(watched):
        for number, batch in enumerate(calibration):
            run_batch(model, batch, number)
            for each in records:
                each.ends.append(len(each.calls))
    return records


def rows_now(model: nn.Module, unit: Unit, seen: Record, calibration: Sequence[object], exchanged: Mapping[nn.Module, Callable]) -> np.ndarray | None:
    """What reaches a layer when other modules compute something else.

    Parameters
    ----------
    model, unit, seen, calibration
        As for ``record``, and what it found.
    exchanged : mapping of modules to functions
        What they compute instead.

    Returns
    -------
    float32 [n, inputs] or None
        The same rows as in ``seen``; None if the model does not run with these, or calls the layer otherwise or with other rows.
    """
    found, tensors = Record(), _Tensors()
    watched = {module: _watch(module, found, tensors, seen.ends) for module in unit.modules}
    try:
        with untouched(model), at_inference(model), instead({**exchanged, **watched}):
            for number, batch in enumerate(calibration):
                if seen.ends[number] > len(found.calls):
                    with suppress(_Enough):
                        run_batch(model, batch, number)
                found.ends.append(len(found.calls))
    except InputError:  # the model's own code looks at what was exchanged
        return None
    alike = found.ends == seen.ends and found.rows.seen == seen.rows.seen
    return found.rows.rows() if alike and _same_rows(found.rows.rows(), seen.rows.rows()) else None


def _same_rows(found: np.ndarray, seen: np.ndarray) -> bool:
    """Whether rows are nearer to those that they should be than these are to their mean: others, of another choice, are not."""
    spread = np.square(seen - seen.mean(axis=0), dtype=np.float64).sum()
    return bool(np.square(found - seen, dtype=np.float64).sum() <= spread)


def run_batch(model: nn.Module, batch: object, number: int) -> object:
    """The model's results for a copy of a calibration batch, with the same random numbers whenever it is run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(number)
        return call(model, _copied(batch), f"calibration batch {number}")


def _copied(batch: object) -> object:
    """A batch with tensors of its own: a model may write into its inputs."""
    if isinstance(batch, Tensor):
        return batch.clone()
    if isinstance(batch, Mapping):
        return {name: _copied(value) for name, value in batch.items()}
    return type(batch)(_copied(value) for value in batch) if type(batch) in (list, tuple) else batch


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
def untouched(model: nn.Module) -> Iterator[None]:
    """Whatever modules assign to their attributes and buffers meanwhile is forgotten."""
    kept = [(module, dict(module.__dict__), dict(module._buffers)) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes, buffers in kept:
            module.__dict__.clear()
            module.__dict__.update(attributes)
            module._buffers.clear()
            module._buffers.update(buffers)


@contextmanager
def instead(watched: Mapping[nn.Module, Callable]) -> Iterator[None]:
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


def _watch(module: nn.Module, record: Record, tensors: _Tensors, ends: Sequence[int] = ()) -> Callable:
    """A ``forward`` that records, and leaves the model when it has seen as many calls in a batch as ``ends`` says."""
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
            if ends and len(record.calls) == ends[len(record.ends)]:
                raise _Enough
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

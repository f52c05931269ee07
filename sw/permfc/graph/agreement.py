"""The check of every partition: cut and joined again, in float, the network gives what the original gives."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError, ModelError
from .onnx_view import operator
from .partition import Partition
from .runtime import open_model, run_model, with_outputs
from .values import Feeds, relative_error, share_equal

if TYPE_CHECKING:
    from onnxruntime import InferenceSession

_EXACT, _HALF, _ROUNDED = 1e-3, 2e-2, 0.15  # relative errors: float32; float16; where a step of quantisation was left out
_LEAST_EQUAL = 0.9                           # share of equal labels


def check_agreement(part: Partition, original: InferenceSession, feeds: Feeds) -> None:
    """Refuse a partition that does not compute what the original does.

    Raises
    ------
    ModelError
        If results differ on ``feeds``, naming the first chain where they do.
    InputError
        If the original does not take ``feeds``.
    """
    if any(part.view.is_random(node) for node in part.view.nodes):
        return  # no two runs are the same
    names = [value.name for value in original.get_outputs()]
    wanted = run_model(original, names, feeds, part.view.source)
    tensors = part.plan().run(feeds, _in_float(part))
    found = [tensors[name] for name in names]
    allowed = tolerance(part, original)
    error = relative_error(found, wanted)
    if not error <= allowed or share_equal(found, wanted) < _LEAST_EQUAL:
        raise ModelError(f"{part.view.source} cut into chains gives results that differ by {error:.2g} of their size from the original's, "
                         f"first in {_culprit(part, feeds, allowed, tensors)}: leave it on the host with `skip`, and report it")


def _in_float(part: Partition) -> Callable[[str, np.ndarray], np.ndarray]:
    networks = {chain.name: chain.network for chain in part.chains}

    def compute(name: str, x: np.ndarray) -> np.ndarray:
        try:
            return networks[name].predict(x)
        except InputError as error:
            raise InputError(f"Chain {name!r} of {part.view.source}: {error}") from error

    return compute


def tolerance(part: Partition, original: InferenceSession) -> float:
    """The relative error that rounding explains."""
    if any("Quant" in operator(node) or "Integer" in operator(node) for node in part.view.nodes):
        return _ROUNDED
    kinds = {result.kind for chain in part.chains for result in chain.joint.results} | {value.type for value in original.get_outputs()}
    return _HALF if "tensor(float16)" in kinds else _EXACT


def _culprit(part: Partition, feeds: Feeds, allowed: float, tensors: Feeds) -> str:
    results = {result.tensor: chain.name for chain in part.chains for result in chain.joint.results}
    wanted = run_model(open_model(with_outputs(part.view.model, results), part.view.source), list(results), feeds, part.view.source)
    for (tensor, chain), value in zip(results.items(), wanted, strict=True):
        if not relative_error([np.asarray(tensors[tensor])], [value]) <= allowed:
            return f"chain {chain!r}"
    return "the host's part"

"""From the operators of a graph to fully connected layers: which of them the engine takes, and what is folded into what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from ..errors import ModelError
from ..functions import IDENTITY, RELU, Function, clip
from .float_network import FloatLayer, FloatNetwork


class Role(Enum):
    """What an operator means to a chain of fully connected layers."""

    LAYER = "a fully connected layer"
    AFFINE = "a factor and an offset for every feature"
    FUNCTION = "a function of each number"
    PASS = "nothing, for a batch of vectors at inference"
    FINAL = "a monotonic function of the results, which the host may apply"


@dataclass(frozen=True)
class Step:
    """One operator that a chain understands.

    Members
    -------
    role : Role
    label : str
        What messages call it.
    apply : function (Chain)
        Adds it to a chain.
    size : int
        Features of an AFFINE, inputs of a LAYER.
    names : tuple of str
        By which a user may choose a LAYER; the first is the layer's name.
    cut : object
        What its input is called in the model.
    function : Function or None
        Of a FUNCTION.
    node : object
        The model's own operator, if its reader asks for it again.
    """

    role: Role
    label: str
    apply: Callable[[Chain], None] = field(default=lambda chain: None, compare=False)
    size: int = 0
    names: tuple[str, ...] = ()
    cut: object = None
    function: Function | None = None
    node: object = None


@dataclass(frozen=True)
class Blocker:
    """An operator that no chain has, where a walk from the results towards the inputs ends."""

    label: str


@dataclass(frozen=True)
class Source:
    """The model that is read.

    Members
    -------
    name : str
        The file or module.
    layers : dict of str to [outputs, inputs]
        All fully connected layers it has, by name.
    convolutional : bool
        Whether it has convolutions, which the host is expected to keep.
    """

    name: str
    layers: dict[str, list[int]]
    convolutional: bool

    @property
    def inventory(self) -> str:
        """Value of a list of the layers for messages."""
        return ", ".join(f"{name} {shape}" for name, shape in self.layers.items()) or "none"


@dataclass(frozen=True)
class Tail:
    """The fully connected part of a model.

    Members
    -------
    network : FloatNetwork
    cut : object
        What its input is called in the model; None if it is the model's own input.
    steps : tuple of Step
        Of which the network was made.
    """

    network: FloatNetwork
    cut: object
    steps: tuple[Step, ...] = ()


@dataclass
class _Pending:
    """A layer that later steps may still change."""

    name: str
    weight: np.ndarray
    bias: np.ndarray
    function: Function = IDENTITY


class Chain:
    """Collects layers in the order of their execution."""

    def __init__(self) -> None:
        self._layers: list[_Pending] = []
        self._waiting: tuple[str, np.ndarray, np.ndarray] | None = None  # an affine step that only the next layer can absorb

    def layer(self, name: str, weight: np.ndarray, bias: np.ndarray | None) -> None:
        """Append y = W x + b."""
        bias = np.zeros(len(weight), dtype=np.float32) if bias is None else bias
        if self._waiting is not None:
            label, *factors = self._waiting
            scale, shift = (self._per_feature(values, weight.shape[1], f"{label} has {{}} features, but layer {name} behind it takes {{}}")
                            for values in factors)
            weight, bias = weight * scale, bias + weight @ shift
            self._waiting = None
        self._layers.append(_Pending(name, weight, bias))

    def affine(self, label: str, scale: np.ndarray, shift: np.ndarray) -> None:
        """Fold scale * y + shift into the layer before it or, behind a function, into the next one."""
        if not self._layers or not self._layers[-1].function.is_identity:
            if self._waiting is not None:
                scale, shift = self._waiting[1] * scale, self._waiting[2] * scale + shift
            self._waiting = (label, scale, shift)
            return
        last = self._layers[-1]
        scale, shift = (self._per_feature(values, len(last.weight), f"{label} has {{}} features, but layer {last.name} before it has {{}} outputs")
                        for values in (scale, shift))
        last.weight, last.bias = last.weight * scale[:, None], last.bias * scale + shift

    def function(self, label: str, function: Function) -> None:
        """Give the last layer a function, behind the one that it has."""
        if self._waiting is not None:
            waiting, scale, shift = self._waiting
            if scale.size > 1 or shift.size > 1:
                raise ModelError(f"{label} follows {waiting} without a fully connected layer between, and cannot be folded")
            function, self._waiting = _behind_factor(function, float(scale.item()), float(shift.item())), None
        self._layers[-1].function = joined(self._layers[-1].function, function)

    def network(self, notes: tuple[str, ...]) -> FloatNetwork:
        """The layers collected so far."""
        if self._waiting is not None:
            raise ModelError(f"{self._waiting[0]} follows the last {self._layers[-1].function.name} and cannot be folded into a layer: "
                             "leave it to the host")
        layers = [FloatLayer(layer.weight, layer.bias, layer.function, layer.name) for layer in self._layers]
        return FloatNetwork(tuple(layers), notes)

    @staticmethod
    def _per_feature(values: np.ndarray, features: int, complaint: str) -> np.ndarray:
        """One float32 value for each feature; a single value is that of all."""
        if values.size not in (1, features):
            raise ModelError(complaint.format(values.size, features))
        return np.broadcast_to(values.astype(np.float32), features)


def joined(first: Function, second: Function) -> Function:
    """``second(first(x))``; two clamps are one."""
    if first.clamp is None or second.clamp is None:
        return second if first.is_identity else first if second.is_identity else _named(first, second)
    low, high = (float(np.clip(bound, *second.clamp)) for bound in first.clamp)
    return {(-np.inf, np.inf): IDENTITY, (0.0, np.inf): RELU}.get((low, high)) or clip(low, high)


def _named(first: Function, second: Function) -> Function:
    return Function(f"{second.name} of {first.name}", lambda x: second(first(x)), homogeneous=first.homogeneous and second.homogeneous)


def _behind_factor(function: Function, scale: float, shift: float) -> Function:
    return Function(f"{function.name} of {scale:g} x + {shift:g}", lambda x: function(np.asarray(scale * x + shift, dtype=x.dtype)))


def read_tail(walk: Iterable[Step | Blocker], source: Source, chosen: Sequence[str] | None) -> Tail:
    """The last fully connected layers of a model.

    Parameters
    ----------
    walk : Steps from the results towards the inputs; a Blocker ends it.
    source : Source
    chosen : names of layers, optional
        Exactly these, in order of execution, whatever stands before them; ``walk`` begins behind the last one.

    Raises
    ------
    ModelError
        If there is no fully connected layer, the chosen ones do not follow each other, or some would be left out unasked.
    """
    found = list(walk)
    blocker = found.pop() if found and isinstance(found[-1], Blocker) else None
    steps, behind = _split_results(found[::-1])
    if not any(step.role is Role.LAYER for step in steps):
        raise _no_layer(source, blocker)
    first = _first_layer(steps, source, blocker) if chosen is None else _first_chosen(steps, source, chosen, blocker)
    notes = [f"{step.label} is left to the host: results are those before it" for step in behind]
    foldable = (step.role is Role.PASS or (step.role is Role.AFFINE and step.size in (1, steps[first].size)) for step in steps[:first])
    whole = blocker is None and all(foldable)
    if not whole:
        steps = steps[first:]
        notes.append(f"What stands before layer {steps[0].names[0]} of {source.name} is left to the host: inputs and calibration data are the "
                     f"{steps[0].size} features that the layer takes, which permfc features or FeatureNetwork computes")
    chain = Chain()
    for step in steps:
        step.apply(chain)
    return Tail(chain.network(tuple(notes)), None if whole else steps[0].cut, tuple(steps))


def _split_results(steps: list[Step]) -> tuple[list[Step], list[Step]]:
    """What a chain computes, and what the host makes of its results: functions that need a table, which only lie between layers."""
    last = max((index for index, step in enumerate(steps) if step.role is Role.LAYER), default=-1)
    for index, step in enumerate(steps[last + 1:], last + 1):
        if step.role is Role.FINAL or (step.function is not None and step.function.needs_table):
            return steps[:index], [step for step in steps[index:] if step.role is not Role.PASS]
    return steps, []


def _first_layer(steps: list[Step], source: Source, blocker: Blocker | None) -> int:
    """The first layer, unless others would be lost that no convolution explains."""
    taken = [step.names[0] for step in steps if step.role is Role.LAYER]
    lost = [name for name in source.layers if name not in taken]
    if lost and blocker and not source.convolutional:
        raise ModelError(f"{blocker.label} of {source.name} cannot be part of a fully connected network, but layer {lost[-1]} stands before or "
                         f"beside it: name the layers to take with `layers`, {','.join(taken)} for those behind it; there are {source.inventory}")
    return next(index for index, step in enumerate(steps) if step.role is Role.LAYER)


def _first_chosen(steps: list[Step], source: Source, chosen: Sequence[str], blocker: Blocker | None) -> int:
    """The first chosen layer, if the chosen ones are all that follow it."""
    layers = [(index, step) for index, step in enumerate(steps) if step.role is Role.LAYER]
    start = next((number for number, (_, step) in enumerate(layers) if chosen[0] in step.names), None)
    if start is None:
        reason = f"{blocker.label} stands between them" if blocker else "it does not come first"
        raise ModelError(f"Layers {','.join(chosen)} of {source.name} are no chain, since {reason}: choose others of {source.inventory}")
    following = layers[start:]
    if len(following) != len(chosen) or not all(name in step.names for name, (_, step) in zip(chosen, following, strict=True)):
        between = ",".join(step.names[0] for _, step in following)
        raise ModelError(f"Layers {','.join(chosen)} of {source.name} are not consecutive: from the first to the last there are {between}")
    return following[0][0]


def _no_layer(source: Source, blocker: Blocker | None) -> ModelError:
    if not source.layers:
        return ModelError(f"{source.name} has no fully connected layer" + (f" that an engine can have; {blocker.label} is none" if blocker else ""))
    reason = f"{blocker.label} stands between its last fully connected layer and its output" if blocker else "its output does not depend on any layer"
    return ModelError(f"{source.name} has no fully connected tail, since {reason}: name the layers to take with `layers`; there are "
                      f"{source.inventory}")

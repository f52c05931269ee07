"""What stands in a model in place of its fully connected modules."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from ..errors import InputError, ModelError
from ..network import Network
from .engine import Engine


@dataclass(eq=False)
class Group:
    """A layer of the engine that one or more modules share.

    Members
    -------
    name : str
        Of the layer, in reports and on the device.
    network : Network
    members : dict of str to slice
        The names of the modules, and which outputs are theirs.
    engine : Engine
        Where it runs; the golden model, without counters, as long as none is set.
    """

    name: str
    network: Network
    members: dict[str, slice]
    engine: Engine | None = None
    _inputs: np.ndarray | None = field(default=None, repr=False)
    _results: np.ndarray | None = field(default=None, repr=False)
    _waiting: set[tuple[int, int]] = field(default_factory=set, repr=False)

    def compute(self, rows: np.ndarray, member: slice) -> np.ndarray:
        """One member's results, float32 [n, outputs], for float32 [n, inputs].

        The engine runs once for all members: the first that is called with these inputs starts it, the others take their part.
        """
        inputs = self._quantised(rows)
        key = (member.start, member.stop)
        if self._inputs is None or key not in self._waiting or not np.array_equal(inputs, self._inputs):
            results = self.network.compute(inputs) if self.engine is None else self.engine.run(self.name, inputs)
            self._results = results.astype(np.float32) * self.network.output_scale
            self._inputs, self._waiting = inputs, {(part.start, part.stop) for part in self.members.values()}
        results = self._results[:, member]
        self._waiting.discard(key)
        if not self._waiting:
            self._inputs = self._results = None
        return results

    def _quantised(self, rows: np.ndarray) -> np.ndarray:
        try:
            return self.network.quantise(rows)
        except InputError as error:
            raise InputError(f"Layer {self.name}: {error}") from error

    def __deepcopy__(self, memo: dict) -> Group:
        """Copies of a model share the engine."""
        return self


@dataclass(frozen=True)
class ExchangedWeight:
    """Where a module's weight was: no tensor, so that whoever computes with it gets an error.

    Members
    -------
    shape : (outputs, inputs)
    dtype : torch.dtype
    """

    shape: tuple[int, int]
    dtype: torch.dtype


class EngineLinear(nn.Module):
    """A fully connected layer that runs on the engine: what an ``nn.Linear`` takes and gives, on the same device and of the same type.

    Members
    -------
    in_features, out_features : int
    weight : ExchangedWeight
        Shape and type of what was exchanged, for code that asks.
    """

    def __init__(self, group: Group, name: str, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self._group, self._member = group, group.members[name]
        self.in_features, self.out_features = group.network.inputs, self._member.stop - self._member.start
        self.weight = ExchangedWeight((self.out_features, self.in_features), dtype)
        self.training = False

    def forward(self, input: Tensor) -> Tensor:
        """Results [..., outputs] for [..., inputs].

        Raises
        ------
        ModelError
            If a gradient is asked for, or the input has no values.
        InputError
            If the input is of integers, has another width, or a value is not finite.
        """
        if input.requires_grad and torch.is_grad_enabled():
            raise ModelError(f"Layer {self._group.name} runs on the engine, through which no gradient passes: call the model under torch.no_grad()")
        if not input.is_floating_point():
            raise InputError(f"Layer {self._group.name} takes real numbers, not {input.dtype}: convert the input, with .float() for instance")
        if input.shape[-1] != self.in_features:
            raise InputError(f"Layer {self._group.name} takes {self.in_features} features, not a tensor of shape {list(input.shape)}")
        shape = (*input.shape[:-1], self.out_features)
        if not input.numel():
            return input.new_zeros(shape)
        rows = input.detach().reshape(-1, self.in_features).to("cpu", torch.float32).numpy()
        results = np.ascontiguousarray(self._group.compute(rows, self._member))
        return torch.from_numpy(results).to(input.device, input.dtype).reshape(shape)

    def extra_repr(self) -> str:
        """What repr(model) shows of it."""
        return f"{self.in_features}, {self.out_features}, {self._group.name}"

"""The fully connected layers of torch modules: their graph comes from torch.fx, which runs the module's code symbolically."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from .chain import Blocker, Role, Source, Step, Tail, read_tail

if TYPE_CHECKING:
    from torch import fx, nn

_FINAL = ("softmax", "log_softmax", "sigmoid", "Softmax", "LogSoftmax", "Sigmoid")
_PASS = ("dropout", "contiguous", "Dropout", "Identity", "squeeze")


def is_torch_module(model: object) -> bool:
    """Whether this is a torch module; torch itself need not be installed to ask."""
    return callable(getattr(model, "state_dict", None)) and callable(getattr(model, "named_modules", None))


def to_numpy(value: object) -> np.ndarray:
    """A tensor (on any device, of any float type) or array as a NumPy array."""
    if callable(getattr(value, "detach", None)):
        return value.detach().cpu().float().numpy()
    return np.asarray(value)


def state_dict_arrays(state: Mapping[str, object]) -> dict[str, np.ndarray]:
    """A state dict with NumPy arrays in place of tensors; ModelError for what is no array of numbers (sparse, quantised, ragged)."""
    arrays = {}
    for name, value in state.items():
        try:
            arrays[str(name)] = to_numpy(value)
        except (TypeError, ValueError, RuntimeError) as error:
            raise ModelError(f"Value {name!r} is no plain array of numbers: {str(error).splitlines()[0]}") from error
    return arrays


def module_tail(module: nn.Module, layers: Sequence[str] | None = None) -> Tail:
    """The fully connected layers at the end of a module, or those named; ``cut`` is the name of the submodule they start with.

    Raises
    ------
    ModelError
        If the module cannot be traced, or has no such layers.
    """
    graph = _Graph(module)
    return read_tail(graph.walk(layers[-1] if layers else None), graph.source, layers)


class _Graph:
    """The operations of a module by torch.fx, whose leaves are the modules of torch.nn."""

    def __init__(self, module: nn.Module) -> None:
        from torch import fx, nn

        self.name = type(module).__name__
        self.modules = {"": module, **dict(module.named_modules())}
        container = nn.Sequential(module) if isinstance(module, nn.Linear) else module  # a leaf alone has no graph
        if container is not module:
            self.modules = {"0": module}
        try:
            self.graph = fx.Tracer().trace(container)
        except Exception as error:  # whatever the module's own code makes of symbolic values
            raise ModelError(f"Module {self.name} cannot be traced ({error}): export it to ONNX, or pass its state_dict() "
                             "and name the layers to take") from error
        linears = {name: list(found.weight.shape) for name, found in self.modules.items() if isinstance(found, nn.Linear)}
        self.source = Source(f"Module {self.name}", linears, any(isinstance(found, nn.modules.conv._ConvNd) for found in self.modules.values()))

    def walk(self, last: str | None) -> Iterator[Step | Blocker]:
        """The operations from the result, or from behind layer ``last``, back towards the input."""
        node, passed_layer = self._end(last), False
        while node.op != "placeholder":
            step = self._step(node)
            if step is None or (step.role is Role.FINAL and passed_layer):
                yield Blocker(self._label(node))
                return
            passed_layer |= step.role is Role.LAYER
            yield step
            node = node.args[0]

    def _end(self, last: str | None) -> fx.Node:
        """The node with the results."""
        from torch import fx

        if last is None:
            result = next(node for node in self.graph.nodes if node.op == "output").args[0]
            if not isinstance(result, fx.Node):
                raise ModelError(f"Module {self.name} returns several results: name the layers to take; there are {self.source.inventory}")
            return result
        node = next((node for node in self.graph.nodes if node.op == "call_module" and node.target == last), None)
        if node is None or last not in self.source.layers:
            raise ModelError(f"Module {self.name} has no fully connected layer {last!r}; it has {self.source.inventory}")
        while True:
            users = list(node.users)
            step = self._step(users[0]) if len(users) == 1 and users[0].op != "output" else None
            if step is None or step.role not in (Role.AFFINE, Role.RELU, Role.PASS):
                return node
            node = users[0]

    def _step(self, node: fx.Node) -> Step | None:
        """What a node means to a chain; None if it cannot be part of one."""
        from torch import fx, nn

        label = self._label(node)
        if not node.args or not isinstance(node.args[0], fx.Node):
            return None
        called = self.modules.get(node.target) if node.op == "call_module" else None
        if isinstance(called, nn.Linear):
            weight, bias = to_numpy(called.weight), None if called.bias is None else to_numpy(called.bias)
            name = str(node.target)
            return Step(Role.LAYER, label, lambda chain: chain.layer(name, weight, bias), weight.shape[1], (name,), name)
        if isinstance(called, nn.BatchNorm1d) and called.running_mean is not None:
            scale, shift = _batch_norm(called)
            return Step(Role.AFFINE, label, lambda chain: chain.affine(label, scale, shift), scale.size)
        kind = self._kind(node)
        if kind in ("relu", "ReLU"):
            return Step(Role.RELU, label, lambda chain: chain.relu(label))
        if kind in _FINAL:
            return Step(Role.FINAL, label)
        return Step(Role.PASS, label) if kind in _PASS or self._flattens(node, kind, called) else None

    def _kind(self, node: fx.Node) -> str:
        """The name of the function or of the module's class."""
        if node.op == "call_module":
            return type(self.modules[node.target]).__name__
        return str(node.target if node.op == "call_method" else getattr(node.target, "__name__", node.target))

    def _label(self, node: fx.Node) -> str:
        return f"{self._kind(node)} {node.target if node.op == 'call_module' else node.name!r}"

    @staticmethod
    def _flattens(node: fx.Node, kind: str, called: nn.Module | None) -> bool:
        """Whether the node makes a vector of every sample."""
        if kind == "Flatten":
            return (called.start_dim, called.end_dim) == (1, -1)
        if kind == "flatten":
            start = node.args[1] if len(node.args) > 1 else node.kwargs.get("start_dim", 0)
            end = node.args[2] if len(node.args) > 2 else node.kwargs.get("end_dim", -1)
            return (start, end) == (1, -1)
        if kind in ("view", "reshape"):
            sizes = node.args[1] if len(node.args) == 2 and isinstance(node.args[1], (tuple, list)) else node.args[1:]
            return len(sizes) == 2
        return False


def _batch_norm(module: nn.BatchNorm1d) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset of every feature at inference."""
    scale = 1 / np.sqrt(to_numpy(module.running_var) + np.float32(module.eps))
    shift = -to_numpy(module.running_mean) * scale
    if not module.affine:
        return scale, shift
    gamma, beta = to_numpy(module.weight), to_numpy(module.bias)
    return gamma * scale, gamma * shift + beta

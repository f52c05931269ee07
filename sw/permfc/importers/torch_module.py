"""The fully connected layers of torch modules: their graph comes from torch.fx, which runs the module's code symbolically."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from ..functions import Function
from .chain import Blocker, Role, Source, Step, Tail, read_tail
from .torch_check import at_inference, check_same, refresh, suspects
from .torch_functions import module_function, node_function
from .torch_wrappers import unwrapped

if TYPE_CHECKING:
    from torch import fx, nn

_FINAL = ("softmax", "log_softmax", "Softmax", "LogSoftmax")
_PASS = ("dropout", "contiguous", "Dropout", "Identity", "squeeze")
# Factor and offset by the number behind an operator, and by the number in front of it.
_FACTORS = {"mul": lambda value: (value, 0.0), "add": lambda value: (1.0, value), "sub": lambda value: (1.0, -value),
            "truediv": lambda value: (_inverse(value), 0.0), "div": lambda value: (_inverse(value), 0.0)}
_FACTORS_IN_FRONT = {"mul": lambda value: (value, 0.0), "add": lambda value: (1.0, value), "sub": lambda value: (-1.0, value)}


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

    They are compared with the module on random inputs; a part that cannot be run alone is noted.

    Raises
    ------
    ModelError
        If the module cannot be traced, has no such layers, or computes something else than these.
    """
    module = unwrapped(module)
    with at_inference(module):
        graph = _Graph(module)
        tail = read_tail(graph.walk(layers[-1] if layers else None), graph.source, layers)
    return graph.checked(tail)


class _Graph:
    """The operations of a module by torch.fx, whose leaves are the modules of torch.nn."""

    def __init__(self, module: nn.Module) -> None:
        from torch import nn

        self.name = type(module).__name__
        self.modules = {"": module, **dict(module.named_modules())}
        self.container = nn.Sequential(module) if isinstance(module, nn.Linear) else module  # a leaf alone has no graph
        if self.container is not module:
            self.modules = {"0": module}
        if self.container._forward_hooks or self.container._forward_pre_hooks:
            raise ModelError(f"Module {self.name} has a forward hook of its own, which its layers would not have: remove it")
        try:
            self.graph = _tracer().trace(self.container)
        except Exception as error:  # whatever the module's own code makes of symbolic values
            raise ModelError(f"Module {self.name} cannot be traced ({error}): export it to ONNX, or pass its state_dict() "
                             "and name the layers to take") from error
        self.order = {node: number for number, node in enumerate(self.graph.nodes)}
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
            node = self._input(node)

    def checked(self, tail: Tail) -> Tail:
        """The same, if its layers compute what the module computes."""
        first, last = tail.steps[0].node, tail.steps[-1].node
        try:
            reason = check_same(self.container, self.graph, self._input(first), last, tail.network)
        except ModelError as error:
            between = [node for node in self.graph.nodes if self.order[first] <= self.order[node] and node.op == "call_module"]
            modules = {str(node.target): self.modules[node.target] for node in between}
            written = [self._label(node) for node in self.graph.nodes if self._writes(node)]
            raise ModelError(f"{self.source.name} cannot be read, since {error}: {suspects(modules, written)}") from error
        if not reason:
            return tail
        note = f"The layers of {self.source.name} were not compared with the module, which cannot be run on random inputs: {reason}"
        return replace(tail, network=replace(tail.network, notes=(*tail.network.notes, note)))

    def _end(self, last: str | None) -> fx.Node:
        """The node with the results."""
        from torch import fx

        if last is None:
            output = next(node for node in self.graph.nodes if node.op == "output")
            if not isinstance(output.args[0], fx.Node):
                raise ModelError(f"Module {self.name} returns several results: name the layers to take; there are {self.source.inventory}")
            return self._input(output)
        node = next((node for node in self.graph.nodes if node.op == "call_module" and node.target == last), None)
        if node is None or last not in self.source.layers:
            raise ModelError(f"Module {self.name} has no fully connected layer {last!r}; it has {self.source.inventory}")
        while True:
            users = [other for other in self.graph.nodes if any(self._latest(given, other) is node for given in other.all_input_nodes)]
            step = self._step(users[0]) if len(users) == 1 and users[0].op != "output" else None
            if step is None or step.role not in (Role.AFFINE, Role.FUNCTION, Role.PASS):
                return node
            node = users[0]

    def _input(self, node: fx.Node) -> fx.Node:
        """What a node of a chain works on."""
        return self._latest(_operand(node), node)

    def _latest(self, given: fx.Node, user: fx.Node) -> fx.Node:
        """The operation whose result ``user`` finds in ``given``: the last one that wrote into it."""
        while written := [node for node in given.users if node.args[0] is given and self.order[node] < self.order[user] and self._writes(node)]:
            given = max(written, key=self.order.__getitem__)
        return given

    def _writes(self, node: fx.Node) -> bool:
        """Whether a node's result takes the place of its first argument."""
        if node.op == "call_module":
            return bool(getattr(self.modules[node.target], "inplace", False))
        return node.op in ("call_method", "call_function") and (self._called(node).endswith("_") or node.kwargs.get("inplace") is True)

    def _step(self, node: fx.Node) -> Step | None:
        """What a node means to a chain; None if it cannot be part of one."""
        if _operand(node) is None:
            return None
        step = self._module_step(node) if node.op == "call_module" else self._call_step(node)
        return None if step is None else replace(step, node=node)

    def _module_step(self, node: fx.Node) -> Step | None:
        from torch import nn

        called, label = self.modules[node.target], self._label(node)
        if isinstance(called, nn.Linear):
            refresh(called)
            weight, bias = to_numpy(called.weight), None if called.bias is None else to_numpy(called.bias)
            name = str(node.target)
            return Step(Role.LAYER, label, lambda chain: chain.layer(name, weight, bias), weight.shape[1], (name,), name)
        if isinstance(called, nn.BatchNorm1d) and called.running_mean is not None:
            scale, shift = _batch_norm(called)
            return Step(Role.AFFINE, label, lambda chain: chain.affine(label, scale, shift), scale.size)
        function = module_function(called)
        if function is not None:
            return _function_step(label, function)
        kind = type(called).__name__
        if kind in _FINAL:
            return Step(Role.FINAL, label)
        flattens = kind == "Flatten" and (called.start_dim, called.end_dim) == (1, -1)
        return Step(Role.PASS, label) if kind in _PASS or flattens else None

    def _call_step(self, node: fx.Node) -> Step | None:
        kind, label = self._called(node).removesuffix("_"), self._label(node)
        factor = _factor(node, kind)
        if factor is not None:
            scale, shift = (np.array([value], dtype=np.float32) for value in factor)
            return Step(Role.AFFINE, label, lambda chain: chain.affine(label, scale, shift), 1)
        function = node_function(node, kind) if node.args[0] is _operand(node) else None
        if function is not None:
            return _function_step(label, function)
        if kind in _FINAL:
            return Step(Role.FINAL, label)
        return Step(Role.PASS, label) if kind in _PASS or _flattens(node, kind) else None

    @staticmethod
    def _called(node: fx.Node) -> str:
        """The name of the function or method."""
        return str(node.target if node.op == "call_method" else getattr(node.target, "__name__", node.target))

    def _label(self, node: fx.Node) -> str:
        if node.op == "call_module":
            return f"{type(self.modules[node.target]).__name__} {node.target!r}"
        return f"{self._called(node)} {node.name!r}"


def _tracer() -> fx.Tracer:
    """One that does not look into subclasses of Linear."""
    from torch import fx, nn

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            return isinstance(m, nn.Linear) or super().is_leaf_module(m, module_qualified_name)

    return Tracer()


def _operand(node: fx.Node) -> fx.Node | None:
    """The first variable that a node takes, which only a number may precede."""
    from torch import fx

    first = next((given for given in node.args if not isinstance(given, (int, float))), None)
    return first if isinstance(first, fx.Node) else None


def _inverse(value: float) -> float:
    return 1 / value if value else float("inf")  # as in torch: the layer refuses it by name


def _factor(node: fx.Node, kind: str) -> tuple[float, float] | None:
    """Factor and offset of a call with one variable and one number; None if it is something else."""
    numbers = [float(given) for given in node.args if isinstance(given, (int, float))]
    factors = _FACTORS if node.args[0] is _operand(node) else _FACTORS_IN_FRONT
    return factors[kind](numbers[0]) if kind in factors and len(node.args) == 2 and len(numbers) == 1 and not node.kwargs else None


def _function_step(label: str, function: Function) -> Step:
    return Step(Role.FUNCTION, label, lambda chain: chain.function(label, function), function=function)


def _flattens(node: fx.Node, kind: str) -> bool:
    """Whether a call makes a vector of every sample."""
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

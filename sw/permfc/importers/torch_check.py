"""Whether the layers that were read of a torch module compute what the module computes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from .float_network import FloatNetwork

if TYPE_CHECKING:
    from torch import Tensor, fx, nn

_SAMPLES = 16
_TOLERANCE = {"float16": 2e-2, "bfloat16": 1e-1}  # root mean square of differences, over that of results; others 1e-3
_WEIGHT_HOOKS = ("torch.nn.utils.weight_norm", "torch.nn.utils.spectral_norm", "torch.nn.utils.prune")


@contextmanager
def at_inference(module: nn.Module) -> Iterator[None]:
    """The module in eval mode, without gradients, and without torch's joined encoder layers, which pass their Linear modules by."""
    import torch

    training = {part: part.training for part in module.modules()}
    joined = torch.backends.mha.get_fastpath_enabled()
    module.eval()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with torch.no_grad():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(joined)
        for part, mode in training.items():
            part.training = mode


def is_weight_hook(hook: object) -> bool:
    """Whether a hook computes a module's weight before each call, as the older forms of weight_norm, spectral_norm and pruning do."""
    return any(base.__module__ in _WEIGHT_HOOKS for base in type(hook).__mro__)


def refresh(module: nn.Module) -> None:
    """Compute a weight that is computed before each call, which may be stale after a state dict was loaded; for `at_inference`."""
    for hook in module._forward_pre_hooks.values():
        if is_weight_hook(hook):
            hook(module, ())


def check_same(container: nn.Module, graph: fx.Graph, start: fx.Node, end: fx.Node, network: FloatNetwork) -> str:
    """Run the part of a module from ``start`` to ``end`` on random inputs, and the layers that were read of it.

    Returns
    -------
    str
        Why they could not be compared; empty if they agree.

    Raises
    ------
    ModelError
        If they do not agree.
    """
    x = np.random.default_rng(0).standard_normal((_SAMPLES, network.inputs)).astype(np.float32)
    x[1::2] *= 8  # bounds of functions are reached
    parameter = next(container.parameters())
    try:
        with at_inference(container):
            result = _evaluated(container, graph, start, end, _tensor(x, parameter))
    except Exception as error:  # whatever the module's own code raises
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    if result is None:
        return f"{end.name} depends on more than {start.name}"
    found, wanted = network.predict(_array(_tensor(x, parameter))), _array(result).reshape(_SAMPLES, -1)
    dtype = str(parameter.dtype).removeprefix("torch.")
    if found.shape != wanted.shape:
        raise ModelError(f"the module gives {wanted.shape[1]} numbers a sample, the layers {found.shape[1]}")
    difference = _root_mean_square(found - wanted) / max(_root_mean_square(wanted), 1e-30)
    if not difference <= _TOLERANCE.get(dtype, 1e-3):
        raise ModelError(f"on random inputs the module gives other results than the layers that were read of it, {difference:.1%} apart")
    return ""


def _evaluated(container: nn.Module, graph: fx.Graph, start: fx.Node, end: fx.Node, x: Tensor) -> Tensor | None:
    """The value of ``end`` when ``start`` is ``x``; None if it depends on something else."""
    from torch import fx

    interpreter = fx.Interpreter(fx.GraphModule(container, graph))
    interpreter.env[start] = x
    for node in graph.nodes:
        if node is not start and node.op not in ("placeholder", "output") and all(given in interpreter.env for given in node.all_input_nodes):
            interpreter.env[node] = interpreter.run_node(node)
        if node is end:  # what comes later may write into it
            break
    return interpreter.env.get(end)


def _tensor(x: np.ndarray, like: Tensor) -> Tensor:
    import torch

    return torch.from_numpy(x).to(like.device, like.dtype)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().float().numpy()


def _root_mean_square(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values, dtype=np.float64).mean()))


def suspects(modules: Mapping[str, nn.Module], written: list[str]) -> str:
    """What may be the cause of a difference, and its cure."""
    from torch import nn

    for name, module in modules.items():
        hooks = [hook for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()) if not is_weight_hook(hook)]
        if hooks:
            return f"module {name} has a forward hook, which a layer would not have: remove it"
        if isinstance(module, nn.Linear) and type(module).forward is not nn.Linear.forward:
            return f"module {name} is a {type(module).__name__} with a forward of its own: leave it to the host, or make it a plain Linear"
    if written:
        return f"{written[0]} writes into its input: use its result instead, as in x = relu(x)"
    return "its code does what torch.fx does not see: export it to ONNX, or pass its state_dict() and name the layers to take"

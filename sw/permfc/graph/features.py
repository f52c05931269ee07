"""Convolutional networks: the host computes the features, the engine the fully connected layers behind them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import InputError
from ..importers.chain import Tail
from ..importers.float_network import FloatNetwork
from ..importers.graph_files import load_graph
from ..importers.onnx_graph import onnx_tail
from ..importers.torch_module import module_tail
from ..importers.torch_wrappers import unwrapped
from .runtime import open_model, run_model, with_outputs
from .values import BATCH, Feeds, Value, batches

if TYPE_CHECKING:
    from onnx import ModelProto
    from torch import nn


class FeatureNetwork:
    """A network in two parts: everything up to the fully connected layers, on the host, and those layers.

    Use ``from_torch`` or ``from_onnx``. Then ``tail`` is compressed, with ``features`` of some typical inputs as calibration data, and what is
    compressed runs on ``features`` of the inputs, on the golden model or on any device.
    """

    def __init__(self, tail: FloatNetwork, run: Callable[[np.ndarray | Feeds], np.ndarray]) -> None:
        self._tail = tail
        self._run = run

    @property
    def tail(self) -> FloatNetwork:
        """Value of the fully connected layers in float."""
        return self._tail

    def features(self, x: np.ndarray | Feeds) -> np.ndarray:
        """What the first fully connected layer takes.

        Parameters
        ----------
        x : numbers [batch, ...], or mapping of names to those
            Inputs of the whole network, e.g. images [batch, channels, height, width]; by name those of an ONNX graph with several.

        Returns
        -------
        float32 [batch, tail.inputs]

        Raises
        ------
        InputError
            If the network does not take such inputs.
        """
        arrays = [np.asarray(array) for array in (x.values() if isinstance(x, Mapping) else [x])]
        for array in arrays:
            if array.ndim < 2 or not len(array) or array.dtype.kind not in "fiub":
                raise InputError("Inputs of a network must be numbers [batch, ...] with at least one sample, not "
                                 f"{array.dtype} {list(array.shape)}")
        features = self._run(x if isinstance(x, Mapping) else arrays[0])
        if features.shape != (len(arrays[0]), self._tail.inputs):
            raise InputError(f"Inputs of shape {list(arrays[0].shape)} give features of shape {list(features.shape)}, but layer "
                             f"{self._tail.layers[0].name} takes {[len(arrays[0]), self._tail.inputs]}")
        return features

    def predict(self, x: np.ndarray | Feeds) -> np.ndarray:
        """Results of the whole network in float, float32 [batch, outputs]."""
        return self._tail.predict(self.features(x))

    @classmethod
    def from_torch(cls, module: nn.Module, layers: Sequence[str] | None = None) -> FeatureNetwork:
        """Split a torch module, which runs as it is at inference, on the device where it lies.

        Parameters
        ----------
        module : torch.nn.Module
        layers : names of its Linear modules, optional
            Those for the engine, if not all at the end.
        """
        module = unwrapped(module)
        tail = module_tail(module, layers)
        return cls(tail.network, _flatten if tail.cut is None else lambda x: _run_torch(module, str(tail.cut), x))

    @classmethod
    def from_onnx(cls, path: str | Path, layers: Sequence[str] | None = None) -> FeatureNetwork:
        """Split an ONNX, Keras or TensorFlow Lite file, whose first part runs on onnxruntime.

        Raises
        ------
        ModelError
            If the model has no fully connected tail, or onnxruntime cannot run it.
        ToolError
            If onnx or onnxruntime is not installed.
        """
        model, _ = load_graph(path)
        tail = onnx_tail(model, Path(path), layers)
        return cls(tail.network, _flatten if tail.cut is None else _onnx_runner(model, tail, Path(path)))


def _single(x: np.ndarray | Feeds) -> np.ndarray:
    """The array of a network with one input."""
    if not isinstance(x, Mapping):
        return x
    if len(x) != 1:
        raise InputError(f"The network takes one array, not the {len(x)} named {', '.join(map(str, x))}")
    return np.asarray(next(iter(x.values())))


def _flatten(x: np.ndarray | Feeds) -> np.ndarray:
    x = _single(x)
    return x.reshape(len(x), -1).astype(np.float32)


def _run_torch(module: nn.Module, name: str, x: np.ndarray | Feeds) -> np.ndarray:
    """What reaches submodule ``name``, float32 [batch, inputs]."""
    import torch

    x = _single(x)
    seen: list[np.ndarray] = []
    hook = module.get_submodule(name).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float().cpu().numpy()))
    parameter = next(module.parameters())
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            for start in range(0, len(x), BATCH):
                module(torch.from_numpy(x[start:start + BATCH]).to(parameter))
    except Exception as error:  # whatever the module's own code raises
        raise InputError(f"{type(module).__name__} does not take inputs of shape {list(x.shape)}: {error}") from error
    finally:
        hook.remove()
        module.train(training)
    return np.concatenate(seen)


def _onnx_runner(model: ModelProto, tail: Tail, path: Path) -> Callable[[np.ndarray | Feeds], np.ndarray]:
    """A function from the model's inputs to the tensor where its tail begins."""
    cut = str(tail.cut)
    session = open_model(with_outputs(model, [cut]), f"{path} up to {cut!r}")
    values = [Value(value.name, value.type, value.shape) for value in session.get_inputs()]

    def run(x: np.ndarray | Feeds) -> np.ndarray:
        count = len(next(iter(x.values())) if isinstance(x, Mapping) else x)
        found = [run_model(session, [cut], feeds, str(path))[0] for feeds in batches(values, x)]
        return np.concatenate(found)[:count].astype(np.float32)

    return run

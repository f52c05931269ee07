"""A torch module whose fully connected layers were exchanged."""

from __future__ import annotations

from types import TracebackType

from torch import nn

from ..errors import ModelError
from .engine import Engine
from .modules import Group
from .report import Layers, Work


class Offloaded(nn.Module):
    """A model at inference, its fully connected layers on the engine: call it like the original.

    What it does not have itself it takes from the model inside, such as ``config`` or ``generate``. ``close``, or a ``with``
    statement, releases the device.

    Members
    -------
    module : nn.Module
        The model inside.
    layers : Layers
        What became of each fully connected layer.
    groups : tuple of Group
        The layers of the engine.
    """

    def __init__(self, module: nn.Module, layers: Layers, groups: tuple[Group, ...], engine: Engine) -> None:
        super().__init__()
        self.module = module.eval()
        self.layers, self.groups, self._engine = layers, groups, engine
        self.training = False

    def forward(self, *arguments: object, **named: object) -> object:
        """The model's results; ModelError where a gradient would have to pass through the engine."""
        self._engine.work.clear()
        return self.module(*arguments, **named)

    def counters(self) -> dict[str, Work]:
        """What the engine did in the last call of this model, by the layers' names; since then, too, if the model inside was called directly."""
        return dict(self._engine.work)

    def train(self, mode: bool = True) -> Offloaded:
        """Nothing, for ``eval()``; ModelError else, since the engine cannot be trained."""
        if mode:
            raise ModelError("A model whose layers run on the engine cannot be trained: train the original, then offload it again")
        return self

    def close(self) -> None:
        """Release the device; the model cannot be called any more."""
        self._engine.close()

    def __enter__(self) -> Offloaded:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name == "module":  # not there yet
                raise
            return getattr(self.module, name)

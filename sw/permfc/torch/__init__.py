"""Torch modules whose fully connected layers run on the engine; everything else runs in torch, unchanged."""

from __future__ import annotations

try:
    from .files import load, save
    from .model import Offloaded
    from .offloading import offload
    from .report import LayerReport, Layers, Work
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError("permfc.torch needs torch, which is missing; run: pip install 'permfc[train]'", name="torch") from None

__all__ = ["LayerReport", "Layers", "Offloaded", "Work", "load", "offload", "save"]

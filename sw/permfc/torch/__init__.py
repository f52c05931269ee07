"""Torch modules whose fully connected layers run on the engine; everything else runs in torch, unchanged."""

from __future__ import annotations

from .files import load, save
from .model import Offloaded
from .offloading import offload
from .report import LayerReport, Layers, Work

__all__ = ["LayerReport", "Layers", "Offloaded", "Work", "load", "offload", "save"]

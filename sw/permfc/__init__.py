"""permfc: fully connected layers stored as permutations of common sequences, for small FPGA engines."""

from __future__ import annotations

from .config import EngineConfig
from .errors import ConfigError, DeviceError, FormatError, InputError, ModelError, PermfcError, ToolError
from .network import Kind, Layer, Network, Segments

__all__ = [
    "ConfigError",
    "DeviceError",
    "EngineConfig",
    "FormatError",
    "InputError",
    "Kind",
    "Layer",
    "ModelError",
    "Network",
    "PermfcError",
    "Segments",
    "ToolError",
]

"""permfc: fully connected layers stored as permutations of common sequences, for small FPGA engines."""

from __future__ import annotations

from .compression.compress import compress
from .config import EngineConfig
from .device.opening import open
from .errors import (
    ClippingWarning,
    ConfigError,
    DeviceError,
    FormatError,
    InputError,
    LinkError,
    ModelError,
    PermfcError,
    PortError,
    ToolError,
    VersionError,
)
from .graph.compressing import compress_graph
from .graph.session import Session
from .network import InputSteps, Kind, Layer, Network, Segments

__all__ = [
    "ClippingWarning",
    "ConfigError",
    "DeviceError",
    "EngineConfig",
    "FormatError",
    "InputError",
    "InputSteps",
    "Kind",
    "Layer",
    "LinkError",
    "ModelError",
    "Network",
    "PermfcError",
    "PortError",
    "Segments",
    "Session",
    "ToolError",
    "VersionError",
    "compress",
    "compress_graph",
    "open",
]

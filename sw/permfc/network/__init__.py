"""Compressed networks: layers of segments, and the golden model that says what the engine must compute."""

from __future__ import annotations

from .input_steps import InputSteps
from .layer import Layer, block_rows, check_activations
from .network import Network
from .segments import MAX_SIZE, Kind, Segments

__all__ = ["MAX_SIZE", "InputSteps", "Kind", "Layer", "Network", "Segments", "block_rows", "check_activations"]

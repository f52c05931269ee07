"""A quick stand-in for the compressor in tests of torch modules: int8 weights, no search."""

from __future__ import annotations

import numpy as np

from permfc.compression.assembly import storable_bias
from permfc.errors import ModelError
from permfc.importers import FloatNetwork
from permfc.network import InputSteps, Layer, Network, Segments


def quick_compress(network: FloatNetwork, bits: float, calibration: np.ndarray, *engine: int, reference: np.ndarray | None = None) -> Network:
    """A network of one layer with a scale for every row."""
    if bits < 1:
        raise ModelError(f"Target of {bits:.4g} bits a weight cannot be reached")
    layer, = network.layers
    step = float(np.float32(max(np.abs(calibration).max(), 1e-6) / 127))
    rows = np.maximum(np.abs(layer.weight).max(axis=1), 1e-6) / 127
    weights = np.rint(layer.weight / rows[:, None]).astype(np.int8)
    segments = Segments.dense8(0, np.ascontiguousarray(weights.T))
    made = Layer(layer.inputs, layer.outputs, layer.outputs, ((segments,),), storable_bias(layer.bias / (rows * step)),
                 np.ones(layer.outputs, dtype=np.uint16), 1, relu=False, raw=True)
    return Network((made,), InputSteps(step), np.zeros(layer.inputs, dtype=np.uint8), (rows * step).astype(np.float32))

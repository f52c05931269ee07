"""The host section of an image: what the host needs to use it, and the engine does not read (docs/format.md)."""

from __future__ import annotations

import numpy as np

from ..errors import FormatError
from ..format import HostFlag
from ..network import InputSteps, Layer, Network
from ..network.output_scale import join_scale, split_scale

_NO_FLAGS = HostFlag(0)


def host_dtype(inputs: int, outputs: int, width: int, flags: HostFlag = _NO_FLAGS) -> np.dtype:
    """The host section of a network with these inputs and outputs, as one NumPy structure.

    Parameters
    ----------
    inputs, outputs : int
    width : int
        Bits of each input's class slot, see ``class_bits``.
    flags : HostFlag
        What is stored; by default neither steps nor offsets of inputs, but a scale for each output.
    """
    return np.dtype([
        ("input_scale", "<f4"),
        ("inputs", "<u2"),
        ("outputs", "<u2"),
        ("flags", "u1"),
        ("output_exponent", "i1"),
        ("output_scale", "<f2", (1 if HostFlag.SHARED_SCALE in flags else outputs,)),
        ("exponents", "u1", (inputs if HostFlag.EXPONENTS in flags else 0,)),
        ("zeros", "<i2", (inputs if HostFlag.ZEROS in flags else 0,)),
        ("input_class", "u1", (-(-inputs * width // 8),)),
    ])


def class_bits(layer: Layer) -> int:
    """Bits that hold the number of any class slot of a layer; 0 for a single slot."""
    return (sum(segments.kind.slots for segments in layer.classes) - 1).bit_length()


def network_host_dtype(network: Network) -> np.dtype:
    """The host section of this network, as one NumPy structure."""
    return host_dtype(network.inputs, network.outputs, class_bits(network.layers[0]), _flags(network))


def _flags(network: Network) -> HostFlag:
    steps, scale = network.input_steps, network.output_scale
    conditions = {
        HostFlag.EXPONENTS: steps.exponents is not None,
        HostFlag.ZEROS: steps.zeros is not None,
        HostFlag.SHARED_SCALE: bool((scale == scale[0]).all()),
    }
    return HostFlag(sum(flag for flag, holds in conditions.items() if holds))


def write_host(network: Network) -> np.ndarray:
    """The host section of a network, one record."""
    host = np.zeros((), dtype=network_host_dtype(network))
    steps = network.input_steps
    host["input_scale"], host["inputs"], host["outputs"] = steps.scale, network.inputs, network.outputs
    host["flags"] = _flags(network)
    host["output_exponent"], halves = split_scale(network.output_scale)
    host["output_scale"] = halves[:host["output_scale"].size]
    for name, values in (("exponents", steps.exponents), ("zeros", steps.zeros)):
        if values is not None:
            host[name] = values
    bits = np.unpackbits(network.input_class[:, None], axis=1, count=class_bits(network.layers[0]), bitorder="little")
    host["input_class"] = np.packbits(bits, bitorder="little")
    return host


def read_host(data: np.ndarray, width: int) -> tuple[InputSteps, np.ndarray, np.ndarray]:
    """Read a host section.

    Parameters
    ----------
    data : uint8 [bytes]
    width : int
        Bits of each input's class slot.

    Returns
    -------
    InputSteps
    uint8 [inputs]
        Class slots of the inputs.
    float32 [outputs]
        Scales of the outputs.

    Raises
    ------
    FormatError, ModelError
        If it is damaged.
    """
    head = host_dtype(0, 0, width)
    if data.size < head.itemsize:
        raise FormatError(f"Image is damaged: its host section has {data.size} bytes, less than {head.itemsize}")
    sizes = data[:head.itemsize].view(head)[0]
    inputs, outputs, flags = int(sizes["inputs"]), int(sizes["outputs"]), HostFlag(int(sizes["flags"]))
    dtype = host_dtype(inputs, outputs, width, flags)
    if data.size != dtype.itemsize:
        raise FormatError(f"Image is damaged: its host section has {data.size} bytes instead of {dtype.itemsize} "
                          f"for {inputs} inputs and {outputs} outputs")
    host = data.view(dtype)[0]
    steps = InputSteps(
        float(host["input_scale"]),
        host["exponents"].copy() if HostFlag.EXPONENTS in flags else None,
        host["zeros"].astype(np.int16) if HostFlag.ZEROS in flags else None,
    )
    scale = np.resize(join_scale(int(host["output_exponent"]), host["output_scale"]), outputs)
    return steps, _unpacked(host["input_class"], inputs, width), scale


def _unpacked(packed: np.ndarray, inputs: int, width: int) -> np.ndarray:
    """Class slots uint8 [inputs] of ``width`` bits each."""
    if not width:
        return np.zeros(inputs, dtype=np.uint8)
    bits = np.unpackbits(packed, count=inputs * width, bitorder="little").reshape(inputs, width)
    return np.packbits(bits, axis=1, bitorder="little").reshape(-1)

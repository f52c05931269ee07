"""Checks of a device and of the way to it, from the link to a network's results."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..config import EngineConfig
from ..errors import DeviceError, LinkError
from ..network import InputSteps, Layer, Network, Segments, block_rows
from ..progress import Progress
from .base import CheckOutcome, Device

NETWORK_SIZES = (32, 24, 10)  # small enough for every engine but the very smallest
INPUTS = 20


@dataclass(frozen=True)
class Check:
    """The outcome of one check.

    Members
    -------
    name : str
    passed : bool or None
        None if the device has nothing to check.
    detail : str
        What was measured, what is wrong, or why nothing was checked.
    """

    name: str
    passed: bool | None
    detail: str


def selftest(device: Device, network: Network | None = None, seed: int = 0, progress: Progress | None = None) -> Iterator[Check]:
    """Check the link, the memory and the engine; overwrites parts of a writable memory.

    Parameters
    ----------
    device : Device
    network : Network, optional
        What the engine is checked with; by default a small one. A read-only memory must hold its image.
    seed : int
        Of addresses, patterns and inputs.
    progress : callable, optional
        Told about the bytes that are loaded.

    Yields
    ------
    Check
        One for each part, as soon as it is known.

    Raises
    ------
    LinkError
        If the link breaks: there is nothing left to check.
    """
    rng = np.random.default_rng(seed)
    for name, check in (*device.checks(rng), ("network", lambda: _check_network(device, network, rng, progress))):
        try:
            yield Check(name, *check())
        except LinkError:
            raise
        except DeviceError as error:
            yield Check(name, False, str(error))


def _check_network(device: Device, network: Network | None, rng: np.random.Generator, progress: Progress | None) -> CheckOutcome:
    if network is None and device.read_only:
        return None, "the memory is read-only; name the network that it holds (--network)"
    network = network or small_network(device.identify())
    device.load(network, progress)
    x = rng.integers(-128, 128, size=(INPUTS, network.inputs)).astype(np.int8)
    x[rng.random(x.shape) < 0.5] = 0
    wrong = int(np.count_nonzero(device.run(x) != network.compute(x)))
    total, cycles = INPUTS * network.outputs, device.cost().cycles
    timed = "" if cycles is None else f", {cycles / INPUTS:,.0f} cycles an input"
    return not wrong, f"{total - wrong:,} of {total:,} results equal the golden model{timed}"


def small_network(config: EngineConfig) -> Network:
    """Two layers with prefix-coded, sparse and, where the engine has 16 levels, dense8 segments; the same for equal engines.

    The results are raw, so that every bit of the accumulators is seen.
    """
    rng = np.random.default_rng(1)
    inputs, hidden, outputs = NETWORK_SIZES
    layers = (
        _layer(rng, inputs, hidden, min(hidden, config.block_outputs), config.levels == 16, relu=True),
        _layer(rng, hidden, outputs, min(outputs, config.block_outputs), config.levels == 16, relu=False),
    )
    return Network(layers, InputSteps(1.0), layers[0].feature_slots, np.ones(outputs, dtype=np.float32))


def _layer(rng: np.random.Generator, features: int, outputs: int, block_outputs: int, dense: bool, relu: bool) -> Layer:
    sizes = [rows.stop - rows.start for rows in block_rows(outputs, block_outputs)]
    return Layer(
        features, outputs, block_outputs, tuple(_classes(rng, features, size, dense) for size in sizes),
        bias=rng.integers(-2000, 2000, outputs).astype(np.int32), mul=np.full(outputs, 300, dtype=np.uint16), shift=16, relu=relu, raw=not relu,
    )


def _classes(rng: np.random.Generator, features: int, outputs: int, dense: bool) -> tuple[Segments, ...]:
    """A third of the features each."""
    third = features // 3
    levels, counts = np.array([-9, 0, 7], dtype=np.int8), np.array([outputs // 4, outputs - 2 * (outputs // 4), outputs // 4])
    common = np.repeat(np.arange(3, dtype=np.uint8), counts)
    nonzero = (rng.random((third, outputs)) < 0.1).astype(np.uint8)
    rest = features - 2 * third
    last = rng.integers(-128, 128, (rest, outputs), dtype=np.int8)
    return (
        Segments.prefix(0, levels, counts, rng.permuted(np.tile(common, (third, 1)), axis=1)),
        Segments.sparse(third, np.array([55], dtype=np.int8), nonzero),
        Segments.dense8(2 * third, last) if dense else Segments.empty(2 * third, rest, outputs),
    )

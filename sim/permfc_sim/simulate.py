"""Runs a network on the Verilated engine, checks every result against the golden model, and gathers what was counted."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from permfc.config import EngineConfig
from permfc.image import Traffic, check_fits, predicted_traffic
from permfc.image.layout import image_layout
from permfc.memory import IdlePolicy, Memory
from permfc.network import Network
from permfc.progress import Progress

from .device import SimDevice
from .library import MEMORY_BYTES
from .memory_run import MemoryRun, memory_run, take_inference

DEFAULT_CLOCK_HZ = 100e6
NO_IDLE = IdlePolicy()


@dataclass(frozen=True)
class LayerTraffic:
    """What one layer reads per input: means over a batch.

    Members
    -------
    bytes : float
        Predicted by the law, everything of the layer included, the image header in the first; their sum over layers is what was counted.
    dense_bytes : int
        Bytes of the layer's weights as int8: what an engine without compression reads.
    dense_active_bytes : float
        Bytes of the int8 weights of nonzero activations: what such an engine reads when it skips zeros.
    fetched, skipped : float
        Segments.
    """

    bytes: float
    dense_bytes: int
    dense_active_bytes: float
    fetched: float
    skipped: float


@dataclass(frozen=True, eq=False)
class Simulation:
    """What a batch of inputs did on the engine.

    Members
    -------
    config : EngineConfig
    results, golden : int32 [batch, outputs]
        From the engine, and from the golden model.
    counters : dict of str to int64 [batch]
        The engine's counters by name, each run's.
    predicted_beats : int64 [batch]
        Bus words that the law predicts for each run.
    layers : tuple of LayerTraffic
    memory_name : str
    latency : int or None
        Cycles from a read to its first word; None of a memory that was simulated at its pins.
    clock_hz : float
        Clock of the engine.
    memory_run : MemoryRun or None
        What happened at the memory's pins; None for a plain AXI4 memory.
    """

    config: EngineConfig
    results: np.ndarray
    golden: np.ndarray
    counters: dict[str, np.ndarray]
    predicted_beats: np.ndarray
    layers: tuple[LayerTraffic, ...]
    memory_name: str
    latency: int | None
    clock_hz: float
    memory_run: MemoryRun | None

    @property
    def mismatches(self) -> int:
        """Value of the number of results that differ from the golden model."""
        return int(np.count_nonzero(self.results != self.golden))

    @property
    def bus_bytes(self) -> np.ndarray:
        """Value of the bytes that each run read from memory, as the engine counted, int64 [batch]."""
        return self.counters["beats"] * self.config.bus_bytes

    @property
    def traffic_as_predicted(self) -> bool:
        """Value of whether every run read exactly the predicted bytes."""
        return bool((self.counters["beats"] == self.predicted_beats).all())

    @property
    def dense_bytes(self) -> int:
        """Value of the bytes of all weights as int8."""
        return sum(layer.dense_bytes for layer in self.layers)

    @property
    def dense_active_bytes(self) -> float:
        """Value of the mean bytes of the int8 weights of nonzero activations."""
        return sum(layer.dense_active_bytes for layer in self.layers)

    @property
    def bus_utilisation(self) -> float:
        """Value of the part of all cycles in which the bus carried a word."""
        return float(self.counters["beats"].sum() / self.counters["cycles"].sum())

    @property
    def seconds_are(self) -> str:
        """Value of how ``seconds`` is known: ``counted``, or ``modelled`` with a memory whose commands are."""
        return self.memory_run.source if self.memory_run else "counted"

    @property
    def seconds(self) -> float:
        """Value of the mean time of an inference: the engine's, or that of a modelled memory, where it cannot keep up with the engine."""
        engine = float(self.counters["cycles"].mean()) / self.clock_hz
        return max(engine, self.memory_run.total.seconds) if self.seconds_are == "modelled" else engine

    def as_dict(self) -> dict[str, object]:
        """The figures by name, means over the batch, ready for JSON."""
        return {
            "config": self.config.as_dict(),
            "inputs": len(self.results),
            "results": self.results.size,
            "mismatches": self.mismatches,
            "traffic_as_predicted": self.traffic_as_predicted,
            "bus_utilisation": self.bus_utilisation,
            "bus_bytes": float(self.bus_bytes.mean()),
            "dense_bytes": self.dense_bytes,
            "dense_active_bytes": self.dense_active_bytes,
            "counters": {name: float(values.mean()) for name, values in self.counters.items()},
            "layers": [asdict(layer) for layer in self.layers],
            "memory_name": self.memory_name,
            "latency": self.latency,
            "clock_hz": self.clock_hz,
            "seconds": self.seconds,
            "seconds_are": self.seconds_are,
            "memory": self.memory_run.as_dict() if self.memory_run else None,
        }


def simulate(
    network: Network, x: np.ndarray, config: EngineConfig, *, memory: Memory | None = None, clock_hz: float = DEFAULT_CLOCK_HZ,
    idle: IdlePolicy = NO_IDLE, latency: int = 30, waves: str | Path | None = None, progress: Progress | None = None,
) -> Simulation:
    """Run quantised inputs one by one on the simulated engine.

    Parameters
    ----------
    network : Network
    x : int8 [batch, inputs], packed order
        As ``Network.quantise`` makes them.
    config : EngineConfig
    memory : Memory, optional
        Default: a plain AXI4 memory. One whose commands are counted is simulated at its pins; one whose commands are modelled stands behind
        the plain memory's reads.
    clock_hz : float
        Clock of the engine; with a memory that is simulated at its pins the engine has its clock.
    idle : IdlePolicy
        What the memory's energy has beside the runs.
    latency : int
        Cycles from a read of a plain memory to its first word.
    waves : path, optional
        A VCD file to write.
    progress : callable, optional
        Called with (what, steps done, steps).

    Returns
    -------
    Simulation
        Compare ``mismatches`` with 0: a difference is reported, not raised.

    Raises
    ------
    ConfigError, InputError
        If the network does not fit the engine or the memory, or the inputs do not fit the network.
    DeviceError
        If the engine reports an error, breaks a bus rule or does not finish.
    ToolError
        If the simulator cannot be built.
    """
    check_fits(network, config)  # before the long build, as all that follows
    if waves is not None:
        Path(waves).touch()  # raises OSError where nothing can be written
    image_bytes = image_layout(network, config.bus_bytes).image_bytes
    if memory is not None:
        memory.check_holds(image_bytes)
    golden = network.compute(x)
    results = np.empty_like(golden)
    runs, inferences = [], []
    counted = memory is not None and memory.is_counted
    plain_bytes = max(MEMORY_BYTES, 1 << (image_bytes - 1).bit_length())
    behind = {"memory": memory} if counted else {"memory_bytes": plain_bytes}
    with SimDevice(config, latency=latency, waves=waves, progress=progress, **behind) as device:
        device.load(network)
        clock_hz = device.clock_hz if counted else clock_hz
        for number, row in enumerate(x):
            if progress:
                progress("simulate", number, len(x))
            device.take_reads()
            device.take_commands()
            results[number] = device.run(row)
            runs.append(asdict(device.counters()))
            inferences.append(take_inference(device, runs[-1]["cycles"]))
    if progress:
        progress("simulate", len(x), len(x))
    traffic = predicted_traffic(network, x, config)
    return Simulation(
        config=config,
        results=results,
        golden=golden,
        counters={name: np.array([run[name] for run in runs], dtype=np.int64) for name in runs[0]},
        predicted_beats=traffic.total_words,
        layers=_layers(network, x, traffic),
        memory_name=memory.name if memory else "axi",
        latency=None if counted else latency,
        clock_hz=clock_hz,
        memory_run=memory_run(network, x, config, inferences, memory, clock_hz, idle) if memory and memory.part else None,
    )


def _layers(network: Network, x: np.ndarray, traffic: Traffic) -> tuple[LayerTraffic, ...]:
    layer_bytes = traffic.layer_words.mean(axis=0) * traffic.bus_bytes
    layer_bytes[0] += (traffic.total_words - traffic.layer_words.sum(axis=1)).mean() * traffic.bus_bytes  # the image header
    fetched, skipped = traffic.fetched.mean(axis=0), traffic.skipped.mean(axis=0)
    active = [np.count_nonzero(received, axis=1).mean() for received in network.layer_inputs(x)]
    return tuple(
        LayerTraffic(
            bytes=float(layer_bytes[number]),
            dense_bytes=layer.features * layer.outputs,
            dense_active_bytes=float(active[number]) * layer.outputs,
            fetched=float(fetched[number]),
            skipped=float(skipped[number]),
        )
        for number, layer in enumerate(network.layers)
    )

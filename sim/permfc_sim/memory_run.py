"""What the inferences of a simulation did to the memory, layer by layer: counted at its pins, or modelled from the reads on the bus."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from permfc.config import EngineConfig
from permfc.image.layout import ImageLayout, image_layout
from permfc.memory import CommandTrace, DramPart, Memory
from permfc.memory.controller import command_stream
from permfc.memory.energy import Energy, literature_energy
from permfc.memory.idle import IdlePolicy
from permfc.memory.onchip import OnChipEnergy, on_chip_counts, on_chip_energy
from permfc.memory.reads import Reads
from permfc.memory.use import MemoryUse, memory_use, read_addresses
from permfc.network import Network

from .device import SimDevice


@dataclass(frozen=True, eq=False)
class Inference:
    """What one run left behind: the reads on the bus and the commands at the pins, both from the first read to the end of the run."""

    reads: Reads
    commands: CommandTrace


@dataclass(frozen=True)
class MemoryRun:
    """Means per inference.

    Members
    -------
    memory : Memory
    engine_hz : float
        Clock of the engine.
    policy : IdlePolicy
    layers : tuple of MemoryUse
        A layer lasts from the read that has its first descriptor to that of the next one, which may begin with this one's last parameters; the
        first one has the image header, too. No idle time after the inference.
    total : MemoryUse
        The whole inference, without idle time after it.
    idle : Energy
        Of the standby after an inference, beside ``total``: modelled, whatever the memory.
    on_chip : tuple of OnChipEnergy
        Of each layer; estimated.
    weights : int
    commands : CommandTrace
        Of the first inference, from its first read on, in cycles of the memory.
    """

    memory: Memory
    engine_hz: float
    policy: IdlePolicy
    layers: tuple[MemoryUse, ...]
    total: MemoryUse
    idle: Energy
    on_chip: tuple[OnChipEnergy, ...]
    weights: int
    commands: CommandTrace

    @property
    def source(self) -> str:
        """Value of how the commands are known: ``counted`` or ``modelled``."""
        return "counted" if self.memory.is_counted else "modelled"

    @property
    def energy_source(self) -> str:
        """Value of how the energy of the run is known: as the commands, but modelled if the memory is taken to power down."""
        return "modelled" if self.policy.power_down else self.source

    @property
    def on_chip_total(self) -> float:
        """Value of the estimated energy on the chip, in joules."""
        return sum(layer.total for layer in self.on_chip)

    @property
    def pj_per_weight(self) -> float:
        """Value of the memory's energy without idle time, divided by the weights of the network, in picojoules."""
        return self.total.energy.total / self.weights * 1e12

    def as_dict(self) -> dict[str, object]:
        """Everything by name, for JSON; energies in joules."""
        return {
            "memory": self.memory.name,
            "part": self.memory.part.name,
            "memory_clock_hz": self.memory.clock_hz,
            "engine_clock_hz": self.engine_hz,
            "commands_are": self.source,
            "energy_is": self.energy_source,
            "idle": str(self.policy),
            "layers": [use.as_dict() for use in self.layers],
            "total": self.total.as_dict(),
            "idle_modelled": self.idle.as_dict(),
            "literature_energy": literature_energy(round(self.total.bytes)),
            "pj_per_weight": self.pj_per_weight,
            "on_chip_estimated": [layer.as_dict() for layer in self.on_chip],
        }


def take_inference(device: SimDevice, engine_cycles: int) -> Inference:
    """What the device logged in the run that has just ended, which took ``engine_cycles``; the logs were emptied before it."""
    reads, commands = device.take_reads(), device.take_commands()
    begin = int(reads.cycle[0])
    kept = Reads(reads.cycle - begin, reads.address, reads.bytes)
    return Inference(kept, commands.window(begin, min(begin + engine_cycles, commands.length)))


def memory_run(
    network: Network, x: np.ndarray, config: EngineConfig, inferences: Sequence[Inference], memory: Memory, engine_hz: float, policy: IdlePolicy
) -> MemoryRun:
    """The figures of inferences of ``x`` (int8 [batch, inputs], packed order) that ran on an engine of ``config``.

    Raises
    ------
    ConfigError
        If the memory has no part.
    """
    layout = image_layout(network, config.bus_bytes)
    traces = [_commands(run, memory, engine_hz) for run in inferences]
    numbers = range(len(network.layers))
    windows = [_layer_windows(trace, run.reads, layout, memory, engine_hz) for trace, run in zip(traces, inferences, strict=True)]
    during = IdlePolicy(0.0, policy.power_down)
    counts = on_chip_counts(network, x, config)
    total = memory_use(traces, memory, during)
    return MemoryRun(
        memory=memory, engine_hz=engine_hz, policy=policy,
        layers=tuple(memory_use([window[number] for window in windows], memory, during) for number in numbers),
        total=total,
        idle=memory_use(traces, memory, policy).energy + total.energy.scaled(-1),
        on_chip=tuple(on_chip_energy(counts, number, config.levels).scaled(1 / len(x)) for number in numbers),
        weights=sum(layer.features * layer.outputs for layer in network.layers),
        commands=traces[0],
    )


def _commands(run: Inference, memory: Memory, engine_hz: float) -> CommandTrace:
    if memory.is_counted:
        return run.commands
    trace = command_stream(run.reads, memory, reads_clock_hz=engine_hz)
    lasted = math.ceil(run.commands.length / engine_hz * memory.clock_hz)
    return replace(trace, length=max(trace.length, lasted))  # the engine goes on for some time after its last read


def _layer_windows(trace: CommandTrace, reads: Reads, layout: ImageLayout, memory: Memory, engine_hz: float) -> list[CommandTrace]:
    """The trace cut where the memory is told to read each layer's first descriptor."""
    offsets = [next(block.offset for block in layout.blocks if block.layer == number) for number in range(layout.blocks[-1].layer + 1)]
    starts = [offset * layout.bus_bytes for offset in offsets[1:]]
    asked = [int(reads.cycle[np.argmax((reads.address <= start) & (start < reads.address + reads.bytes))]) for start in starts]
    cuts = [math.ceil(cycle * memory.clock_hz / engine_hz) for cycle in asked]
    if isinstance(memory.part, DramPart):  # later than asked for; a flash goes on with the next read without a command
        begin, end, cycle = read_addresses(trace, memory)
        cuts = [int(cycle[np.argmax((cycle >= cut) & (begin <= start) & (start < end))]) for cut, start in zip(cuts, starts, strict=True)]
    edges = [0, *cuts, trace.length]
    return [trace.window(first, last) for first, last in zip(edges[:-1], edges[1:], strict=True)]

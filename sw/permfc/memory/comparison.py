"""The same network on the same memory, its weights stored in several ways: bytes, time at the memory's limit, energy."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np

from ..errors import ConfigError
from ..network import Network, check_activations
from ..progress import Progress
from .controller import command_stream
from .energy import Energy, literature_energy
from .idle import IdlePolicy, energy_with_idle
from .layouts import Eie, WeightLayout, layouts
from .presets import Memory
from .reads import Reads

EIE_CLOCK_HZ = 800e6  # of the published EIE


@dataclass(frozen=True)
class Cost:
    """What one inference costs with one layout, a mean over inputs. All of it is modelled.

    Members
    -------
    layout : str
    skips_zeros : bool
        Whether the weights of zero activations are left out.
    bytes : float
        That are asked for.
    excess : int
        Bytes of the weights for which the memory has no room.
    seconds : float or None
        Time of the memory alone, which is asked for everything at once; None if there is an excess.
    energy : Energy or None
        Of the memory, in joules.
    literature_joules : float
        The bytes at 20 pJ a bit.
    compute_seconds : float or None
        EIE only: time of 64 elements at 800 MHz, which wait for the fullest of them at each feature.
    """

    layout: str
    skips_zeros: bool
    bytes: float
    excess: int
    seconds: float | None
    energy: Energy | None
    literature_joules: float
    compute_seconds: float | None = None

    def as_dict(self) -> dict[str, object]:
        """Everything by name, for JSON; energies in joules."""
        return {**asdict(self), "energy": self.energy.as_dict() if self.energy else None}


def compare(
    network: Network, x: np.ndarray | None, memory: Memory, *, bus_bytes: int, policy: IdlePolicy,
    progress: Progress | None = None,
) -> list[Cost]:
    """The cost of each layout, without and (with inputs) with activation skipping.

    Parameters
    ----------
    network : Network
    x : int8 [batch, inputs], packed order, or None
        Without inputs nothing is known of zero activations.
    memory : Memory
        With a part.
    bus_bytes : int
        Bytes of a bus word, which permfc's segments are padded to.
    policy : IdlePolicy
    progress : callable, optional
        Called with (what, steps done, steps).

    Raises
    ------
    ConfigError
        If the memory has no part.
    InputError
        If ``x`` has another type or length.
    """
    if memory.part is None:
        raise ConfigError(f"Memory {memory.name} has no part to compare on: choose one with a part, as sdr-100 or ddr3-1600")
    report = progress or (lambda what, done, total: None)
    jobs: list[tuple[WeightLayout, list[list[np.ndarray]] | None]] = [(layout, None) for layout in layouts(bus_bytes)]
    if x is not None:
        check_activations(x, network.inputs)
        received = [values != 0 for values in network.layer_inputs(x)]
        active = [[layer[row] for layer in received] for row in range(len(x))]
        jobs += [(layout, active) for layout in layouts(bus_bytes)]
    costs = []
    for number, (layout, active) in enumerate(jobs):
        report("compare", number, len(jobs))
        costs.append(_cost(layout, network, active, memory, policy))
    report("compare", len(jobs), len(jobs))
    return costs


def _cost(layout: WeightLayout, network: Network, active: list[list[np.ndarray]] | None, memory: Memory, policy: IdlePolicy) -> Cost:
    inferences = [None] if active is None else active
    lists = [layout.reads(network, one) for one in inferences]
    size = sum(int(reads.bytes.sum()) for reads in lists) / len(lists)
    excess = _excess(layout, network, memory)
    seconds, energy = (None, None) if excess else _on_memory(lists, memory, policy)
    compute = None
    if isinstance(layout, Eie):
        compute = sum(layout.cycles(network, one) for one in inferences) / len(inferences) / EIE_CLOCK_HZ
    return Cost(layout.name, active is not None, size, excess, seconds, energy, literature_energy(round(size)), compute)


def _excess(layout: WeightLayout, network: Network, memory: Memory) -> int:
    reads = layout.reads(network, None)
    return max(0, int((reads.address + reads.bytes).max()) - memory.capacity)


def _on_memory(lists: list[Reads], memory: Memory, policy: IdlePolicy) -> tuple[float, Energy]:
    seconds, energy = 0.0, Energy()
    for reads in lists:
        trace = command_stream(reads, memory, reads_clock_hz=memory.clock_hz)
        seconds += trace.length / memory.clock_hz
        energy += energy_with_idle(trace, memory, policy)
    return seconds / len(lists), energy.scaled(1 / len(lists))

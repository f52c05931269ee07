"""``permfc.open("sim:...")``: the simulated engine by name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from permfc.device.placement import engine_for, engine_parameters, memory_bytes_for
from permfc.memory import memory as named_memory
from permfc.network import Network
from permfc.progress import Progress

from .device import SimDevice
from .library import MEMORY_BYTES


def open_simulation(
    text: str, *, network: Network | Mapping[str, Network] | None = None, progress: Progress | None = None, **options: Any
) -> SimDevice:
    """A simulated engine.

    Parameters
    ----------
    text : str
        ``NAME=VALUE,...``: parameters of EngineConfig, and ``memory``, the name of a preset.
    network : Network, or mapping of names to Networks, optional
        Engine and plain memory are large enough for all of it where ``text`` and ``options`` say nothing, and never smaller than by default.
    progress : callable, optional
        Told about the steps of the build.
    **options
        Other parameters of :class:`permfc_sim.device.SimDevice`.

    Raises
    ------
    ConfigError
        If ``text`` is not of that form, or a value is out of its range.
    ToolError
        If the simulator cannot be built.
    """
    parameters, others = engine_parameters(text, "simulated device", ["memory"])
    config = engine_for(network, parameters)
    if "memory" in others:
        options["memory"] = named_memory(others["memory"])
    if network is not None:
        options.setdefault("memory_bytes", max(MEMORY_BYTES, memory_bytes_for(network, config)))
    return SimDevice(config, progress=progress, **options)

"""``permfc.open("sim:...")``: the simulated engine by name."""

from __future__ import annotations

from dataclasses import fields

from permfc.config import EngineConfig
from permfc.device import Progress
from permfc.errors import ConfigError
from permfc.image import required
from permfc.memory import memory as named_memory
from permfc.network import Network

from .device import SimDevice

PARAMETERS = [field.name for field in fields(EngineConfig)]


def open_simulation(text: str, *, network: Network | None = None, progress: Progress | None = None, **options: object) -> SimDevice:
    """A simulated engine.

    Parameters
    ----------
    text : str
        ``NAME=VALUE,...``: parameters of EngineConfig, and ``memory``, the name of a preset.
    network : Network, optional
        The engine is large enough for it where ``text`` says nothing, and never smaller than EngineConfig's defaults.
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
    given = dict(_pair(item) for item in text.split(",") if item)
    if "memory" in given:
        options["memory"] = named_memory(given.pop("memory"))
    numbers = {name: _integer(name, value) for name, value in given.items()}
    return SimDevice(EngineConfig(**{**_sizes(network), **numbers}), progress=progress, **options)


def _sizes(network: Network | None) -> dict[str, int]:
    """The default engine's parameters, raised to what the network needs."""
    sizes = EngineConfig().as_dict()
    return sizes | {name: max(sizes[name], least) for name, least in required(network).items()} if network else sizes


def _pair(item: str) -> tuple[str, str]:
    name, _, value = item.partition("=")
    if name not in (*PARAMETERS, "memory") or not value:
        raise ConfigError(f"{item!r} in the name of a simulated device must be NAME=VALUE with one of {', '.join(PARAMETERS)}, memory")
    return name, value


def _integer(name: str, value: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"{name} of a simulated device must be an integer, not {value!r}")
    return int(value)

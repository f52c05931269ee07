"""The image that an engine runs from its memory: pack a network, parse it back, predict what a run reads (docs/format.md)."""

from __future__ import annotations

import dataclasses

from ..config import EngineConfig
from ..errors import ConfigError
from ..network import Network
from .layout import image_layout
from .parser import Image, parse
from .traffic import LayerSize, SizeReport, Traffic, predicted_traffic, size_report
from .writer import build_image

__all__ = ["Image", "LayerSize", "SizeReport", "Traffic", "check_fits", "pack", "parse", "predicted_traffic", "required", "size_report"]


def required(network: Network) -> dict[str, int]:
    """The limits of the smallest engine that runs a network: ``EngineConfig`` parameters, powers of two where those are."""
    needs = _needs(network)
    return {
        "features": _power_of_two(needs["features"]),
        "block_outputs": _power_of_two(needs["block_outputs"]),
        "levels": 8 if needs["levels"] <= 8 else 16,
        "accumulator_bits": max(needs["accumulator_bits"], 16),
    }


def _power_of_two(value: int) -> int:
    return max(1 << (value - 1).bit_length(), 16)


def check_fits(network: Network, config: EngineConfig) -> None:
    """Raise ConfigError unless an engine of this configuration can run the network."""
    limits = {name: (value, getattr(config, name)) for name, value in required(network).items()}
    exceeded = {name: value for name, (value, limit) in limits.items() if value > limit}
    if not exceeded:
        return
    name = next(iter(exceeded))
    problem = f"The network needs an engine with {name} >= {_needs(network)[name]}, but this one has {limits[name][1]}"
    try:
        fitting = dataclasses.replace(config, **exceeded)
    except ConfigError:
        raise ConfigError(f"{problem}, and no engine has enough: compress the network with block_outputs of at most 4096") from None
    changes = {name: getattr(fitting, name) for name in exceeded}
    parameters = ", ".join(f"{name}={value}" for name, value in changes.items())
    options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in changes.items())
    raise ConfigError(f"{problem}: an EngineConfig with {parameters} would fit ({options})")


def _needs(network: Network) -> dict[str, int]:
    """What the network needs of each limit, before rounding to what engines are built with."""
    return {
        "features": network.widest,
        "block_outputs": network.most_block_outputs,
        "levels": network.most_levels,
        "accumulator_bits": network.accumulator_bits,
    }


def pack(network: Network, config: EngineConfig) -> bytes:
    """Pack a network for an engine.

    Parameters
    ----------
    network : Network
    config : EngineConfig
        The engine that will run it: its bus width sets the layout, its limits are checked.

    Returns
    -------
    bytes
        The image. It depends on the bus width only: any engine with that bus and sufficient limits runs it.

    Raises
    ------
    ConfigError
        If the engine is too small, naming the limit and a configuration that would fit, or the image exceeds 4 GiB.
    """
    check_fits(network, config)
    layout = image_layout(network, config.bus_bytes)
    if layout.image_bytes >= 1 << 32:
        raise ConfigError(f"The image has {layout.image_bytes} bytes, more than the 4 GiB an engine can address: split the network")
    return build_image(network, layout)

"""The image that an engine runs from its memory: pack a network, parse it back, predict what a run reads (docs/format.md)."""

from __future__ import annotations

from ..config import EngineConfig
from ..errors import ConfigError
from ..network import Network
from .cycles import Cycles, predicted_cycles
from .layout import image_layout
from .limits import check_fits, required
from .parser import Image, next_image, parse, stated_bytes
from .traffic import LayerSize, SizeReport, Traffic, predicted_traffic, size_report
from .writer import build_image

__all__ = ["Cycles", "Image", "LayerSize", "SizeReport", "Traffic", "check_fits", "next_image", "pack", "parse", "predicted_cycles",
           "predicted_traffic", "required", "size_report", "stated_bytes"]


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

"""Several networks for one memory: their names, the engine that takes them all, and where each image lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from .. import image
from ..config import EngineConfig
from ..errors import ConfigError, FormatError
from ..format import IMAGE_ALIGNMENT
from ..image.layout import image_layout
from ..network import Network

Loadable = Network | bytes
"""A network, or its image packed for the engine."""

SINGLE_NAME = "network"  # of one that is loaded without a name
PARAMETERS = tuple(field.name for field in fields(EngineConfig))
SWITCHES = tuple(field.name for field in fields(EngineConfig) if isinstance(field.default, bool))


@dataclass(frozen=True, eq=False)
class PlacedImage:
    """An image and its place in the memory.

    Members
    -------
    network : Network
    data : bytes
    address : int
        A multiple of IMAGE_ALIGNMENT.
    """

    network: Network
    data: bytes
    address: int

    @property
    def end(self) -> int:
        """Value of the first address behind the image."""
        return self.address + len(self.data)


def named(networks: Loadable | Mapping[str, Loadable]) -> Mapping[str, Loadable]:
    """Networks by name, also a single one; ConfigError where that cannot be."""
    if not isinstance(networks, Mapping):
        return {SINGLE_NAME: networks}
    if not networks:
        raise ConfigError("There are no networks in this mapping; give one or more, each under a name")
    for name in networks:
        if not isinstance(name, str) or not name:
            raise ConfigError(f"The name of a network must be a text with one character or more, not {name!r}")
    return networks


def place(networks: Mapping[str, Loadable], config: EngineConfig, address: int) -> dict[str, PlacedImage]:
    """Images for an engine of ``config``, one behind the other from ``address`` on, which is aligned.

    Raises
    ------
    FormatError, ConfigError
        If one of them is damaged or does not fit the engine; the sentence names it when there are several.
    """
    placed = {}
    for name, given in networks.items():
        try:
            network, data = _packed(given, config)
        except (ConfigError, FormatError) as error:
            if len(networks) == 1:
                raise
            raise type(error)(f"Network {name!r}: {error}") from error
        placed[name] = PlacedImage(network, data, address)
        address = aligned(placed[name].end)
    return placed


def aligned(address: int) -> int:
    """The first place for an image at or behind ``address``."""
    return -(-address // IMAGE_ALIGNMENT) * IMAGE_ALIGNMENT


def joined(images: Iterable[PlacedImage]) -> bytes:
    """The memory's contents from the first image on, zeros between images: what a programmer writes into a flash."""
    images = list(images)
    first = images[0].address
    content = bytearray(images[-1].end - first)
    for one in images:
        content[one.address - first:one.end - first] = one.data
    return bytes(content)


def separated(content: bytes) -> list[tuple[int, image.Image]]:
    """The images in what `joined` made, each with its place; a single one for an image alone.

    Raises
    ------
    FormatError
        If one of them is damaged.
    """
    found, start = [], 0
    while (following := image.next_image(content, start)) is not None:
        found.append((start, image.parse(content[start:start + image.stated_bytes(content, start)])))
        start = following
    return [*found, (start, image.parse(content[start:]))]


def engine_for(networks: Network | Mapping[str, Network] | None, given: Mapping[str, int]) -> EngineConfig:
    """The default engine with parameters as ``given``, and the others raised to what the networks need."""
    sizes: dict[str, Any] = EngineConfig().as_dict()
    for network in _values(networks) if networks is not None else ():
        sizes |= {name: max(sizes[name], least) for name, least in image.required(network).items()}
    return EngineConfig(**{**sizes, **given})


def memory_bytes_for(networks: Network | Mapping[str, Network], config: EngineConfig) -> int:
    """The smallest power of two that holds the images of all the networks."""
    sizes = [image_layout(network, config.bus_bytes).image_bytes for network in _values(networks)]
    return 1 << (sum(aligned(size) for size in sizes) - 1).bit_length()


def engine_parameters(text: str, kind: str, others: Iterable[str] = ()) -> tuple[dict[str, int], dict[str, str]]:
    """``NAME=VALUE,...`` in the name of a device of some kind: parameters of EngineConfig, and those of ``others``.

    Raises
    ------
    ConfigError
        If the text is not of that form.
    """
    known = (*PARAMETERS, *others)
    pairs = dict(_pair(item, kind, known) for item in text.split(",") if item)
    rest = {name: pairs.pop(name) for name in others if name in pairs}
    return {name: _integer(name, value, kind) for name, value in pairs.items()}, rest


def _values(networks: Network | Mapping[str, Network]) -> Iterable[Network]:
    return [networks] if isinstance(networks, Network) else networks.values()


def _pair(item: str, kind: str, known: tuple[str, ...]) -> tuple[str, str]:
    name, _, value = item.partition("=")
    if name not in known or not value:
        raise ConfigError(f"{item!r} in the name of a {kind} must be NAME=VALUE with one of {', '.join(known)}")
    return name, value


def _integer(name: str, value: str, kind: str) -> int:
    if not value.isdecimal():
        raise ConfigError(f"{name} of a {kind} must be an integer, not {value!r}")
    if name in SWITCHES and value in ("0", "1"):
        return value == "1"
    return int(value)


def _packed(given: Loadable, config: EngineConfig) -> tuple[Network, bytes]:
    """The network and its image, verified."""
    if isinstance(given, Network):
        return given, image.pack(given, config)
    if not isinstance(given, (bytes, bytearray, memoryview)):
        raise ConfigError(f"A device loads a Network, an image in bytes, or several in a mapping from their names, not {type(given).__name__}")
    parsed = image.parse(bytes(given))
    if parsed.bus_bits != config.bus_bits:
        raise ConfigError(f"The image is packed for a bus of {parsed.bus_bits} bits, the engine has {config.bus_bits}; pack the network again")
    network = parsed.network()
    image.check_fits(network, config)
    return network, bytes(given)

"""What a network needs of an engine, and whether an engine has it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from ..config import EngineConfig, as_options
from ..errors import ConfigError
from ..network import Network
from .codec import lane_words

_LARGEST_BLOCK = 4096                  # outputs of a block in the largest engine
_ANY_SEGMENTS = _LARGEST_BLOCK // 2    # outputs with which segments of 8 bits an output fit it
_OBEYED = {"levels", "block_outputs"}  # limits that a network keeps if it is compressed for an engine; others are those of its layers


def required(network: Network) -> dict[str, int]:
    """The limits of the smallest engine that runs a network on any bus: ``EngineConfig`` parameters, powers of two where those are."""
    needs = _needs(network)
    return {
        "features": _power_of_two(needs["features"]),
        "block_outputs": _power_of_two(max(needs["block_outputs"], 2 * _longest_segment(network).bytes)),
        "levels": 8 if needs["levels"] <= 8 else 16,
        "accumulator_bits": max(needs["accumulator_bits"], 16),
        "tables": network.has_tables,
    }


def _power_of_two(value: int) -> int:
    return max(1 << (value - 1).bit_length(), 16)


def check_fits(network: Network, config: EngineConfig) -> None:
    """Raise ConfigError unless an engine of this configuration can run the network."""
    problems = _problems(network, config)
    if not problems:
        return
    least = required(network)
    changes = {name: least[name] for name in problems}
    problem = next(iter(problems.values()))
    try:
        dataclasses.replace(config, **changes)
    except ConfigError:
        most = _LARGEST_BLOCK if network.most_block_outputs > _LARGEST_BLOCK else _ANY_SEGMENTS
        raise ConfigError(f"{problem}, and no engine has enough: "
                          f"compress the network with block_outputs of at most {most}") from None
    cure = "" if problems.keys() - _OBEYED else (
        f"compress it again for this engine ({as_options({name: getattr(config, name) for name in problems})}), or ")
    parameters = ", ".join(f"{name}={value}" for name, value in changes.items())
    raise ConfigError(f"{problem}: {cure}an EngineConfig with {parameters} would fit ({as_options(changes)})")


def _problems(network: Network, config: EngineConfig) -> dict[str, str]:
    """By the parameter that is too small, a sentence without its end."""
    needs, longest = _needs(network), _longest_segment(network)
    found = {name: f"The network needs an engine with {name} >= {value}, but this one has {getattr(config, name)}"
             for name, value in needs.items() if value > getattr(config, name)}
    if longest.bytes > config.segment_bytes:
        found.setdefault("block_outputs", f"{longest.name} takes {longest.bytes} bytes, "
                                          f"but a lane of this engine holds {config.segment_bytes}")
    if network.has_tables and not config.tables:
        found["tables"] = "The network needs an engine with tables, since it has functions other than ReLU and clamps, but this one has none"
    return found


def _needs(network: Network) -> dict[str, int]:
    """What the network needs of each limit, before rounding to what engines are built with."""
    return {
        "features": network.widest,
        "block_outputs": network.most_block_outputs,
        "levels": network.most_levels,
        "accumulator_bits": network.accumulator_bits,
    }


@dataclass(frozen=True)
class _LongestSegment:
    """The longest of all segments that a lane has to hold.

    Members
    -------
    bytes : int
    name : str
        Where it lies, for a message.
    """

    bytes: int
    name: str


def _longest_segment(network: Network) -> _LongestSegment:
    classes = [(lane_words(segments, 8), number, segments)
               for number, layer in enumerate(network.layers) for block in layer.blocks for segments in block]
    size, number, segments = max(classes, key=lambda entry: entry[0])
    return _LongestSegment(size, f"A {segments.kind.value} segment of features {segments.first} to {segments.end - 1} in layer {number}")

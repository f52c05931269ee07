"""Stands in for a board's platform when its complete top is simulated: the same resources, as pins that a test bench drives."""

from __future__ import annotations

from types import SimpleNamespace

from amaranth.build import Platform, Resource, Subsignal
from amaranth.build.dsl import Pins
from amaranth.hdl import Signal
from amaranth.lib.io import Direction, SimulationPort


class SimulatedPlatform:
    """Gives out simulation ports for the resources of a platform class, with its names, widths, directions and inversions.

    Members
    -------
    signals : list of Signal
        The pins that were requested: ``<resource>_<number>__<subsignal>__i``, ``__o`` and ``__oe``, those that their direction has.
    """

    def __init__(self, platform: type[Platform]) -> None:
        self._resources = {(resource.name, resource.number): resource for resource in platform.resources}
        self.signals: list[Signal] = []

    def request(self, name: str, number: int = 0, *, dir: str = "-") -> SimulationPort | SimpleNamespace:
        """As ``platform.request``; ``dir`` must be ``"-"``: the pins without buffers."""
        return self._ports(self._resources[name, number], f"{name}_{number}")

    def _ports(self, node: Resource | Subsignal, name: str) -> SimulationPort | SimpleNamespace:
        if isinstance(node.ios[0], Pins):
            return self._port(node.ios[0], name)
        return SimpleNamespace(**{part.name: self._ports(part, f"{name}__{part.name}") for part in node.ios if isinstance(part, Subsignal)})

    def _port(self, pins: Pins, name: str) -> SimulationPort:
        direction = Direction.Bidir if pins.dir in ("io", "oe") else Direction(pins.dir)
        port = SimulationPort(direction, len(pins.names), invert=pins.invert, name=name)
        if direction is not Direction.Output:
            self.signals.append(port.i)
        if direction is not Direction.Input:
            self.signals += [port.o, port.oe]
        return port

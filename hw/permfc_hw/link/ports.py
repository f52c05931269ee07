"""How the link reaches the engine's registers and the memory: AXI channels as streams."""

from __future__ import annotations

from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from permfc.config import EngineConfig

from ..orders import ADDRESS_BITS
from ..registers import ADDRESS_BITS as REGISTER_ADDRESS_BITS

REGISTER_PORT = wiring.Signature({
    "write_address": Out(stream.Signature(REGISTER_ADDRESS_BITS)),
    "write_data": Out(stream.Signature(32)),
    "write_response": In(stream.Signature(0)),
    "read_address": Out(stream.Signature(REGISTER_ADDRESS_BITS)),
    "read_data": In(stream.Signature(32)),
})
"""An AXI4-Lite master."""


class WriteBeat(data.StructLayout):
    """A beat of the AXI W channel: a bus word, and which of its bytes are written."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"data": config.bus_bits, "strobe": config.bus_bytes})


class ReadBeat(data.StructLayout):
    """A beat of the AXI R channel: a bus word, or an error."""

    def __init__(self, config: EngineConfig) -> None:
        super().__init__({"data": config.bus_bits, "error": 1})


def memory_port(config: EngineConfig) -> wiring.Signature:
    """An AXI4 master that moves one bus word at a time. Addresses are those of whole words."""
    return wiring.Signature({
        "write_address": Out(stream.Signature(ADDRESS_BITS)),
        "write_data": Out(stream.Signature(WriteBeat(config))),
        "write_error": In(stream.Signature(1)),
        "read_address": Out(stream.Signature(ADDRESS_BITS)),
        "read_data": In(stream.Signature(ReadBeat(config))),
    })

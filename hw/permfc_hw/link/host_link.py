"""HostLink: the boxes of the link, joined."""

from __future__ import annotations

from amaranth.hdl import Module, Mux, unsigned
from amaranth.lib import stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out, connect, flipped

from permfc.config import EngineConfig

from ..memory import BLOCK, registered_read
from .config import LinkConfig
from .deframer import Deframer
from .executor import Executor, identity_address
from .framer import Framer
from .ports import REGISTER_PORT, memory_port
from .receive_buffer import ReceiveBuffer
from .serial_crc import SerialCrc
from .uart import UartReceiver, UartTransmitter


class HostLink(wiring.Component):
    """Serves a host on a serial line as docs/protocol.md says: UartReceiver > Deframer > ReceiveBuffer > Executor > Framer > UartTransmitter.

    Members
    -------
    uart_rx, uart_tx : In(1, init=1), Out(1)
    registers : Out(REGISTER_PORT), memory : Out(memory_port)
    inputs : Out(stream of 8 bits)
    results : In(stream of 32 bits), last : In(1)
    reading_memory : Out(1)
        The link uses the memory's read channels; the engine is not busy.
    """

    def __init__(self, config: EngineConfig, link: LinkConfig) -> None:
        self.config = config
        self.link = link
        super().__init__({
            "uart_rx": In(1, init=1),
            "uart_tx": Out(1, init=1),
            "registers": Out(REGISTER_PORT),
            "memory": Out(memory_port(config)),
            "inputs": Out(stream.Signature(8)),
            "results": In(stream.Signature(32)),
            "last": In(1),
            "reading_memory": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.receiver = receiver = UartReceiver(self.link.clocks_per_bit)
        m.submodules.deframer = deframer = Deframer()
        m.submodules.buffer = buffer = ReceiveBuffer(self.link.receive_bytes)
        m.submodules.executor = executor = Executor(self.config, self.link)
        m.submodules.framer = framer = Framer(len(executor.write_address))
        m.submodules.transmitter = transmitter = UartTransmitter(self.link.clocks_per_bit)
        m.d.comb += [receiver.line.eq(self.uart_rx), self.uart_tx.eq(transmitter.line)]
        for name in ("byte", "received", "broken"):
            m.d.comb += getattr(deframer, name).eq(getattr(receiver, name))
        for name in ("data", "data_en", "end", "correct"):
            m.d.comb += getattr(buffer, name).eq(getattr(deframer, name))
        connect(m, buffer.entries, executor.entries)
        connect(m, framer.bytes, transmitter.bytes)
        connect(m, executor.registers, flipped(self.registers))
        connect(m, executor.memory, flipped(self.memory))
        connect(m, executor.inputs, flipped(self.inputs))
        connect(m, flipped(self.results), executor.results)
        m.d.comb += [executor.last.eq(self.last), self.reading_memory.eq(executor.reading_memory)]
        self._connect_reply(m, executor, framer)
        self._share_crc(m, executor, framer)
        return m

    def _connect_reply(self, m: Module, executor: Executor, framer: Framer) -> None:
        """The reply memory: payloads from its beginning, the identity at its end."""
        content = [*bytes(identity_address(self.link)), *self.link.identity().pack()]
        m.submodules.reply = reply = Memory(shape=unsigned(8), depth=len(content), init=content, attrs=BLOCK)
        write = reply.write_port()
        m.d.comb += [
            write.en.eq(executor.write_en),
            write.addr.eq(executor.write_address),
            write.data.eq(executor.write_data),
            framer.read_data.eq(registered_read(m, reply, framer.read_address)),
            framer.send.eq(executor.send),
            executor.sent.eq(framer.sent),
            framer.end.eq(executor.write_address),
        ]
        for name in ("sequence", "status", "next", "with_payload", "first"):
            m.d.comb += getattr(framer, name).eq(getattr(executor, name))

    def _share_crc(self, m: Module, executor: Executor, framer: Framer) -> None:
        """One CRC serves the memory's bytes and then the reply."""
        m.submodules.crc = crc = SerialCrc()
        sending = executor.send
        m.d.comb += [
            crc.restart.eq(Mux(sending, framer.crc_restart, executor.crc_restart)),
            crc.emit.eq(Mux(sending, framer.crc_emit, executor.crc_emit)),
            crc.bytes.payload.eq(Mux(sending, framer.crc_bytes.payload, executor.crc_bytes.payload)),
            crc.bytes.valid.eq(Mux(sending, framer.crc_bytes.valid, executor.crc_bytes.valid)),
            framer.crc_bytes.ready.eq(crc.bytes.ready),
            executor.crc_bytes.ready.eq(crc.bytes.ready),
            framer.crc.eq(crc.crc),
            executor.crc.eq(crc.crc),
        ]

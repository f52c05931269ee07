"""Executor: requests in, deeds, replies out."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Mux, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out
from amaranth.utils import ceil_log2

from permfc.config import EngineConfig
from permfc.device.link.protocol import IDENTITY, PATIENCE_CYCLES, Command, ReplyStatus
from permfc.format import Control, Register, Status

from .config import LinkConfig
from .operands import WORD_BYTES, Operands
from .ports import REGISTER_PORT, memory_port
from .receive_buffer import Entry

TAKES_ADDRESS = (Command.READ_REGISTER, Command.WRITE_REGISTER, Command.WRITE_MEMORY, Command.CRC_MEMORY)
TAKES_VALUE = (Command.HELLO, Command.WRITE_REGISTER, Command.CRC_MEMORY)


def identity_address(link: LinkConfig) -> int:
    """Where the identity lies in the reply memory from the beginning: at its end, so that HELLO's nonce, at address 0, follows it."""
    return 2 * link.largest_payload - IDENTITY.size


class Executor(wiring.Component):
    """Executes requests one after the other, each once, as docs/protocol.md says.

    Members
    -------
    entries : In(stream of Entry)
        Requests from the ReceiveBuffer.
    registers : Out(REGISTER_PORT), memory : Out(memory_port)
    inputs : Out(stream of 8 bits)
    results : In(stream of 32 bits), last : In(1)
    reading_memory : Out(1)
        The link uses the memory's read channels; the engine is not busy.
    write_en, write_address, write_data : Out
        To the reply memory, of ``2 * largest_payload`` bytes.
    crc_restart, crc_bytes, crc_emit, crc : to and from a SerialCrc
    send : Out(1), sent : In(1)
    sequence, status, next : Out(8), with_payload : Out(1), first : Out
        The reply, as of the Framer.
    """

    def __init__(self, config: EngineConfig, link: LinkConfig) -> None:
        self.config = config
        self.link = link
        address_bits = ceil_log2(2 * link.largest_payload)
        super().__init__({
            "entries": In(stream.Signature(Entry)),
            "registers": Out(REGISTER_PORT),
            "memory": Out(memory_port(config)),
            "inputs": Out(stream.Signature(8)),
            "results": In(stream.Signature(32)),
            "last": In(1),
            "reading_memory": Out(1),
            "write_en": Out(1),
            "write_address": Out(address_bits),
            "write_data": Out(8),
            "crc_restart": Out(1),
            "crc_bytes": Out(stream.Signature(8)),
            "crc_emit": Out(1),
            "crc": In(8),
            "send": Out(1),
            "sent": In(1),
            "sequence": Out(8),
            "status": Out(8),
            "next": Out(8),
            "with_payload": Out(1),
            "first": Out(address_bits),
        })
        self._command = Signal(Command)
        self._operands = Operands()
        self._count = Signal(range(2 * WORD_BYTES))  # bytes of arguments or of a word so far
        self._outcome = Signal(ReplyStatus)          # of the last request that was executed
        self._refusal = Signal(ReplyStatus)          # of the present one if it is not
        self._greeting = Signal()                    # the identity belongs to the reply
        self._ended = Signal()                       # the results' last is in the reply
        self._silent = Signal()                      # the memory owes an answer for good
        self._waiting = Signal()                     # for the engine or the memory; only so long
        self._gave_up = Signal()

    def elaborate(self, platform: object) -> Module:
        m = Module()
        waited = Signal(ceil_log2(PATIENCE_CYCLES) + 1)
        m.d.comb += self._gave_up.eq(waited[-1])
        with m.If(~self._waiting):
            m.d.sync += waited.eq(0)
        with m.Elif(~self._gave_up):
            m.d.sync += waited.eq(waited + 1)
        m.submodules.operands = self._operands
        self._reply(m)
        self._wire_ports(m)
        with m.FSM():
            self._receive(m)
            self._take_arguments(m)
            self._end_request(m)
            self._await_engine(m)
            self._access_registers(m)
            if self.link.memory_writable:
                self._write_memory(m)
            self._digest_memory(m)
            self._send_input(m)
            self._read_output(m)
            self._store(m)
        return m

    def _is(self, *commands: Command) -> Signal:
        return self._command.matches(*commands)

    def _finish(self, m: Module, status: ReplyStatus = ReplyStatus.OK) -> None:
        """The command is over; what is left of its payload is skipped."""
        if status is not ReplyStatus.OK:
            m.d.sync += self._outcome.eq(status)
        m.next = "Skip"

    def _reply(self, m: Module) -> None:
        m.d.comb += [
            self.status.eq(Mux(self._refusal == ReplyStatus.OK, self._outcome, self._refusal)),
            self.with_payload.eq(self.status == ReplyStatus.OK),
            self.first.eq(Mux(self._greeting, identity_address(self.link), 0)),
        ]
        with m.If(self.write_en):
            m.d.sync += self.write_address.eq(self.write_address + 1)

    def _wire_ports(self, m: Module) -> None:
        """What does not depend on the state."""
        registers, memory, byte = self.registers, self.memory, self.entries.payload.byte
        operands, address, value = self._operands, self._operands.address, self._operands.value
        offset_bits = ceil_log2(self.config.bus_bytes)
        clears = self._is(Command.HELLO)  # the payload of HELLO is a nonce, the engine is cleared instead
        word = Cat(Const(0, offset_bits), address[offset_bits:])
        m.d.comb += [
            operands.byte.eq(byte),
            operands.word.eq(registers.read_data.payload),
            registers.write_address.payload.eq(Mux(clears, Register.CONTROL, address)),
            registers.write_data.payload.eq(Cat(Mux(clears, Control.CLEAR, value[:2]), value[2:])),
            registers.read_address.payload.eq(Mux(self._is(Command.READ_REGISTER), address, Register.STATUS)),
            memory.read_address.payload.eq(word),
            self.crc_bytes.payload.eq(memory.read_data.payload.data.word_select(address[:offset_bits], 8)),
            self.inputs.payload.eq(byte),
        ]
        if self.link.memory_writable:
            m.d.comb += [
                memory.write_address.payload.eq(word),
                memory.write_data.payload.data.eq(byte.replicate(self.config.bus_bytes)),
                memory.write_data.payload.strobe.eq(1 << address[:offset_bits]),
            ]

    def _receive(self, m: Module) -> None:
        """A request's number and command, and whether it is to be executed."""
        entries, entry = self.entries, self.entries.payload
        opened, known = Signal(), Signal()
        behind = Signal(8)
        m.d.comb += behind.eq(self.next - self.sequence)
        with m.State("Sequence"):
            m.d.comb += entries.ready.eq(1)
            m.d.sync += self.sequence.eq(entry.byte)
            with m.If(entries.valid & ~entry.end):
                m.next = "Command"
        with m.State("Command"):
            m.d.comb += entries.ready.eq(1)
            m.d.sync += [self._command.eq(entry.byte), known.eq(entry.byte < len(Command))]
            with m.If(entries.valid):
                m.next = "Judge"
                with m.If(entry.end):
                    m.next = "Sequence"
        with m.State("Judge"):
            hello = known & self._is(Command.HELLO)
            m.d.sync += [self._refusal.eq(ReplyStatus.OK), self._count.eq(Mux(hello, WORD_BYTES, 0)), self._ended.eq(0)]
            with m.If(hello | (opened & (behind == 0))):
                m.d.sync += [
                    opened.eq(1),
                    self.next.eq(self.sequence + 1),
                    self._outcome.eq(ReplyStatus.OK),
                    self.write_address.eq(0),
                    self._greeting.eq(hello),
                ]
                with m.If(~known):
                    self._finish(m, ReplyStatus.UNKNOWN_COMMAND)
                with m.Elif(self._is(*TAKES_ADDRESS, *TAKES_VALUE)):
                    m.next = "Arguments"
                with m.Else():
                    m.next = "Ask Status"
            with m.Else():
                m.next = "Skip"
                with m.If(~opened):
                    m.d.sync += self._refusal.eq(ReplyStatus.NOT_OPEN)
                with m.Elif(behind[-1]):
                    m.d.sync += self._refusal.eq(ReplyStatus.GAP)
                with m.Elif(behind != 1):
                    m.d.sync += self._refusal.eq(ReplyStatus.REPEATED)

    def _take_arguments(self, m: Module) -> None:
        entries, entry = self.entries, self.entries.payload
        with m.State("Arguments"):
            m.d.comb += entries.ready.eq(~entry.end)
            with m.If(entries.valid & entry.end):
                self._finish(m, ReplyStatus.BAD_PAYLOAD)
            with m.Elif(entries.valid):
                m.d.sync += self._count.eq(self._count + 1)
                m.d.comb += [self._operands.shift_value.eq(self._count[-1]), self._operands.shift_address.eq(~self._count[-1])]
                with m.If(self._count[:2].all() & (self._count[-1] | ~self._is(*TAKES_VALUE))):
                    m.d.sync += self._count.eq(0)
                    with m.Switch(self._command):
                        with m.Case(Command.READ_REGISTER):
                            m.next = "Ask Register"
                        with m.Case(Command.WRITE_REGISTER):
                            m.next = "Write Register"
                        with m.Default():
                            m.next = "Ask Status"

    def _end_request(self, m: Module) -> None:
        with m.State("Skip"):
            m.d.comb += self.entries.ready.eq(1)
            with m.If(self.entries.valid & self.entries.payload.end):
                m.next = "Send"
        with m.State("Send"):
            m.d.comb += self.send.eq(1)
            with m.If(self.sent):
                m.next = "Sequence"

    def _await_engine(self, m: Module) -> None:
        """STATUS is read until the engine is not busy; HELLO throws results away until none are left, which may also keep it busy."""
        status, hello = self.registers.read_data, self._is(Command.HELLO)
        with m.State("Ask Status"):
            m.d.comb += [self._waiting.eq(1), self.registers.read_address.valid.eq(1), self.results.ready.eq(hello)]
            with m.If(self.registers.read_address.ready):
                m.next = "Judge Status"
        with m.State("Judge Status"):
            m.d.comb += [self._waiting.eq(1), status.ready.eq(1), self.results.ready.eq(hello)]
            with m.If(status.valid):
                with m.If(((status.payload & Status.BUSY) == 0) & ~(hello & ((status.payload & Status.RESULTS) != 0))):
                    m.d.comb += self._waiting.eq(0)  # what follows may take as long again
                    self._begin(m)
                with m.Elif(self._gave_up):
                    self._finish(m, ReplyStatus.BUSY)
                with m.Else():
                    m.next = "Ask Status"

    def _begin(self, m: Module) -> None:
        """The first state of each command that needs the engine at rest."""
        with m.Switch(self._command):
            with m.Case(Command.HELLO):
                m.next = "Write Register"
            with m.Case(Command.WAIT):
                m.next = "Ask Register"
            with m.Case(Command.SEND_INPUT):
                m.next = "Send Input"
            with m.Case(Command.READ_OUTPUT):
                m.next = "Store Results"
            with m.Case(Command.WRITE_MEMORY):
                if self.link.memory_writable:
                    m.next = "Next Byte"
                else:
                    self._finish(m, ReplyStatus.READ_ONLY)
            with m.Case(Command.CRC_MEMORY):
                m.d.comb += [self.crc_restart.eq(1), self._operands.go.eq(1)]
                m.next = "Next Word"
        with m.If(self._silent & self._is(Command.WRITE_MEMORY, Command.CRC_MEMORY)):
            self._finish(m, ReplyStatus.MEMORY_SILENT)

    def _access_registers(self, m: Module) -> None:
        registers = self.registers
        taken = [Signal(name=f"{channel}_taken") for channel in ("address", "data")]
        with m.State("Ask Register"):
            m.d.comb += registers.read_address.valid.eq(1)
            with m.If(registers.read_address.ready):
                m.next = "Take Register"
        with m.State("Take Register"):
            m.d.comb += [registers.read_data.ready.eq(1), self._operands.load.eq(1)]
            with m.If(registers.read_data.valid):
                m.next = "Store Value"
        with m.State("Write Register"):
            for channel, done in zip((registers.write_address, registers.write_data), taken, strict=True):
                m.d.comb += channel.valid.eq(~done)
                with m.If(channel.ready):
                    m.d.sync += done.eq(1)
            m.d.comb += registers.write_response.ready.eq(1)
            with m.If(registers.write_response.valid):
                m.d.sync += [done.eq(0) for done in taken]
                self._finish(m)
                with m.If(self._is(Command.HELLO)):
                    m.next = "Store Value"

    def _write_memory(self, m: Module) -> None:
        """A byte at a time, for the line is slower still."""
        memory, entries = self.memory, self.entries
        channels = (memory.write_address, memory.write_data)
        with m.State("Next Byte"):
            with m.If(self._operands.busy):
                pass
            with m.Elif(entries.valid & entries.payload.end):
                self._finish(m)
            with m.Elif(entries.valid):
                m.d.sync += [channel.valid.eq(1) for channel in channels]
                m.next = "Await Write"
        with m.State("Await Write"):
            m.d.comb += [self._waiting.eq(1), memory.write_error.ready.eq(1)]
            for channel in channels:
                with m.If(channel.ready):
                    m.d.sync += channel.valid.eq(0)
            with m.If(memory.write_error.valid):
                m.d.comb += [entries.ready.eq(1), self._operands.go.eq(1), self._operands.increment.eq(1)]
                m.next = "Next Byte"
                with m.If(memory.write_error.payload):
                    self._finish(m, ReplyStatus.MEMORY_ERROR)
            with m.Elif(self._gave_up):
                m.d.sync += [channel.valid.eq(0) for channel in channels]
                self._lose_memory(m)

    def _lose_memory(self, m: Module) -> None:
        """An answer that comes now would be taken for that to a later question, so there is none."""
        m.d.sync += self._silent.eq(1)
        self._finish(m, ReplyStatus.MEMORY_SILENT)

    def _digest_memory(self, m: Module) -> None:
        """The CRC takes the bytes of a word where the memory holds them, on its read data channel."""
        memory, operands = self.memory, self._operands
        at_end, at_word, error = operands.equal, operands.address[:ceil_log2(self.config.bus_bytes)] == 0, memory.read_data.payload.error
        with m.State("Next Word"):
            with m.If(~operands.busy):
                m.d.sync += memory.read_address.valid.eq(~at_end)
                m.next = "Digest"
                with m.If(at_end):
                    m.next = "Store CRC"
        with m.State("Digest"):
            m.d.comb += [self._waiting.eq(1), self.reading_memory.eq(1), self.crc_bytes.valid.eq(memory.read_data.valid)]
            with m.If(memory.read_address.ready):
                m.d.sync += memory.read_address.valid.eq(0)
            with m.If(memory.read_data.valid & self.crc_bytes.ready):
                m.d.comb += [operands.go.eq(1), operands.increment.eq(1)]
                m.next = "Next Digit"
            with m.Elif(self._gave_up):
                m.d.sync += memory.read_address.valid.eq(0)
                self._lose_memory(m)
        with m.State("Next Digit"):
            m.d.comb += self.reading_memory.eq(1)
            with m.If(~operands.busy):
                m.d.comb += memory.read_data.ready.eq(at_end | at_word | error)
                m.next = "Digest"
                with m.If(error):
                    self._finish(m, ReplyStatus.MEMORY_ERROR)
                with m.Elif(at_end | at_word):
                    m.next = "Next Word"

    def _send_input(self, m: Module) -> None:
        inputs, entries = self.inputs, self.entries
        with m.State("Send Input"):
            m.d.comb += [
                inputs.valid.eq(entries.valid & ~entries.payload.end),
                entries.ready.eq(inputs.ready & ~entries.payload.end),
                self._waiting.eq(inputs.valid & ~inputs.ready),
            ]
            with m.If(entries.valid & entries.payload.end):
                self._finish(m)
            with m.Elif(self._gave_up):
                self._finish(m, ReplyStatus.BUSY)

    def _read_output(self, m: Module) -> None:
        full = self.write_address == self.link.largest_payload - WORD_BYTES
        over = (self._count == 0) & (full | self._ended | self._gave_up)
        with m.State("Store Results"):
            m.d.comb += [
                self._waiting.eq(~self.results.valid),
                self.write_en.eq(self.results.valid & ~over),
                self.write_data.eq(self.results.payload.word_select(self._count[:2], 8)),
            ]
            with m.If(over):
                m.next = "Store End"
            with m.Elif(self.results.valid):
                self._count_store(m, self.results.ready)
                m.d.sync += self._ended.eq(self.last & self.results.ready)
        with m.State("Store End"):
            m.d.comb += [self.write_en.eq(1), self.write_data.eq(self._ended)]
            self._finish(m)

    def _count_store(self, m: Module, last: Signal) -> None:
        """One more byte of a word of the reply; ``last`` goes high with its last byte."""
        m.d.comb += last.eq(self._count == WORD_BYTES - 1)
        m.d.sync += self._count.eq(Mux(last, 0, self._count + 1))

    def _store(self, m: Module) -> None:
        """The payload of the reply, a byte at a time."""
        last = Signal()
        with m.State("Store Value"):
            m.d.comb += [self.write_en.eq(1), self.write_data.eq(self._operands.value[:8]), self._operands.shift_value.eq(1)]
            self._count_store(m, last)
            with m.If(last):
                self._finish(m)
        with m.State("Store CRC"):
            m.d.comb += [self.crc_bytes.valid.eq(1), self.crc_emit.eq(1), self.write_en.eq(self.crc_bytes.ready), self.write_data.eq(self.crc)]
            with m.If(self.crc_bytes.ready):
                self._count_store(m, last)
                with m.If(last):
                    self._finish(m)

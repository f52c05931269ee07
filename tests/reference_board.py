"""The far end of the link in Python, after docs/protocol.md and with the golden model as its engine: a line that a Session can talk over."""

from __future__ import annotations

import os
import select
import struct
import threading
import tty
import zlib
from collections.abc import Callable

import numpy as np

from permfc import image
from permfc.config import EngineConfig
from permfc.device.link.frames import FrameDecoder, encode
from permfc.device.link.protocol import CRC_BYTES, LINK_VERSION, Command, Identity, ReplyStatus
from permfc.errors import PermfcError
from permfc.format import MAGIC, VERSION, Control, ErrorCode, Register, Status
from permfc.image import predicted_traffic

CONFIG = EngineConfig(lanes=4, bus_bits=16)
IDENTITY = Identity(
    LINK_VERSION, VERSION, "reference", True, clock_hz=100_000_000, memory_bytes=1 << 20, image_address=4096, receive_bytes=2048, largest_payload=512,
)


class Engine:
    """What the registers, the input and the results do."""

    def __init__(self, memory: bytearray) -> None:
        self.memory = memory
        self.registers = dict.fromkeys(Register, 0) | {
            Register.ID: MAGIC, Register.VERSION: VERSION, Register.CONFIG0: CONFIG.lanes | 1 << 8 | CONFIG.levels << 16 | CONFIG.outstanding << 24,
            Register.CONFIG1: CONFIG.block_outputs | CONFIG.features << 16, Register.CONFIG2: CONFIG.accumulator_bits | CONFIG.tables << 8,
            Register.CYCLES: 1,
        }
        self.clear()

    def clear(self) -> None:
        self.inputs, self.results = b"", np.empty(0, dtype="<i4")
        self.registers[Register.STATUS] = 0

    def write(self, register: int, value: int) -> None:
        if register == Register.CONTROL and value & Control.CLEAR:
            self.clear()
        elif register == Register.CONTROL and value & Control.START:
            self._run()
        elif register == Register.IMAGE_BASE:
            self.registers[register] = value

    def _run(self) -> None:
        base = self.registers[Register.IMAGE_BASE]
        try:
            size = struct.unpack_from("<I", self.memory, base + 16)[0]
            network = image.parse(bytes(self.memory[base:base + size])).network()
        except PermfcError:
            return self._stop(ErrorCode.MAGIC)
        x = np.frombuffer(self.inputs, dtype=np.int8)[np.newaxis]
        if x.shape[1] != network.inputs:
            return self._stop(ErrorCode.INPUT_LENGTH)
        traffic = predicted_traffic(network, x, CONFIG)
        self.results = network.compute(x)[0].astype("<i4")
        self.registers |= {
            Register.BEATS: int(traffic.total_words[0]), Register.SEGMENTS_FETCHED: int(traffic.fetched.sum()),
            Register.SEGMENTS_SKIPPED: int(traffic.skipped.sum()),
        }
        self.inputs = b""
        return self._stop(ErrorCode.NONE)

    def _stop(self, error: ErrorCode) -> None:
        self.registers[Register.STATUS] = Status.DONE | error << 8


class ReferenceBoard:
    """A board as docs/protocol.md has it: `feed` it bytes from the line, and it gives those that it sends."""

    def __init__(self, identity: Identity = IDENTITY) -> None:
        self.identity = identity
        self.memory = bytearray(identity.memory_bytes)
        self.executed: list[Command] = []
        self.overflows = 0  # frames that found no room
        self.busy = 0  # replies BUSY that WAIT gives before it gives OK
        self.reset()

    def reset(self) -> None:
        self.engine = Engine(self.memory)
        self.next, self.opened, self.last = 0, False, b""
        self.decoder = FrameDecoder()

    def feed(self, data: bytes) -> bytes:
        replies, room = [], self.identity.receive_bytes
        for frame in self.decoder.feed(data):
            room -= len(frame) + CRC_BYTES
            if room < 0:
                self.overflows += 1
            elif len(frame) >= 2:
                replies.append(self._reply(frame))
        return b"".join(replies)

    def _reply(self, frame: bytes) -> bytes:
        sequence, command, payload = frame[0], frame[1], frame[2:]
        behind = (self.next - sequence) % 256
        if command == Command.HELLO or (self.opened and behind == 0):
            self.opened, self.next = True, (sequence + 1) % 256
            status, answer = self._execute(command, payload)
            self.last = encode(bytes([sequence, status, self.next]) + answer)
            return self.last
        if self.opened and behind == 1:
            return self.last
        status = ReplyStatus.NOT_OPEN if not self.opened else ReplyStatus.REPEATED if behind < 128 else ReplyStatus.GAP
        return encode(bytes([sequence, status, self.next]))

    def _execute(self, command: int, payload: bytes) -> tuple[ReplyStatus, bytes]:
        deeds: dict[int, Callable[[bytes], tuple[ReplyStatus, bytes]]] = {
            Command.HELLO: self._hello, Command.READ_REGISTER: self._read, Command.WRITE_REGISTER: self._write,
            Command.WRITE_MEMORY: self._write_memory, Command.CRC_MEMORY: self._crc, Command.SEND_INPUT: self._input,
            Command.WAIT: self._wait, Command.READ_OUTPUT: self._output,
        }
        if command not in deeds:
            return ReplyStatus.UNKNOWN_COMMAND, b""
        self.executed.append(Command(command))
        return deeds[command](payload)

    def _hello(self, payload: bytes) -> tuple[ReplyStatus, bytes]:
        self.engine.clear()
        return ReplyStatus.OK, self.identity.pack() + payload[:4]

    def _read(self, payload: bytes) -> tuple[ReplyStatus, bytes]:
        return ReplyStatus.OK, struct.pack("<I", self.engine.registers[struct.unpack("<I", payload)[0]])

    def _write(self, payload: bytes) -> tuple[ReplyStatus, bytes]:
        self.engine.write(*struct.unpack("<II", payload))
        return ReplyStatus.OK, b""

    def _write_memory(self, payload: bytes) -> tuple[ReplyStatus, bytes]:
        address, data = struct.unpack_from("<I", payload)[0], payload[4:]
        if not self.identity.memory_writable:
            return ReplyStatus.READ_ONLY, b""
        if address + len(data) > len(self.memory):
            return ReplyStatus.MEMORY_ERROR, b""
        self.memory[address:address + len(data)] = data
        return ReplyStatus.OK, b""

    def _crc(self, payload: bytes) -> tuple[ReplyStatus, bytes]:
        begin, end = struct.unpack("<II", payload)
        return ReplyStatus.OK, struct.pack("<I", zlib.crc32(self.memory[begin:end]))

    def _input(self, payload: bytes) -> tuple[ReplyStatus, bytes]:
        if self.engine.results.size:
            return ReplyStatus.BUSY, b""
        self.engine.inputs += payload
        return ReplyStatus.OK, b""

    def _wait(self, payload: bytes) -> tuple[ReplyStatus, bytes]:
        if self.busy:
            self.busy -= 1
            return ReplyStatus.BUSY, b""
        return self._read(struct.pack("<I", Register.STATUS))

    def _output(self, payload: bytes) -> tuple[ReplyStatus, bytes]:
        count = (self.identity.largest_payload - 1) // 4
        some, rest = self.engine.results[:count], self.engine.results[count:]
        self.engine.results = rest
        return ReplyStatus.OK, some.tobytes() + bytes([some.size > 0 and not rest.size])


class DirectLine:
    """A line without an operating system: what is written is answered at once. ``to_board`` and ``to_host`` change the bytes on their way."""

    port, baud = "bench", 3_000_000

    def __init__(self, board: ReferenceBoard, to_board: Callable[[bytes], bytes] = bytes, to_host: Callable[[bytes], bytes] = bytes) -> None:
        self.board, self._to_board, self._to_host = board, to_board, to_host
        self.answers = b""
        self.written = 0
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self.answers += self._to_host(self.board.feed(self._to_board(data)))

    def read(self) -> bytes:
        answers, self.answers = self.answers, b""
        return answers

    def forget(self) -> None:
        self.answers = b""

    def close(self) -> None:
        self.closed = True


class Terminal:
    """A board behind a pseudo-terminal, whose path is ``port``. Use it in a ``with`` statement."""

    def __init__(self, board: ReferenceBoard) -> None:
        self.board = board
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        self.port = os.ttyname(self._theirs)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Terminal:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.unplug()

    def unplug(self) -> None:
        """The port is gone. Twice does nothing."""
        if not self._stopping.is_set():
            self._stopping.set()
            self._thread.join()
            os.close(self._theirs)
            os.close(self._ours)

    def _serve(self) -> None:
        while not self._stopping.is_set():
            if select.select([self._ours], [], [], 0.01)[0]:
                os.write(self._ours, self.board.feed(os.read(self._ours, 4096)))

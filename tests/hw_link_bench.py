"""A host at the pins of the link: bytes on the serial line, frames, and doubles of what the link drives."""

from __future__ import annotations

import random
import zlib
from collections.abc import Iterable

from hw_bench import stream_get, stream_put, wait
from permfc.config import EngineConfig
from permfc.device.link.protocol import ESCAPE, ESCAPE_XOR, FLAG, REPLY_HEADER, REQUEST_HEADER, Command, ReplyStatus
from permfc.format import Control, Register
from permfc_hw.link.config import LinkConfig

CLOCKS_PER_BIT = 8
LINK = LinkConfig("bench", clock_hz=24_000_000, baud=3_000_000, memory_bytes=4096, largest_payload=128, receive_bytes=256)
CONFIG = EngineConfig(lanes=4, bus_bits=32)


def frame(content: bytes) -> bytes:
    """``content`` with its CRC, escapes and closing flag."""
    body = content + zlib.crc32(content).to_bytes(4, "little")
    for special in (ESCAPE, FLAG):
        body = body.replace(bytes([special]), bytes([ESCAPE, special ^ ESCAPE_XOR]))
    return body + bytes([FLAG])


def contents(line: bytes) -> list[bytes]:
    """What the frames on the line hold, without their CRCs, which are checked; bytes after the last flag are left out."""
    frames = []
    for body in line.split(bytes([FLAG]))[:-1]:
        first, *rest = body.split(bytes([ESCAPE]))
        body = first + b"".join(bytes([piece[0] ^ ESCAPE_XOR]) + piece[1:] for piece in rest)
        if body:
            assert zlib.crc32(body[:-4]).to_bytes(4, "little") == body[-4:]
            frames.append(body[:-4])
    return frames


def request(sequence: int, command: int, payload: bytes = b"") -> bytes:
    """The frame of a request."""
    return frame(REQUEST_HEADER.pack(sequence & 0xFF, command) + payload)


async def send_bytes(ctx, line, data: Iterable[int], clocks_per_bit: int = CLOCKS_PER_BIT) -> None:
    """Bytes on the serial line, gapless."""
    for byte in data:
        for bit in (0, *(byte >> i & 1 for i in range(8)), 1):
            ctx.set(line, bit)
            await wait(ctx, clocks_per_bit)


async def receive_byte(ctx, line, clocks_per_bit: int = CLOCKS_PER_BIT) -> int:
    """The next byte on the serial line."""
    level = 1
    while level:
        _, _, level = await ctx.tick().sample(line)
    await wait(ctx, clocks_per_bit // 2 - 1)
    bits = []
    for _ in range(9):
        await wait(ctx, clocks_per_bit - 1)
        _, _, level = await ctx.tick().sample(line)
        bits.append(level)
    assert bits[8], "The stop bit is low"
    return sum(bit << i for i, bit in enumerate(bits[:8]))


class Host:
    """Sends requests to a HostLink and collects its replies.

    Members
    -------
    replies : list of (sequence, status, next, payload)
    """

    def __init__(self, link) -> None:
        self.link = link
        self.line = b""
        self.sequence = 0

    @property
    def replies(self) -> list[tuple[int, ReplyStatus, int, bytes]]:
        """Value of all replies so far."""
        split = [(REPLY_HEADER.unpack(content[:REPLY_HEADER.size]), content[REPLY_HEADER.size:]) for content in contents(self.line)]
        return [(sequence, ReplyStatus(status), following, payload) for (sequence, status, following), payload in split]

    async def listen(self, ctx) -> None:
        """A background bench."""
        while True:
            self.line += bytes([await receive_byte(ctx, self.link.uart_tx)])

    async def raw(self, ctx, data: bytes, replies: int) -> list:
        """Send bytes and await so many replies; those replies."""
        before = len(self.replies)
        await send_bytes(ctx, self.link.uart_rx, data)
        while len(self.replies) < before + replies:
            await wait(ctx, 40)
        return self.replies[before:]

    async def ask(self, ctx, command: Command, payload: bytes = b"", sequence: int | None = None) -> tuple[ReplyStatus, bytes]:
        """A request with the next number, and the status and payload of its reply."""
        number = self.sequence if sequence is None else sequence
        (reply,) = await self.raw(ctx, request(number, command, payload), 1)
        assert reply[0] == number & 0xFF
        self.sequence = reply[2]
        return reply[1], reply[3]

    async def hello(self, ctx, nonce: bytes = b"abcd", sequence: int = 0) -> bytes:
        """Open the link; the payload of the reply."""
        status, payload = await self.ask(ctx, Command.HELLO, nonce, sequence)
        assert status is ReplyStatus.OK and payload[-4:] == nonce
        return payload


class Registers:
    """Plays the engine's AXI4-Lite slave: a dictionary, and the number of reads for which STATUS is still busy."""

    def __init__(self, port) -> None:
        self.port = port
        self.values: dict[int, int] = {Register.STATUS: 0x102}
        self.writes: list[tuple[int, int]] = []
        self.busy_reads = 0

    async def reads(self, ctx) -> None:
        """A background bench."""
        while True:
            address, = await stream_get(ctx, self.port.read_address, 1)
            value = self.values.get(address, 0)
            if address == Register.STATUS and self.busy_reads:
                self.busy_reads -= 1
                value |= 1
            await wait(ctx, random.randrange(3))
            await stream_put(ctx, self.port.read_data, [value])

    async def written(self, ctx) -> None:
        """A background bench; the address comes first, then the data."""
        while True:
            address, = await stream_get(ctx, self.port.write_address, 1)
            value, = await stream_get(ctx, self.port.write_data, 1)
            self.writes.append((address, value))
            await stream_put(ctx, self.port.write_response, [0])

    @property
    def clears(self) -> int:
        """Value of how often the engine was cleared."""
        return sum(address == Register.CONTROL and value & 3 == Control.CLEAR for address, value in self.writes)


class Memory:
    """Plays the AXI memory: some bytes; errors outside of them; slow or silent on demand."""

    def __init__(self, port, config: EngineConfig, size: int) -> None:
        self.port = port
        self.config = config
        self.data = bytearray(random.Random(1).randbytes(size))
        self.silent = False
        self.write_cycles = 3

    async def read(self, ctx) -> None:
        """A background bench."""
        while True:
            address, = await stream_get(ctx, self.port.read_address, 1)
            while self.silent:
                await ctx.tick()
            await wait(ctx, 5)
            word = int.from_bytes(self.data[address:address + self.config.bus_bytes], "little")
            await stream_put(ctx, self.port.read_data, [{"data": word, "error": address >= len(self.data)}])

    async def write(self, ctx) -> None:
        """A background bench; takes the data before the address."""
        while True:
            item, = await stream_get(ctx, self.port.write_data, 1)
            address, = await stream_get(ctx, self.port.write_address, 1)
            while self.silent:
                await ctx.tick()
            for lane in range(self.config.bus_bytes):
                if item["strobe"] >> lane & 1 and address + lane < len(self.data):
                    self.data[address + lane] = item["data"] >> 8 * lane & 0xFF
            await wait(ctx, self.write_cycles)
            await stream_put(ctx, self.port.write_error, [address >= len(self.data)])

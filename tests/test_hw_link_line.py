"""The boxes between the serial line and the executor, each against what it promises."""

from __future__ import annotations

import random
import zlib

import pytest
from amaranth.hdl import Module
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out, connect, flipped

from hw_bench import LONG_STALLS, run_bench, stalls, stream_get, stream_put, strobe, wait
from hw_link_bench import frame, receive_byte
from permfc.device.link.protocol import ESCAPE, ESCAPE_XOR, FLAG
from permfc.errors import ConfigError
from permfc_hw.link.config import MOST_BAUD_ERROR, LinkConfig
from permfc_hw.link.deframer import Deframer
from permfc_hw.link.receive_buffer import Entry, ReceiveBuffer
from permfc_hw.link.serial_crc import SerialCrc
from permfc_hw.link.uart import UartReceiver, UartTransmitter

BYTE_CYCLES = 10  # between bytes, promised by the Deframer
BUFFER = 64


@pytest.mark.parametrize("clocks_per_bit", [8, 9, 33])
@pytest.mark.parametrize("error", [-MOST_BAUD_ERROR, 0, MOST_BAUD_ERROR])
def test_receiver_at_the_limits_of_the_baud_rate(clocks_per_bit, error):
    receiver = UartReceiver(clocks_per_bit)
    data = bytes(random.Random(clocks_per_bit).randbytes(12)) + b"\x00\xff\x55"
    received = []

    async def send(ctx) -> None:
        bits = [bit for byte in data for bit in (0, *(byte >> i & 1 for i in range(8)), 1)]
        time, begin = 0, 0.0
        for bit in bits:  # the sender's bits do not begin with our clock
            ctx.set(receiver.line, bit)
            begin += clocks_per_bit * (1 + error)
            await wait(ctx, round(begin) - time)
            time = round(begin)
        await wait(ctx, clocks_per_bit)

    async def listen(ctx) -> None:
        while True:
            _, _, valid, byte, broken = await ctx.tick().sample(receiver.received, receiver.byte, receiver.broken)
            assert not broken
            if valid:
                received.append(byte)

    run_bench(receiver, send, background=[listen])
    assert bytes(received) == data


def test_receiver_ignores_a_spike_and_reports_a_break():
    receiver = UartReceiver(8)
    strobes = []

    async def send(ctx) -> None:
        for level, cycles in ((0, 2), (1, 100), (0, 80), (1, 100)):
            ctx.set(receiver.line, level)
            await wait(ctx, cycles)

    async def listen(ctx) -> None:
        while True:
            _, _, *now = await ctx.tick().sample(receiver.received, receiver.broken)
            if any(now):
                strobes.append(tuple(now))

    run_bench(receiver, send, background=[listen])
    assert strobes == [(0, 1)]


def test_transmitter_is_gapless():
    transmitter = UartTransmitter(8)
    data = b"\x00\xff\xa5\x7e"
    cycles = []

    async def send(ctx) -> None:
        await stream_put(ctx, transmitter.bytes, data)

    async def listen(ctx) -> None:
        assert bytes([await receive_byte(ctx, transmitter.line) for _ in data]) == data

    async def count(ctx) -> None:
        while True:
            _, _, taken = await ctx.tick().sample(transmitter.bytes.valid & transmitter.bytes.ready)
            cycles.append(taken)

    run_bench(transmitter, send, listen, background=[count])
    starts = [cycle for cycle, taken in enumerate(cycles) if taken]
    assert {after - before for before, after in zip(starts, starts[1:], strict=False)} == {80}


def test_crc_goes_in_and_comes_out():
    crc = SerialCrc()

    async def bench(ctx) -> None:
        for data in (b"", b"123456789", bytes(range(256))):
            await strobe(ctx, crc.restart)
            await stream_put(ctx, crc.bytes, data)
            out = b""
            for _ in range(4):
                await wait(ctx, 9)
                assert not ctx.get(crc.correct)
                out += bytes([ctx.get(crc.crc)])
                ctx.set(crc.emit, 1)
                await stream_put(ctx, crc.bytes, [0])
                ctx.set(crc.emit, 0)
            assert out == zlib.crc32(data).to_bytes(4, "little")

    run_bench(crc, bench)


class FrameReceiver(wiring.Component):
    """Deframer and ReceiveBuffer."""

    def __init__(self) -> None:
        self.deframer, self.buffer = Deframer(), ReceiveBuffer(BUFFER)
        super().__init__({"byte": In(8), "received": In(1), "broken": In(1), "entries": Out(stream.Signature(Entry))})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.deframer, m.submodules.buffer = self.deframer, self.buffer
        m.d.comb += [getattr(self.deframer, name).eq(getattr(self, name)) for name in ("byte", "received", "broken")]
        m.d.comb += [getattr(self.buffer, name).eq(getattr(self.deframer, name)) for name in ("data", "data_en", "end", "correct")]
        connect(m, self.buffer.entries, flipped(self.entries))
        return m


def lawful_frames(line: bytes) -> list[bytes]:
    """What docs/protocol.md makes of a line: the contents of whole frames with a correct CRC, of four bytes or more with it."""
    found = []
    for body in line.split(bytes([FLAG]))[:-1]:
        plain, escaped = bytearray(), False
        for byte in body:
            if byte != ESCAPE:
                plain.append(byte ^ ESCAPE_XOR if escaped else byte)
            escaped = byte == ESCAPE
        if not escaped and len(plain) >= 4 and zlib.crc32(plain[:-4]).to_bytes(4, "little") == plain[-4:]:
            found.append(bytes(plain[:-4]))
    return found


def damaged(draw: random.Random, data: bytes) -> bytes:
    """A frame as a bad line delivers it: whole, or with one fault."""
    at = draw.randrange(len(data))
    faults = (
        *[lambda: data] * 6,
        lambda: data[:at] + data[at + 1:],
        lambda: data[:at] + bytes([data[at] ^ 1 << draw.randrange(8)]) + data[at + 1:],
        lambda: data + data,
        lambda: data[:at],
        lambda: data[:at] + draw.randbytes(draw.randrange(1, 4)) + data[at:],
        lambda: data[:at] + bytes([FLAG]) + data[at:],
        lambda: b"",
    )
    return draw.choice(faults)()


@pytest.mark.parametrize("seed", range(4))
def test_only_lawful_frames_get_through(seed):
    draw = random.Random(seed)
    frames = [bytes(draw.choice([draw.randrange(256), FLAG, ESCAPE]) for _ in range(draw.randrange(0, 12))) for _ in range(40)]
    line = b"".join(damaged(draw, frame(content)) for content in frames)
    expected = lawful_frames(line)
    assert len(expected) > 8
    box, received = FrameReceiver(), []

    async def send(ctx) -> None:
        for byte in line:
            ctx.set(box.byte, byte)
            await strobe(ctx, box.received)
            await wait(ctx, BYTE_CYCLES - 1)
        await wait(ctx, 300)

    async def take(ctx) -> None:
        pauses, content = stalls(seed, LONG_STALLS), b""
        while True:
            entry, = await stream_get(ctx, box.entries, 1, pauses)
            if entry["end"]:
                received.append(content)
                content = b""
            else:
                content += bytes([entry["byte"]])

    run_bench(box, send, background=[take])
    assert received == expected


def test_a_frame_without_room_leaves_no_trace():
    fits, overflows = bytes(range(BUFFER - 4)), bytes(range(BUFFER - 3))
    box, received = FrameReceiver(), []

    async def send(ctx) -> None:
        for content in (overflows, fits, b"no room for this"):
            for byte in frame(content):
                ctx.set(box.byte, byte)
                await strobe(ctx, box.received)
                await wait(ctx, BYTE_CYCLES - 1)
        while True:
            entry, = await stream_get(ctx, box.entries, 1)
            if entry["end"]:
                break
            received.append(entry["byte"])
        await wait(ctx, 50)
        assert not ctx.get(box.entries.valid)

    run_bench(box, send)
    assert bytes(received) == fits


@pytest.mark.parametrize("change, message", [
    ({"baud": 4_000_000}, "4000000 baud cannot be made from 24000000 Hz: a bit must last 8 cycles; choose a lower baud rate"),
    ({"baud": 2_300_000}, "2300000 baud cannot be made from 24000000 Hz: 10 cycles a bit are 4.2% off; choose another baud rate"),
    ({"largest_payload": 100}, "largest_payload must be a power of two from 128 to 4096, not 100"),
    ({"receive_bytes": 128}, "receive_bytes must be a power of two from 256 to 32768, not 128"),
    ({"image_address": 100}, "image_address must be a multiple of 4096, not 100"),
    ({"board": "a board with a long name"}, "must be 1 to 16 ASCII characters, not 'a board with a long name'"),
    ({"memory_bytes": 1 << 33}, "does not fit the fields of HELLO"),
])
def test_impossible_links(change, message):
    with pytest.raises(ConfigError, match=message):
        LinkConfig(**{"board": "x", "clock_hz": 24_000_000, "baud": 3_000_000, "memory_bytes": 1 << 20, "largest_payload": 128, **change})

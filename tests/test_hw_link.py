"""HostLink at the pins of its serial line, with doubles of the engine and of the memory."""

from __future__ import annotations

import random
import zlib
from dataclasses import replace

import pytest

from hw_bench import run_bench, stream_get, stream_put, wait
from hw_link_bench import CONFIG, LINK, Host, Memory, Registers, request
from permfc.device.link.protocol import BYTES_PER_REQUEST, LINK_VERSION, Command, Identity, ReplyStatus
from permfc.format import VERSION, Register, Status
from permfc_hw.link import executor
from permfc_hw.link.config import LinkConfig
from permfc_hw.link.host_link import HostLink


class Bench:
    """A HostLink with its surroundings."""

    def __init__(self, link: LinkConfig = LINK) -> None:
        self.link = HostLink(CONFIG, link)
        self.host = Host(self.link)
        self.registers = Registers(self.link.registers)
        self.memory = Memory(self.link.memory, CONFIG, LINK.memory_bytes)

    def run(self, bench, *background, deadline: int = 60_000) -> None:
        """Run ``bench`` among the doubles."""
        doubles = [self.host.listen, self.registers.reads, self.registers.written, self.memory.read, self.memory.write]
        run_bench(self.link, bench, background=[*doubles, *background], deadline=deadline)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def u32(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


def test_hello_tells_who_it_is_and_clears(bench):
    async def script(ctx) -> None:
        payload = await bench.host.hello(ctx, b"\x7e\x7d\x00\xff", sequence=77)
        identity = Identity.unpack(payload)
        assert identity == LINK.identity()
        assert (identity.link_version, identity.format_version, identity.board) == (LINK_VERSION, VERSION, "bench")
        assert bench.host.sequence == 78
        assert bench.registers.clears == 1

    bench.run(script)


def test_hello_takes_all_results_that_wait(bench):
    """The engine gives them to whoever takes them; a session that begins gets none of them."""
    results = list(range(50))
    bench.registers.values[Register.STATUS] = Status.RESULTS
    given = []

    async def give(ctx) -> None:
        for result in results:
            await stream_put(ctx, bench.link.results, [result])
            given.append(result)
        bench.registers.values[Register.STATUS] = 0

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        assert given == results and bench.registers.clears == 1

    bench.run(script, give)


def test_registers(bench):
    bench.registers.values = {Register.CYCLES: 0xDEAD7E7D, Register.STATUS: 1}

    async def script(ctx) -> None:
        bench.registers.values[Register.STATUS] = 0
        await bench.host.hello(ctx)
        bench.registers.values[Register.STATUS] = 1  # registers are reached while the engine is busy
        assert await bench.host.ask(ctx, Command.READ_REGISTER, u32(Register.CYCLES)) == (ReplyStatus.OK, u32(0xDEAD7E7D))
        assert await bench.host.ask(ctx, Command.WRITE_REGISTER, u32(Register.IMAGE_BASE, 0x12345000)) == (ReplyStatus.OK, b"")
        assert bench.registers.writes[-1] == (Register.IMAGE_BASE, 0x12345000)

    bench.run(script)


@pytest.mark.parametrize("address, size", [(0, 8), (1, 1), (3, 7), (1022, 40)])
def test_memory_by_the_byte(bench, address, size):
    data = bytes(random.Random(address).randbytes(size))
    expected = bytearray(bench.memory.data)
    expected[address:address + size] = data

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        assert await bench.host.ask(ctx, Command.WRITE_MEMORY, u32(address) + data) == (ReplyStatus.OK, b"")
        assert bench.memory.data == expected
        for begin, end in ((0, 20), (address, address + size), (5, 6), (7, 7)):
            assert await bench.host.ask(ctx, Command.CRC_MEMORY, u32(begin, end)) == (ReplyStatus.OK, u32(zlib.crc32(expected[begin:end])))

    bench.run(script)


def test_outside_of_the_memory(bench):
    end = LINK.memory_bytes

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        assert await bench.host.ask(ctx, Command.WRITE_MEMORY, u32(end - 2) + b"abcd") == (ReplyStatus.MEMORY_ERROR, b"")
        assert bench.memory.data[-2:] == b"ab"
        assert await bench.host.ask(ctx, Command.CRC_MEMORY, u32(end - 9, end + 1)) == (ReplyStatus.MEMORY_ERROR, b"")
        assert await bench.host.ask(ctx, Command.CRC_MEMORY, u32(end - 9, end)) == (ReplyStatus.OK, u32(zlib.crc32(bench.memory.data[-9:])))

    bench.run(script)


def test_input_and_output(bench):
    values = bytes(range(100, 140))
    results = [(-5) & 0xFFFFFFFF, 7, 0x7E7E7D7D]

    async def take_input(ctx) -> None:
        assert await stream_get(ctx, bench.link.inputs, len(values)) == list(values)
        ctx.set(bench.link.last, 0)
        await stream_put(ctx, bench.link.results, results[:2])
        ctx.set(bench.link.last, 1)
        await stream_put(ctx, bench.link.results, results[2:])

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        assert await bench.host.ask(ctx, Command.SEND_INPUT, values) == (ReplyStatus.OK, b"")
        bench.registers.busy_reads = 20
        assert await bench.host.ask(ctx, Command.WAIT) == (ReplyStatus.OK, u32(0x102))
        assert bench.registers.busy_reads == 0
        assert await bench.host.ask(ctx, Command.READ_OUTPUT) == (ReplyStatus.OK, u32(*results) + b"\1")

    bench.run(script, take_input)


def test_many_results_take_several_replies(bench):
    results = list(range(1000, 1033))
    most = (LINK.largest_payload - 1) // 4

    async def give(ctx) -> None:
        await stream_put(ctx, bench.link.results, results[:-1])
        ctx.set(bench.link.last, 1)
        await stream_put(ctx, bench.link.results, results[-1:])

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        ctx.set(bench.link.last, 0)
        await wait(ctx, 10)
        assert await bench.host.ask(ctx, Command.READ_OUTPUT) == (ReplyStatus.OK, u32(*results[:most]) + b"\0")
        assert await bench.host.ask(ctx, Command.READ_OUTPUT) == (ReplyStatus.OK, u32(*results[most:]) + b"\1")

    async def late(ctx) -> None:
        while not bench.host.replies:  # HELLO throws results away
            await ctx.tick()
        await give(ctx)

    bench.run(script, late, deadline=80_000)


def test_a_request_is_executed_once(bench):
    async def script(ctx) -> None:
        host = bench.host
        assert (await host.raw(ctx, request(0, Command.WAIT), 1))[0] == (0, ReplyStatus.NOT_OPEN, 0, b"")
        await host.hello(ctx, sequence=254)
        write = request(255, Command.WRITE_REGISTER, u32(Register.IMAGE_BASE, 0x1000))
        read = request(0, Command.READ_REGISTER, u32(Register.STATUS))
        ahead = request(2, Command.WRITE_REGISTER, u32(Register.IMAGE_BASE, 0x2000))
        replies = await host.raw(ctx, write + read + read + write + ahead + read, 6)
        assert replies == [
            (255, ReplyStatus.OK, 0, b""),
            (0, ReplyStatus.OK, 1, u32(0x102)),
            (0, ReplyStatus.OK, 1, u32(0x102)),
            (255, ReplyStatus.REPEATED, 1, b""),
            (2, ReplyStatus.GAP, 1, b""),
            (0, ReplyStatus.OK, 1, u32(0x102)),  # the last reply is still kept
        ]
        assert len(bench.registers.writes) == 2  # HELLO's, and one

    bench.run(script)


def test_what_is_not_a_request(bench):
    good = request(1, Command.WRITE_MEMORY, u32(0) + b"xyz")

    async def script(ctx) -> None:
        host = bench.host
        await host.hello(ctx)
        before = bytes(bench.memory.data)
        broken = [good[:6] + bytes([good[6] ^ 0x10]) + good[7:], good[:5] + good[6:], good[:-1] + b"\x7d\x7e", good[4:], b"\x7e\x7e\x7e",
                  b"\0\0\0\0\x7e", b"\x00\x8d\xef\x02\xd2\x7e"]
        for data in broken:  # the last two: a correct CRC of nothing, and of a sequence number alone
            assert await host.raw(ctx, data, 0) == []
        await wait(ctx, 2000)
        assert bench.memory.data == before and len(host.replies) == 1
        assert await host.ask(ctx, Command(3), good[2:9]) == (ReplyStatus.OK, b"")
        assert await host.raw(ctx, request(2, 200, b"??"), 1) == [(2, ReplyStatus.UNKNOWN_COMMAND, 3, b"")]
        assert await host.raw(ctx, request(3, Command.WRITE_REGISTER, u32(4)), 1) == [(3, ReplyStatus.BAD_PAYLOAD, 4, b"")]
        assert await host.raw(ctx, request(4, Command.WAIT, b"more"), 1) == [(4, ReplyStatus.OK, 5, u32(0x102))]

    bench.run(script)


PATIENCE = 400  # cycles, so that the tests need not wait for 65,536


@pytest.fixture
def hasty(monkeypatch) -> Bench:
    monkeypatch.setattr(executor, "PATIENCE_CYCLES", PATIENCE)
    return Bench()


def test_a_busy_engine_blocks_nothing(hasty):
    bench = hasty

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        bench.registers.busy_reads = 10_000
        before = bytes(bench.memory.data)
        for command, payload in ((Command.WAIT, b""), (Command.WRITE_MEMORY, u32(0) + b"abc"), (Command.CRC_MEMORY, u32(0, 8)),
                                 (Command.READ_OUTPUT, b""), (Command.SEND_INPUT, b"123")):
            assert await bench.host.ask(ctx, command, payload) == (ReplyStatus.BUSY, b"")
        assert await bench.host.ask(ctx, Command.HELLO, b"4321", 200) == (ReplyStatus.BUSY, b"")
        assert bench.host.sequence == 201 and bench.memory.data == before
        bench.registers.busy_reads = 3
        assert await bench.host.ask(ctx, Command.WAIT) == (ReplyStatus.OK, u32(0x102))

    bench.run(script)


def test_input_that_is_not_taken_and_results_that_do_not_come(hasty):
    bench = hasty

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        assert await bench.host.ask(ctx, Command.SEND_INPUT, b"123") == (ReplyStatus.BUSY, b"")
        assert await bench.host.ask(ctx, Command.READ_OUTPUT) == (ReplyStatus.OK, b"\0")
        assert await bench.host.ask(ctx, Command.SEND_INPUT, b"") == (ReplyStatus.OK, b"")

    bench.run(script)


def test_hello_throws_results_away_even_while_busy(bench):
    given = []

    async def give(ctx) -> None:
        for value in range(3):
            await stream_put(ctx, bench.link.results, [value])
            given.append(value)
            bench.registers.busy_reads = 0

    async def script(ctx) -> None:
        bench.registers.busy_reads = 10_000  # until the last result has left
        await bench.host.hello(ctx)
        assert given == [0, 1, 2]

    bench.run(script, give)


@pytest.mark.parametrize("command, payload", [(Command.WRITE_MEMORY, u32(0) + b"abc"), (Command.CRC_MEMORY, u32(0, 8))], ids=["write", "crc"])
def test_a_silent_memory(hasty, command, payload):
    bench = hasty

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        bench.memory.silent = True
        assert await bench.host.ask(ctx, command, payload) == (ReplyStatus.MEMORY_SILENT, b"")
        bench.memory.silent = False  # what it answers now is an answer to the past
        assert await bench.host.ask(ctx, Command.CRC_MEMORY, u32(0, 8)) == (ReplyStatus.MEMORY_SILENT, b"")
        assert await bench.host.ask(ctx, Command.WAIT) == (ReplyStatus.OK, u32(0x102))

    bench.run(script)


def test_read_only_memory():
    bench = Bench(replace(LINK, memory_writable=False))

    async def script(ctx) -> None:
        assert not Identity.unpack(await bench.host.hello(ctx)).memory_writable
        before = bytes(bench.memory.data)
        assert await bench.host.ask(ctx, Command.WRITE_MEMORY, u32(0) + b"abc") == (ReplyStatus.READ_ONLY, b"")
        assert await bench.host.ask(ctx, Command.CRC_MEMORY, u32(0, 50)) == (ReplyStatus.OK, u32(zlib.crc32(before[:50])))

    bench.run(script)


def test_the_receive_buffer_holds_what_it_promises(bench):
    """Requests that fill it to the last byte wait for a busy engine; one more is dropped, and leaves no trace."""
    total = LINK.receive_bytes
    sizes = [LINK.largest_payload, total - LINK.largest_payload - 3 * BYTES_PER_REQUEST]
    requests = [request(1, Command.WAIT)]
    requests += [request(number, Command.SEND_INPUT, bytes([number]) * size) for number, size in enumerate(sizes, 2)]
    taken = []

    async def take(ctx) -> None:
        while True:
            taken.extend(await stream_get(ctx, bench.link.inputs, 1))

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        bench.registers.busy_reads = 10_000
        await bench.host.raw(ctx, b"".join(requests) + request(4, Command.SEND_INPUT, bytes(30)), 0)
        assert len(bench.host.replies) == 1
        bench.registers.busy_reads = 0
        while len(bench.host.replies) < 4:
            await wait(ctx, 40)
        assert [(reply[0], reply[1]) for reply in bench.host.replies[1:]] == [(number, ReplyStatus.OK) for number in (1, 2, 3)]
        assert taken == [2] * sizes[0] + [3] * sizes[1]
        assert await bench.host.raw(ctx, request(4, Command.WAIT), 1) == [(4, ReplyStatus.OK, 5, u32(0x102))]

    bench.run(script, take, deadline=120_000)


def test_writes_keep_up_with_the_line(bench):
    """Requests sent without a gap, to a memory that takes 40 cycles a byte: none is lost, and the replies come meanwhile."""
    piece = LINK.largest_payload - 4
    data = random.Random(5).randbytes(3 * piece)
    requests = [request(1 + start // piece, Command.WRITE_MEMORY, u32(start) + data[start:start + piece]) for start in range(0, len(data), piece)]
    bench.memory.write_cycles = 40

    async def script(ctx) -> None:
        await bench.host.hello(ctx)
        replies = await bench.host.raw(ctx, b"".join(requests), len(requests))
        assert [reply[:2] for reply in replies] == [(number, ReplyStatus.OK) for number in range(1, 4)]
        assert bench.memory.data.startswith(data)

    bench.run(script)

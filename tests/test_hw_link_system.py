"""System: a real engine behind its host link, from the pins of the serial line to an AXI memory and back."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from hw_bench import run_bench, wait
from hw_link_bench import Host
from networks import random_inputs, random_network
from permfc import image
from permfc.config import EngineConfig
from permfc.device.link.protocol import Command, ReplyStatus
from permfc.format import MAGIC, Control, ErrorCode, Register
from permfc_hw.link.config import LinkConfig
from permfc_hw.link.system import System

CONFIG = EngineConfig(lanes=4, bus_bits=32, block_outputs=16, features=16, levels=16, outstanding=2)
LINK = LinkConfig("bench", clock_hz=24_000_000, baud=3_000_000, memory_bytes=8192, image_address=4096, largest_payload=128, receive_bytes=256)
NETWORK = random_network(3, [6, 10, 4])
IMAGE = image.pack(NETWORK, CONFIG)


def u32(*values: int) -> bytes:
    return b"".join(value.to_bytes(4, "little") for value in values)


class AxiMemory:
    """An AXI4 memory at the ports of a System: one burst at a time, bytes written by their strobes."""

    def __init__(self, system: System, content: bytes = b"") -> None:
        self.system = system
        self.data = bytearray(content.ljust(LINK.memory_bytes, b"\0"))

    async def read(self, ctx) -> None:
        """A background bench."""
        system = self.system
        while True:
            ctx.set(system.m_axi_arready, 1)
            _, _, valid, address, length = await ctx.tick().sample(system.m_axi_arvalid, system.m_axi_araddr, system.m_axi_arlen)
            if not valid:
                continue
            ctx.set(system.m_axi_arready, 0)
            await wait(ctx, 6)
            for beat in range(length + 1):
                begin = address + beat * CONFIG.bus_bytes
                ctx.set(system.m_axi_rdata, int.from_bytes(self.data[begin:begin + CONFIG.bus_bytes], "little"))
                ctx.set(system.m_axi_rlast, beat == length)
                ctx.set(system.m_axi_rvalid, 1)
                ready = 0
                while not ready:
                    _, _, ready = await ctx.tick().sample(system.m_axi_rready)
            ctx.set(system.m_axi_rvalid, 0)

    async def write(self, ctx) -> None:
        """A background bench."""
        system = self.system
        signals = (system.m_axi_awvalid, system.m_axi_wvalid, system.m_axi_awaddr, system.m_axi_wdata, system.m_axi_wstrb)
        while True:
            _, _, has_address, has_data, address, word, strobe = await ctx.tick().sample(*signals)
            if not has_address or not has_data:
                continue
            for lane in range(CONFIG.bus_bytes):
                if strobe >> lane & 1:
                    self.data[address + lane] = word >> 8 * lane & 0xFF
            for ready, valid in ((system.m_axi_awready, 1), (system.m_axi_awready, 0)):
                ctx.set(ready, valid)
                ctx.set(system.m_axi_wready, valid)
                await ctx.tick()
            ctx.set(system.m_axi_bvalid, 1)
            taken = 0
            while not taken:
                _, _, taken = await ctx.tick().sample(system.m_axi_bready)
            ctx.set(system.m_axi_bvalid, 0)


async def infer(ctx, host: Host, x: np.ndarray) -> np.ndarray:
    """A run as a driver does it, piece by piece."""
    assert await host.ask(ctx, Command.SEND_INPUT, x.astype(np.int8).tobytes()) == (ReplyStatus.OK, b"")
    assert await host.ask(ctx, Command.WRITE_REGISTER, u32(Register.CONTROL, Control.START)) == (ReplyStatus.OK, b"")
    status, payload = await host.ask(ctx, Command.WAIT)
    assert status is ReplyStatus.OK
    error = int.from_bytes(payload, "little") >> 8 & 0xFF
    assert error == ErrorCode.NONE, ErrorCode(error)
    status, payload = await host.ask(ctx, Command.READ_OUTPUT)
    assert status is ReplyStatus.OK and payload[-1] == 1
    return np.frombuffer(payload[:-1], "<i4")


def run(system: System, memory: AxiMemory, host: Host, script) -> None:
    run_bench(system, script, background=[host.listen, memory.read, memory.write], deadline=200_000)


def test_a_network_runs_behind_the_link():
    system = System(CONFIG, LINK)
    memory, host = AxiMemory(system, bytes(LINK.image_address) + IMAGE), Host(system)
    inputs = random_inputs(1, NETWORK.inputs, batch=2)

    async def script(ctx) -> None:
        await host.hello(ctx)
        assert await host.ask(ctx, Command.READ_REGISTER, u32(Register.ID)) == (ReplyStatus.OK, u32(MAGIC))
        assert await host.ask(ctx, Command.WRITE_REGISTER, u32(Register.IMAGE_BASE, LINK.image_address)) == (ReplyStatus.OK, b"")
        end = LINK.image_address + len(IMAGE)
        first, second = NETWORK.compute(inputs).tolist()
        assert (await infer(ctx, host, inputs[0])).tolist() == first
        # The memory's read channel changes hands between the engine and the link.
        assert await host.ask(ctx, Command.CRC_MEMORY, u32(LINK.image_address, end)) == (ReplyStatus.OK, u32(zlib.crc32(IMAGE)))
        assert (await infer(ctx, host, inputs[1])).tolist() == second

    run(system, memory, host, script)


def test_memory_is_written_through_the_link():
    system = System(CONFIG, LINK)
    memory, host = AxiMemory(system), Host(system)

    async def script(ctx) -> None:
        await host.hello(ctx)
        assert await host.ask(ctx, Command.WRITE_MEMORY, u32(5) + IMAGE[:70]) == (ReplyStatus.OK, b"")
        assert memory.data == (bytes(5) + IMAGE[:70]).ljust(LINK.memory_bytes, b"\0")
        assert await host.ask(ctx, Command.CRC_MEMORY, u32(5, 75)) == (ReplyStatus.OK, u32(zlib.crc32(IMAGE[:70])))

    run(system, memory, host, script)


@pytest.mark.parametrize("before", [[], [Control.START]], ids=["results wait", "a start waits for the results"])
def test_hello_makes_a_fresh_engine(before):
    """Whatever a driver left behind that vanished: the next one gets right results."""
    system = System(CONFIG, LINK)
    memory, host = AxiMemory(system, IMAGE), Host(system)
    x, other = random_inputs(2, NETWORK.inputs, batch=2)

    async def script(ctx) -> None:
        await host.hello(ctx)
        await host.ask(ctx, Command.SEND_INPUT, other.astype(np.int8).tobytes())
        for command in [Control.START, *before]:
            await host.ask(ctx, Command.WRITE_REGISTER, u32(Register.CONTROL, command))
        await host.hello(ctx, sequence=99)
        assert (await infer(ctx, host, x)).tolist() == NETWORK.compute(x[np.newaxis])[0].tolist()

    run(system, memory, host, script)

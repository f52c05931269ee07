"""The modelled controller: against the counted one on the same reads, and against limits that arithmetic gives."""

from __future__ import annotations

import numpy as np
import pytest

from networks import random_network
from permfc.config import EngineConfig
from permfc.errors import ConfigError
from permfc.memory import Command, CommandTrace, memory
from permfc.memory.controller import command_stream
from permfc.memory.reads import Reads
from permfc_sim.device import SimDevice

DRAMS = ("sdr-100", "sdr-x32-100", "ddr3-300", "ddr3-1600", "ddr4-2400", "lpddr3-1600", "lpddr4-3200")


def sequential(size: int, piece: int, begin: int = 0) -> Reads:
    """Reads of ``piece`` bytes one after the other, all known at once."""
    address = np.arange(begin, begin + size, piece)
    return Reads(np.zeros(len(address), np.int64), address, np.full(len(address), piece, np.int32))


def check_rules(trace: CommandTrace, name: str) -> None:
    """READs of open rows, distances of commands of one bank, and no two words on the pins at once."""
    chosen = memory(name)
    part, clock = chosen.part, chosen.clock_hz
    limit = {key: part.timing.cycles(key, clock) for key in ("trcd", "trp", "tras", "trc", "trfc", "trrd")}
    assert (np.diff(trace.cycle) >= 0).all()
    reads = trace.select(trace.command == Command.READ)
    busy = -(-reads.beats.astype(np.int64) // part.data_rate)
    assert (reads.cycle[1:] >= reads.cycle[:-1] + busy[:-1]).all()
    activates = trace.cycle[trace.command == Command.ACTIVATE]
    assert (np.diff(activates) >= limit["trrd"]).all()
    refreshed = trace.cycle[trace.command == Command.REFRESH]
    due = (1 + np.arange(len(refreshed))) * part.timing.cycles("trefi", clock)
    assert (refreshed >= due).all() and (refreshed < due + 10 * part.timing.cycles("trefi", clock)).all()  # never early, at most eight postponed
    never = -(1 << 40)
    opened, activated, closed = {}, {}, {}
    for cycle, command, bank, row in zip(trace.cycle.tolist(), trace.command.tolist(), trace.bank.tolist(), trace.row.tolist(), strict=True):
        if command == Command.ACTIVATE:
            assert bank not in opened
            assert cycle >= closed.get(bank, never) + limit["trp"] and cycle >= activated.get(bank, never) + limit["trc"]
            opened[bank], activated[bank] = row, cycle
        elif command == Command.READ:
            assert opened[bank] == row and cycle >= activated[bank] + limit["trcd"]
        elif command == Command.PRECHARGE:
            assert cycle >= activated[bank] + limit["tras"]
            del opened[bank]
            closed[bank] = cycle
        elif command == Command.PRECHARGE_ALL:
            assert all(cycle >= activated[bank] + limit["tras"] for bank in opened)
            closed.update(dict.fromkeys(opened, cycle))
            opened.clear()
        elif command == Command.REFRESH:
            assert not opened and all(cycle >= then + limit["trp"] for then in closed.values())
            closed.update(dict.fromkeys(range(part.banks), cycle + limit["trfc"] - limit["trp"]))


@pytest.mark.parametrize("name", DRAMS)
def test_a_long_sequential_read_nears_the_peak(name: str) -> None:
    chosen = memory(name)
    trace = command_stream(sequential(1 << 20, 512), chosen, reads_clock_hz=chosen.clock_hz)
    check_rules(trace, name)
    assert trace.bytes(chosen.bus_bits) == 1 << 20
    part, clock = chosen.part, chosen.clock_hz
    lost = part.timing.cycles("trp", clock) + part.timing.cycles("trfc", clock) + part.timing.cycles("trcd", clock)
    assert 1 - 1.5 * lost / part.timing.cycles("trefi", clock) < trace.utilisation(part.data_rate) < 1
    assert trace.counts()["refresh"] * part.timing.cycles("trefi", clock) <= trace.length
    assert (trace.counts()["refresh"] + 8) * part.timing.cycles("trefi", clock) >= trace.length


@pytest.mark.parametrize("name", DRAMS)
def test_scattered_reads_keep_the_rules(name: str) -> None:
    chosen = memory(name)
    random = np.random.default_rng(0)
    size = random.integers(1, 200, 2_000).astype(np.int32) * 2
    reads = Reads(np.sort(random.integers(0, 200_000, 2_000)), random.integers(0, 1 << 22, 2_000) * 2, size)
    trace = command_stream(reads, chosen, reads_clock_hz=100e6)
    check_rules(trace, name)
    assert trace.bytes(chosen.bus_bits) >= reads.bytes.sum()
    assert 0.9 * len(reads) < trace.counts()["activate"] < 2 * len(reads)


def test_ddr_bursts_are_whole_and_sdr_bursts_end_with_their_read() -> None:
    reads = Reads(np.zeros(1, np.int64), np.array([6]), np.array([4], np.int32))
    assert command_stream(reads, memory("sdr-100"), reads_clock_hz=100e6).bytes(16) == 4
    assert command_stream(reads, memory("ddr3-1600"), reads_clock_hz=100e6).bytes(16) == 16


def test_reads_that_arrive_late_wait_for_nobody() -> None:
    reads = Reads(np.array([0, 10_000]), np.array([0, 64]), np.array([64, 64], np.int32))
    trace = command_stream(reads, memory("sdr-100"), reads_clock_hz=100e6)
    second = trace.cycle[trace.command == Command.READ][-4:]
    assert 10_000 <= second[0] <= 10_020


def test_refreshes_go_on_in_a_pause() -> None:
    """One at each interval, not all at once."""
    reads = Reads(np.array([0, 1_000_000]), np.array([0, 64]), np.array([64, 64], np.int32))
    trace = command_stream(reads, memory("sdr-100"), reads_clock_hz=100e6)
    check_rules(trace, "sdr-100")
    refreshed = trace.cycle[trace.command == Command.REFRESH]
    assert len(refreshed) == 1_000_000 // 781 and (np.diff(refreshed)[1:] == 781).all()
    assert trace.counts()["precharge_all"] == 1


def test_flash_gives_a_command_only_where_addresses_jump() -> None:
    flash = memory("qspi-48")
    reads = Reads(np.zeros(3, np.int64), np.array([0, 64, 1_000]), np.array([64, 64, 10], np.int32))
    trace = command_stream(reads, flash, reads_clock_hz=48e6)
    assert trace.cycle.tolist() == [0, 12 + 256] and trace.beats.tolist() == [256, 20]
    assert trace.length == 2 * 12 + 276 and trace.column.tolist() == [0, 1_000]


def test_reads_beyond_the_memory() -> None:
    with pytest.raises(ConfigError, match="more than memory sdr-100 holds"):
        command_stream(sequential(64, 64, begin=32 << 20), memory("sdr-100"), reads_clock_hz=100e6)


def rows_opened(trace: CommandTrace) -> int:
    """ACTIVATEs of other rows than their banks had before. The rest depend on when refreshes close rows, which is the controller's choice."""
    rows: dict[int, int] = {}
    opened = 0
    for bank, row in zip(*(field[trace.command == Command.ACTIVATE].tolist() for field in (trace.bank, trace.row)), strict=True):
        opened += rows.get(bank) != row
        rows[bank] = row
    return opened


@pytest.mark.parametrize("name", ["sdr-100", "qspi-48"])
def test_model_and_counted_controller_agree_on_the_same_reads(name: str) -> None:
    """The gateware gives what the model says: the same rows opened, the same READs and the same time within five percent."""
    chosen, config = memory(name), EngineConfig(lanes=16, bus_bits=16, block_outputs=256, features=512)
    network = random_network(2, (300, 256, 100))
    x = np.random.default_rng(0).integers(-128, 128, 300).astype(np.int8)
    with SimDevice(config, memory=chosen) as device:
        device.load(network)
        device.take_reads(), device.take_commands()
        device.run(x)
        cycles = device.counters().cycles
        reads, counted = device.take_reads(), device.take_commands()
    begin = int(reads.cycle[0])
    counted = counted.window(begin, begin + cycles)
    modelled = command_stream(Reads(reads.cycle - begin, reads.address, reads.bytes), chosen, reads_clock_hz=chosen.clock_hz)
    assert modelled.length == pytest.approx(counted.length, rel=0.05)
    assert modelled.bytes(chosen.bus_bits) == pytest.approx(counted.bytes(chosen.bus_bits), rel=0.05)
    ours, theirs = modelled.counts(), counted.counts()
    if name == "sdr-100":
        assert rows_opened(modelled) == rows_opened(counted)
        assert ours["read"] == pytest.approx(theirs["read"], rel=0.05)
    else:
        assert ours["read"] == theirs["read"]


@pytest.mark.parametrize("name", ["sdr-100", "ddr3-1600"])
def test_short_runs_have_their_share_of_refreshes(name: str) -> None:
    """Postponed refreshes are done in the end, so that a small layout is not favoured."""
    device = memory(name)
    for size in (2**12, 2**15, 2**18):
        reads = Reads(np.zeros(1, np.int64), np.zeros(1, np.int64), np.array([size]))
        trace = command_stream(reads, device, reads_clock_hz=device.clock_hz)
        assert abs(trace.counts()["refresh"] - trace.length / device.part.timing.cycles("trefi", device.clock_hz)) <= 1

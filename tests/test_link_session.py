"""Session and SerialDevice against the reference board: what goes over the line, and a sentence for each thing that can be wrong."""

from __future__ import annotations

import dataclasses
import errno
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import serial

import permfc
from command_line import fail, succeed
from networks import random_inputs, random_network
from permfc import image
from permfc.config import as_options
from permfc.device.link import frames
from permfc.device.link.protocol import LINK_VERSION, Command
from permfc.device.link.serial_line import SerialLine
from permfc.device.link.session import Refusal, Session
from permfc.device.selftest import selftest
from permfc.device.serial import PIECE_BYTES, SerialDevice
from permfc.errors import ConfigError, DeviceError, LinkError, PortError, VersionError
from permfc.format import MAGIC, VERSION, Register
from permfc.image import model_file
from reference_board import CONFIG, IDENTITY, DirectLine, ReferenceBoard, Terminal

NETWORK = random_network(6, [30, 40, 12])


def small(**changes: object) -> ReferenceBoard:
    return ReferenceBoard(dataclasses.replace(IDENTITY, **changes))


def opened(board: ReferenceBoard, **options: float) -> SerialDevice:
    return SerialDevice(DirectLine(board), **({"timeout": 0.2, "margin": 0.01} | options))


@pytest.mark.parametrize("content", [b"\0", b"\x7e\x7d\x5e\x5d\x20", bytes(range(256)) * 4])
def test_frames_come_out_as_they_went_in(content: bytes) -> None:
    decoder = frames.FrameDecoder()
    wire = b"noise" + frames.encode(content) + frames.encode(content)[1:]
    assert b"\x7e" not in frames.encode(content)[1:-1]
    assert [frame for byte in wire for frame in decoder.feed(bytes([byte]))] == [content, content]
    assert decoder.damaged == 1


@pytest.mark.parametrize("bit", range(0, 8 * 14, 5))
def test_a_flipped_bit_is_no_frame(bit: int) -> None:
    wire = bytearray(frames.encode(b"eight by"))
    wire[bit // 8] ^= 1 << bit % 8
    assert b"eight by" not in frames.FrameDecoder().feed(bytes(wire[1:-1]))


def test_a_load_sends_little_more_than_the_image() -> None:
    board, data = ReferenceBoard(), np.random.default_rng(1).bytes(256 * 1024)
    device = opened(board)
    line = device._session._line
    before = line.written
    device.write_memory(4096, data)
    assert board.memory[4096:4096 + len(data)] == data
    assert len(data) / (line.written - before) > 0.95
    assert board.overflows == 0


def test_what_the_memory_holds_is_not_sent_again() -> None:
    board, data = ReferenceBoard(), np.random.default_rng(2).bytes(5 * PIECE_BYTES)
    opened(board).write_memory(4096, data)
    board.executed.clear()
    opened(board).write_memory(4096, data)
    assert Command.WRITE_MEMORY not in board.executed
    board.memory[4096 + 3 * PIECE_BYTES] ^= 1
    steps: list[tuple[str, int, int]] = []
    opened(board).write_memory(4096, data, lambda *step: steps.append(step))
    sent = board.executed.count(Command.WRITE_MEMORY) * (IDENTITY.largest_payload - 4)
    assert PIECE_BYTES <= sent < PIECE_BYTES + IDENTITY.largest_payload
    assert board.memory[4096:4096 + len(data)] == data
    assert steps[-1] == ("load", len(data), len(data)) and [done for _, done, _ in steps] == sorted({done for _, done, _ in steps})


def test_a_busy_engine_is_waited_for_in_its_own_time() -> None:
    board = ReferenceBoard()
    device = opened(board)
    device.load(NETWORK)
    board.busy = 3
    x = random_inputs(1, NETWORK.inputs)
    np.testing.assert_array_equal(device.run(x), NETWORK.compute(x))
    board.busy = 1000
    with pytest.raises(DeviceError, match="The engine was still busy after 1048576 cycles"):
        device.wait(0.01)


def test_memory_too_small() -> None:
    device = opened(small(memory_bytes=4200))
    needed = 4096 + len(image.pack(NETWORK, CONFIG))
    with pytest.raises(DeviceError, match=f"The memory of reference has 4200 bytes, but {needed} are needed, {needed - 4200} more"):
        device.load(NETWORK)


def test_flash_holds_several_images_that_pack_wrote(tmp_path: Path) -> None:
    board, other = small(memory_writable=False), random_network(8, [5, 6])
    device, files = opened(board), [tmp_path / "net.safetensors", tmp_path / "other.safetensors"]
    for network, file in zip((NETWORK, other), files, strict=True):
        model_file.save(network, file)
    options = as_options(CONFIG.as_dict()).split()
    figures = json.loads(succeed("pack", *files, "-o", tmp_path / "all.img", *options, "--json").stdout)
    assert [image["file"] for image in figures["images"]] == [str(file) for file in files]
    assert f"{files[0].name} is named twice; name each network once" in fail("pack", files[0], files[0], "-o", tmp_path / "twice.img")
    content = (tmp_path / "all.img").read_bytes()
    board.memory[4096:4096 + len(content)] = content
    device.load({"a": NETWORK, "b": other})
    for name, network in (("a", NETWORK), ("b", other)):
        x = random_inputs(1, network.inputs)
        np.testing.assert_array_equal(device.run(x, name), network.compute(x))
        assert figures["images"][name == "b"]["offset"] == device.networks[name].address - 4096
    message = "make a file of all networks, in the order in which they are loaded: permfc pack .* --tables; and program it"
    with pytest.raises(DeviceError, match=message):
        device.load({"b": other, "a": NETWORK})


def test_flash_runs_what_it_holds_and_names_the_way_to_another() -> None:
    board, x = small(memory_writable=False), random_inputs(1, NETWORK.inputs)
    device = opened(board)
    with pytest.raises(DeviceError, match="flash of reference does not hold this image, .*openFPGALoader -b BOARD -o 4096 --file-type raw net.img"):
        device.load(NETWORK)
    data = image.pack(NETWORK, CONFIG)
    board.memory[4096:4096 + len(data)] = data
    device.load(NETWORK)
    np.testing.assert_array_equal(device.run(x), NETWORK.compute(x))


def test_memory_that_forgets_is_found_out() -> None:
    class Forgetful(ReferenceBoard):
        def _write_memory(self, payload: bytes) -> tuple:
            return super()._write_memory(payload[:-1] + bytes([payload[-1] ^ 1]))

    with pytest.raises(DeviceError, match="The memory of reference does not hold what was written to 0x1000"):
        opened(Forgetful()).load(NETWORK)


@pytest.mark.parametrize(("changes", "found"), [
    ({"link_version": LINK_VERSION + 1}, f"link version {LINK_VERSION + 1} and image format {VERSION}"),
    ({"format_version": 1}, f"link version {LINK_VERSION} and image format 1"),
])
def test_versions_of_both_sides_are_named(changes: dict, found: str) -> None:
    line = DirectLine(small(**changes))
    with pytest.raises(VersionError, match=f"{found}, this program link version {LINK_VERSION} and image format {VERSION}"):
        SerialDevice(line)
    assert line.closed


def test_silence_and_noise_are_no_board() -> None:
    with pytest.raises(LinkError, match="No permfc board answers at bench with 3000000 baud"):
        SerialDevice(DirectLine(ReferenceBoard(), to_board=lambda data: b""), timeout=0.05)
    with pytest.raises(LinkError, match="What answers at bench with 3000000 baud is no permfc board"):
        SerialDevice(DirectLine(ReferenceBoard(), to_host=lambda data: data[::-1]), timeout=0.05)


def test_a_board_that_was_reset_is_not_taken_for_the_old_one() -> None:
    board = ReferenceBoard()
    device = opened(board)
    device.load(NETWORK)
    board.reset()
    for _ in range(2):  # it stays so
        with pytest.raises(LinkError, match="reference at bench was reset in the meantime; open it again and load the network"):
            device.run(np.zeros(NETWORK.inputs, dtype=np.int8))
    again, x = opened(board), random_inputs(2, NETWORK.inputs)
    again.load(NETWORK)
    np.testing.assert_array_equal(again.run(x), NETWORK.compute(x))


@pytest.mark.parametrize("ahead", [3, 100, 128, 200, 254])
def test_another_program_on_the_board_is_named(monkeypatch: pytest.MonkeyPatch, ahead: int) -> None:
    """The second one's HELLO made the board count its requests, from a number of its own."""
    board, numbers = ReferenceBoard(), iter([10, 10 + ahead])
    monkeypatch.setattr("permfc.device.link.session.secrets.randbelow", lambda _: next(numbers) % 256)
    first, second = opened(board), opened(board)
    for _ in range(2):  # it stays so
        with pytest.raises(LinkError, match="reference at bench is in use by another program, .*; close that one, then open the board again"):
            first.read_register(Register.ID)
    assert second.read_register(Register.ID) == MAGIC
    with pytest.raises(LinkError, match="is in use by another program"):
        opened_twice_and_loaded(monkeypatch, board)


def opened_twice_and_loaded(monkeypatch: pytest.MonkeyPatch, board: ReferenceBoard) -> None:
    numbers = iter([10, 77])
    monkeypatch.setattr("permfc.device.link.session.secrets.randbelow", lambda _: next(numbers))
    first, _ = opened(board), opened(board)
    first.write_memory(0, bytes(range(256)) * 64)


def test_refusals() -> None:
    session = Session(DirectLine(ReferenceBoard()))
    with pytest.raises(Refusal, match="reference at bench refused WRITE_MEMORY: it found an address outside of its memory"):
        session.ask(Command.WRITE_MEMORY, b"\xff\xff\xff\x7f" + bytes(8))
    outside = (1 << 20).to_bytes(4, "little")
    with pytest.raises(Refusal, match="refused WRITE_MEMORY"):
        session.ask_all([(Command.WRITE_MEMORY, bytes(8))] * 3 + [(Command.WRITE_MEMORY, outside + b"x")] + [(Command.WRITE_MEMORY, bytes(8))] * 30)
    assert session.ask(Command.READ_REGISTER, bytes(4)) == b"PFC1"


def test_many_requests_count_through_all_sequence_numbers() -> None:
    device = opened(ReferenceBoard(), margin=10)
    for value in range(600):
        device.write_register(Register.IMAGE_BASE, value << 12)
        assert device.read_register(Register.IMAGE_BASE) == value << 12
    assert device.repeats == 0


def test_closed_means_closed() -> None:
    device = opened(ReferenceBoard())
    device.close()
    device.close()
    with pytest.raises(LinkError, match="bench is closed; open it again"):
        device.read_register(Register.ID)


def test_selftest() -> None:
    assert [check.passed for check in selftest(opened(ReferenceBoard()))] == [True, True, True]
    assert [check.passed for check in selftest(opened(small(memory_writable=False)))] == [True, None, None]

    class Aliased(ReferenceBoard):
        def _write_memory(self, payload: bytes) -> tuple:
            address = int.from_bytes(payload[:4], "little") & ~(1 << 14)
            return super()._write_memory(address.to_bytes(4, "little") + payload[4:])

        def _crc(self, payload: bytes) -> tuple:
            begin, end = (int.from_bytes(word, "little") for word in (payload[:4], payload[4:]))
            begin &= ~(1 << 14)
            return super()._crc(begin.to_bytes(4, "little") + (begin + end - int.from_bytes(payload[:4], "little")).to_bytes(4, "little"))

    with permfc.open("golden") as golden:
        assert [(check.name, check.passed) for check in selftest(golden)] == [("network", True)]
    checks = list(selftest(opened(Aliased())))
    assert checks[1].passed is False and "changed when others were written" in checks[1].detail


def test_names_of_devices() -> None:
    for name, message in {
        "usb:1": "Device 'usb:1' is of no known kind; choose golden:... or serial:... or sim:...",
        "serial:": "A serial device needs a port",
        "serial:/dev/null@fast": "The baud rate after @ must be a positive integer, not 'fast'",
        "sim:lane=4": "'lane=4' in the name of a simulated device must be NAME=VALUE with one of lanes, bus_bits",
        "sim:lanes=four": "lanes of a simulated device must be an integer, not 'four'",
        "sim:lanes=5": "lanes must be a power of two from 1 to 64, not 5",
        "golden:memory=axi": "'memory=axi' in the name of a golden device must be NAME=VALUE with one of lanes, bus_bits",
        "golden:tables=2": "tables must be True or False, not 2",
    }.items():
        with pytest.raises(ConfigError, match=message):
            permfc.open(name)
    for name in (None, 3):
        with pytest.raises(ConfigError, match=f"^The name of a device must be a text such as golden, sim or serial:PORT, not {name}$"):
            permfc.open(name)
    for wrong in ({"timeout": -1}, {"timeout": 0}, {"margin": float("inf")}):
        with pytest.raises(ConfigError, match="of a serial device must be a positive number of seconds, not"):
            permfc.open("serial:/dev/null", **wrong)


def test_ports_that_cannot_be_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(PortError, match="There is no port /dev/ttyNONE; plug the board in, and let permfc devices list the ports"):
        permfc.open("serial:/dev/ttyNONE")
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(PortError, match="file is not a serial port"):
        permfc.open(f"serial:{file}")
    with pytest.raises(PortError, match="/dev/null is not a serial port"):
        permfc.open("serial:/dev/null")
    with Terminal(ReferenceBoard()) as terminal:
        with permfc.open(f"serial:{terminal.port}"), pytest.raises(PortError, match=f"{terminal.port} is in use by another program"):
            permfc.open(f"serial:{terminal.port}")
        permfc.open(f"serial:{terminal.port}").close()
        with pytest.raises(PortError, match="cannot be opened at 99999999999 baud: .*; choose another baud rate"):
            permfc.open(f"serial:{terminal.port}@99999999999")

        def forbidden(*_: object, **__: object) -> None:
            raise serial.SerialException(errno.EACCES, "denied")

        monkeypatch.setattr(serial, "Serial", forbidden)
        monkeypatch.setattr("pathlib.Path.group", lambda path: "dialout")
        with pytest.raises(PortError, match=f"You may not open {terminal.port}; add yourself to group dialout: sudo usermod -a -G dialout"):
            SerialLine(terminal.port, 3_000_000, 1)
        monkeypatch.setattr("pathlib.Path.group", lambda path: "root")
        with pytest.raises(PortError, match=f"You may not open {terminal.port}; change its permissions"):
            SerialLine(terminal.port, 3_000_000, 1)


def test_unplugged_in_the_middle() -> None:
    terminal = Terminal(ReferenceBoard())
    with terminal, permfc.open(f"serial:{terminal.port}", timeout=1) as device:
        device.load(NETWORK)
        terminal.unplug()
        with pytest.raises(LinkError, match="is gone: the board was unplugged or lost its power|gave no answer"):
            device.run(np.zeros(NETWORK.inputs, dtype=np.int8))
    with Terminal(ReferenceBoard()) as other, permfc.open(f"serial:{other.port}") as device:
        assert device.memory_crc(0, 4) == zlib.crc32(bytes(4))


def test_an_interrupted_request_is_not_answered_later() -> None:
    """The next request would have its number, so the board would repeat the reply to the interrupted one."""
    board = ReferenceBoard()
    device = opened(board)
    line = device._session._line
    read = line.read

    def interrupt() -> bytes:
        raise KeyboardInterrupt

    line.read = interrupt
    with pytest.raises(KeyboardInterrupt):
        device.read_register(Register.IMAGE_BASE)
    line.read = read
    with pytest.raises(LinkError, match="A request to reference at .* was interrupted; open it again and load the network"):
        device.read_register(Register.ID)
    assert opened(board).read_register(Register.ID) == MAGIC


def test_command_line(tmp_path: Path) -> None:
    network, x, y = tmp_path / "net.safetensors", tmp_path / "x.npy", tmp_path / "y.npy"
    model_file.save(NETWORK, network)
    np.save(x, np.random.default_rng(1).normal(size=(3, NETWORK.inputs)))
    with Terminal(ReferenceBoard()) as terminal:
        device = f"serial:{terminal.port}"
        figures = json.loads(succeed("run", network, "--device", device, "-i", x, "-o", y, "--json").stdout)
        assert (figures["inputs"], figures["mismatches"]) == (3, 0)
        np.testing.assert_allclose(np.load(y), NETWORK.predict(np.load(x)))
        figures = json.loads(succeed("run", network, "--device", "golden", "-i", x, "--json").stdout)
        assert (figures["mismatches"], figures["bytes_are"], figures["counters"], figures["seconds"]) == (0, "predicted", {}, None)
        assert "results equal to the golden model" in succeed("run", network, "--device", device, "-i", x).stdout
        assert "reference, 100 MHz, 1 MiB memory" in " ".join(succeed("devices", terminal.port).stdout.split())
        assert json.loads(succeed("devices", f"serial:{terminal.port}", "/dev/none", "--json").stdout)["devices"][1]["identity"] is None
        checks = json.loads(succeed("selftest", "--device", device, "--json").stdout)["checks"]
        assert [check["passed"] for check in checks] == [True, True, True]
        shown = succeed("selftest", "--device", device).stdout
        assert shown.count("passed") == 3 and "[" not in shown
    np.save(y, np.empty((0, NETWORK.inputs)))
    assert "holds no input; give it one row of 30 values or more" in fail("run", network, "--device", "sim", "-i", y)
    assert "There is no port" in fail("run", network, "--device", "serial:/dev/none", "-i", x)

"""A board behind a serial port, as a Device."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np

from ..config import as_options
from ..errors import ConfigError, DeviceError
from ..format import Register
from ..network import Network
from ..progress import Progress
from .base import CheckOutcome
from .checks import check_memory
from .engine import EngineDevice
from .link.protocol import PATIENCE_CYCLES, Command, Identity, ReplyStatus
from .link.serial_line import SerialLine
from .link.session import MARGIN_SECONDS, TIMEOUT_SECONDS, Line, Refusal, Session

DEFAULT_BAUD = 3_000_000      # of most boards
PIECE_BYTES = 1 << 16         # compared, written and verified at once
CRC_CYCLES_PER_BYTE = 20      # of the board, at most

_WORD = struct.Struct("<I")
_TWO_WORDS = struct.Struct("<II")
_RESULT = np.dtype("<i4")


def open_serial(
    name: str, *, timeout: float = TIMEOUT_SECONDS, margin: float = MARGIN_SECONDS,
    network: Network | Mapping[str, Network] | None = None, progress: Progress | None = None,
) -> SerialDevice:
    """The board at ``PORT`` or ``PORT@BAUD``; see :class:`SerialDevice`. It is what it is, whatever ``network``, and there is no ``progress``."""
    port, _, baud = name.partition("@")
    if not port:
        raise ConfigError("A serial device needs a port: serial:/dev/ttyUSB0, for example; let permfc devices list the ports")
    if baud and not (baud.isdecimal() and int(baud)):
        raise ConfigError(f"The baud rate after @ must be a positive integer, not {baud!r}: serial:{port}@{DEFAULT_BAUD}, for example")
    for what, seconds in (("timeout", timeout), ("margin", margin)):
        if not 0 < seconds < float("inf"):
            raise ConfigError(f"The {what} of a serial device must be a positive number of seconds, not {seconds!r}")
    rate = int(baud or DEFAULT_BAUD)
    return SerialDevice(SerialLine(port, rate, write_timeout=timeout), timeout, margin)


class SerialDevice(EngineDevice):
    """One board. Making one says hello, and clears the engine; the memory keeps its contents.

    Parameters
    ----------
    line : Line
    timeout, margin : float
        Seconds; see :class:`permfc.device.link.session.Session`.

    Raises
    ------
    LinkError
        If no board answers; later, if it falls silent, is reset or unplugged: then close the device and open it again.
    VersionError
        If the bitstream is of another version.
    """

    def __init__(self, line: Line, timeout: float = TIMEOUT_SECONDS, margin: float = MARGIN_SECONDS) -> None:
        self._session = Session(line, timeout, margin)

    @property
    def identity(self) -> Identity:
        """Value of what the board said it is."""
        return self._session.identity

    @property
    def repeats(self) -> int:
        return self._session.repeats

    @property
    def read_only(self) -> bool:
        return not self.identity.memory_writable

    @property
    def image_address(self) -> int:
        return self.identity.image_address

    @property
    def clock_hz(self) -> float:
        return float(self.identity.clock_hz)

    def checks(self, rng: np.random.Generator) -> Sequence[tuple[str, Callable[[], CheckOutcome]]]:
        return [*super().checks(rng), ("memory", lambda: check_memory(self, rng))]

    def read_register(self, register: Register) -> int:
        return _word(self._session.ask(Command.READ_REGISTER, _WORD.pack(register)))

    def write_register(self, register: Register, value: int) -> None:
        self._session.ask(Command.WRITE_REGISTER, _TWO_WORDS.pack(register, value))

    def memory_crc(self, address: int, size: int) -> int:
        """CRC-32 of ``size`` bytes of the board's memory, computed by the board."""
        self.check_room(address + size)
        return _word(self._session.ask(Command.CRC_MEMORY, _TWO_WORDS.pack(address, address + size), size * CRC_CYCLES_PER_BYTE))

    def write_memory(self, address: int, data: bytes, progress: Progress | None = None) -> None:
        """Bring bytes into the board's memory: what it holds already is not sent, what is sent is verified.

        Raises
        ------
        DeviceError
            If the memory is too small, defective, or read-only and holds something else.
        """
        self.check_room(address + len(data))
        continued = True  # a first piece that differs is of another image: the rest is sent without a look
        for done, piece in _pieces(data, PIECE_BYTES):
            same = continued and self._holds(address + done, piece)
            continued = continued and (same or done > 0)
            if same:
                _tell(progress, "load", done + len(piece), len(data))
            else:
                self._check_writable()
                self._write_piece(address + done, piece, partial(_tell_part, progress, done, len(data)))

    def _check_writable(self) -> None:
        if self.read_only:
            raise DeviceError(
                f"The flash of {self.identity.board} does not hold this image, and the link cannot write it; make a file of all networks, in the "
                f"order in which they are loaded: permfc pack net.safetensors -o net.img {as_options(self.identify().as_dict())}; and program it: "
                f"openFPGALoader -b BOARD -o {self.image_address} --file-type raw net.img (ice40_generic is its name for an iCEBreaker)"
            )

    def _holds(self, address: int, data: bytes) -> bool:
        return self.memory_crc(address, len(data)) == zlib.crc32(data)

    def _write_piece(self, address: int, data: bytes, progress: Callable[[int], None] | None = None) -> None:
        room = self.identity.largest_payload - _WORD.size
        requests = [(Command.WRITE_MEMORY, _WORD.pack(address + begin) + part) for begin, part in _pieces(data, room)]
        self._session.ask_all(requests, progress and (lambda count: progress(min(count * room, len(data)))))
        if not self._holds(address, data):
            raise DeviceError(
                f"The memory of {self.identity.board} does not hold what was written to 0x{address:x}..0x{address + len(data) - 1:x}; "
                "run permfc selftest"
            )

    def check_room(self, end: int) -> None:
        room = self.identity.memory_bytes
        if end > room:
            raise DeviceError(
                f"The memory of {self.identity.board} has {room} bytes, but {end} are needed, {end - room} more; compress the network further"
            )

    def send_input(self, values: np.ndarray) -> None:
        for _, part in _pieces(np.ascontiguousarray(values, dtype=np.int8).tobytes(), self.identity.largest_payload):
            self._session.ask(Command.SEND_INPUT, part, waits=True)

    def receive_output(self, count: int) -> np.ndarray:
        received, ended = np.empty(0, dtype=np.int32), False
        while received.size < count and not ended:
            values, ended = self._read_output()
            if not values.size:
                break
            received = np.concatenate([received, values])
        if received.size != count or not ended:
            raise DeviceError(f"The engine gave {received.size} of {count} results{', and more wait' * (not ended)}; load the image again")
        return received

    def discard_output(self) -> None:
        ended = False
        while not ended:
            values, ended = self._read_output()
            ended = ended or not values.size

    def _read_output(self) -> tuple[np.ndarray, bool]:
        """Results that wait, and whether the last of them is the last of all."""
        payload = self._session.ask(Command.READ_OUTPUT, waits=True)
        return np.frombuffer(payload[:-1], dtype=_RESULT).astype(np.int32), payload[-1:] == b"\1"

    def wait(self, timeout: float) -> int:
        limit = timeout * self.identity.clock_hz
        cycles = 0
        while True:
            try:
                return _word(self._session.ask(Command.WAIT, waits=True))
            except Refusal as refusal:
                if refusal.status != ReplyStatus.BUSY:
                    raise
            cycles += PATIENCE_CYCLES
            if cycles > limit:
                raise DeviceError(f"The engine was still busy after {cycles} cycles; clear it or wait longer")

    def clear(self) -> None:
        """Discard input, results and error: the engine is as after a reset, the image stays."""
        self.read_register(Register.ID)  # a board that was reset says so; it would take HELLO
        self._session.hello()

    def close(self) -> None:
        self._session.close()


def _word(payload: bytes) -> int:
    return int.from_bytes(payload[:_WORD.size], "little")


def _pieces(data: bytes, size: int) -> list[tuple[int, bytes]]:
    """``data`` in pieces of ``size`` bytes or less, each with its offset."""
    return [(begin, data[begin:begin + size]) for begin in range(0, len(data), size)]


def _tell_part(progress: Progress | None, before: int, total: int, done: int) -> None:
    _tell(progress, "load", before + done, total)


def _tell(progress: Progress | None, what: str, done: int, total: int) -> None:
    if progress:
        progress(what, done, total)

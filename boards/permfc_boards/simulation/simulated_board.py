"""A simulated board behind a pseudo-terminal: what opens its port cannot tell it from a real one, but for the speed."""

from __future__ import annotations

import ctypes
import os
import select
import threading
import tty
from collections.abc import Callable
from pathlib import Path

from permfc.config import EngineConfig
from permfc.device import Progress
from permfc.errors import DeviceError

from ..board import Board
from .library import board_library

CHUNK_CYCLES = 2_000      # simulated between two looks at the terminal
REST_CYCLES = 300_000     # without a byte on the line: more than any command takes, so the board waits for the host
REST_SECONDS = 0.02       # that a resting board waits for bytes before it simulates another chunk
CHUNK_BYTES = 4_096

Wire = Callable[[bytes], bytes]


class _State(ctypes.Structure):
    _fields_ = [(name, ctypes.c_uint64) for name in ("cycles", "broken", "violations", "first_rule", "first_cycle", "quiet")]


def _load_library(path: Path) -> ctypes.CDLL:
    library = ctypes.CDLL(str(path))
    handle, u64, data = ctypes.c_void_p, ctypes.c_uint64, ctypes.c_char_p
    signatures = {
        "create": (handle, [ctypes.c_double]), "destroy": (None, [handle]), "reset": (None, [handle]), "run": (None, [handle, u64]),
        "load": (ctypes.c_int, [handle, u64, data, u64]), "state": (None, [handle, ctypes.POINTER(_State)]),
        "send": (None, [handle, data, u64]), "receive": (u64, [handle, data, u64]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, f"board_{name}")
        function.restype, function.argtypes = result, arguments
    return library


class SimulatedBoard:
    """The complete top of ``board`` in simulation. Use it in a ``with`` statement: it runs in a thread until the end.

    Parameters
    ----------
    board : Board
    config : EngineConfig
    to_board, to_host : callable, optional
        Get the bytes that travel in a direction, and give those that arrive: for faults on the line.
    progress : callable, optional
        Told about the steps of the build.

    Members
    -------
    name : str
        The board's.
    port : str
        Path of the pseudo-terminal, as of a serial port.

    Raises
    ------
    ToolError
        If the simulator cannot be built.
    """

    def __init__(
        self, board: Board, config: EngineConfig, to_board: Wire | None = None, to_host: Wire | None = None, progress: Progress | None = None
    ) -> None:
        self._library = _load_library(board_library(board, config, progress))
        self._handle = self._library.board_create(board.device.target_mhz * 1e6 / board.baud)
        self._to_board, self._to_host = to_board or bytes, to_host or bytes
        self._lock, self._stopping = threading.Lock(), threading.Event()
        self._terminal, self._line = os.openpty()
        tty.setraw(self._line)
        self.port = os.ttyname(self._line)
        self.name = board.name
        self._thread = threading.Thread(target=self._serve, name=board.name, daemon=True)
        self._thread.start()

    def load(self, address: int, data: bytes) -> None:
        """Write into the memory model without the board's doing, as a programmer writes a flash."""
        with self._lock:
            if not self._library.board_load(self._handle, address, data, len(data)):
                raise DeviceError(f"The simulated memory ends before byte {address + len(data)}; load less")

    def reset(self) -> None:
        """As the board's reset: the link and the engine forget everything, the memory keeps its contents."""
        with self._lock:
            self._library.board_reset(self._handle)

    def cycles(self) -> int:
        """Cycles of the board's clock so far."""
        return self._state().cycles

    def violations(self) -> tuple[int, int, int]:
        """Broken timing rules of the memory: how many, the number of the first, and its cycle."""
        state = self._state()
        return state.violations, state.first_rule, state.first_cycle

    def close(self) -> None:
        """End the simulation and take the port away. Closing twice does nothing."""
        if self._stopping.is_set():
            return
        self._stopping.set()
        self._thread.join()
        self._library.board_destroy(self._handle)
        os.close(self._line)
        os.close(self._terminal)

    def __enter__(self) -> SimulatedBoard:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _state(self) -> _State:
        state = _State()
        with self._lock:
            self._library.board_state(self._handle, state)
        return state

    def _serve(self) -> None:
        """Bytes from the terminal to the line, time, bytes from the line to the terminal; a board at rest waits instead of counting cycles."""
        received = ctypes.create_string_buffer(CHUNK_BYTES)
        last_byte = 0
        while not self._stopping.is_set():
            resting = self._state().cycles - last_byte > REST_CYCLES
            heard = self._heard(REST_SECONDS if resting else 0)
            with self._lock:
                if heard:
                    self._library.board_send(self._handle, heard, len(heard))
                self._library.board_run(self._handle, CHUNK_CYCLES)
                count = self._library.board_receive(self._handle, received, CHUNK_BYTES)
            answer = self._to_host(received.raw[:count]) if count else b""
            if answer:
                os.write(self._terminal, answer)
            state = self._state()
            if heard or count or not state.quiet:
                last_byte = state.cycles

    def _heard(self, patience: float) -> bytes:
        ready, _, _ = select.select([self._terminal], [], [], patience)
        return self._to_board(os.read(self._terminal, CHUNK_BYTES)) if ready else b""

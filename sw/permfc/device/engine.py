"""An engine with registers and a memory, real or simulated. A link (simulation, UART, PCIe) implements the few abstract methods."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from ..config import EngineConfig
from ..errors import ConfigError, DeviceError
from ..format import MAGIC, VERSION, Control, ErrorCode, Register
from ..progress import Progress
from .base import RUN_SECONDS, CheckOutcome, Cost, Counts, Device
from .checks import check_link
from .placement import PlacedImage

ERROR_BITS = 8  # position of the error code in STATUS

ERROR_SENTENCES = {
    ErrorCode.BUS: "the memory answered a read with an error or with RLAST on a wrong word; check that the image lies inside the memory",
    ErrorCode.MAGIC: "there is no image at IMAGE_BASE; load a network first",
    ErrorCode.VERSION: "the image has another format version; pack the network again",
    ErrorCode.CONFIG: "the image was packed for another bus width, for larger limits or for an engine with tables; "
                      "pack it for the configuration of this engine",
    ErrorCode.INPUT_LENGTH: "the number of input values is not the number of inputs of the network",
    ErrorCode.TIMEOUT: "the memory did not answer a read",
    ErrorCode.DESCRIPTOR: "the image holds a block descriptor that is out of range; load it again",
}


class EngineDevice(Device):
    """One engine with its memory, register by register."""

    @abc.abstractmethod
    def read_register(self, register: Register) -> int:
        """The value of a register, 0 to 2**32 - 1."""

    @abc.abstractmethod
    def write_register(self, register: Register, value: int) -> None:
        """Set a register."""

    @abc.abstractmethod
    def check_room(self, end: int) -> None:
        """Raise DeviceError if the memory ends before byte address ``end``."""

    @abc.abstractmethod
    def write_memory(self, address: int, data: bytes, progress: Progress | None = None) -> None:
        """Write bytes into the engine's memory; ``progress`` is called with what is being done, steps done, and steps."""

    @abc.abstractmethod
    def send_input(self, values: NDArray[np.int8]) -> None:
        """Stream int8 [n] into the engine."""

    @abc.abstractmethod
    def receive_output(self, count: int) -> NDArray[np.int32]:
        """The next ``count`` results from the engine, int32 [count]."""

    @abc.abstractmethod
    def discard_output(self) -> None:
        """Take the results that wait in the engine, and forget them and those that have arrived and were not received."""

    @abc.abstractmethod
    def wait(self, timeout: float) -> int:
        """STATUS as soon as the engine is not busy; DeviceError when it still is after ``timeout`` seconds of the engine's time."""

    @property
    def repeats(self) -> int | None:
        """Value of how many requests the link had to send again so far; None of a link that loses nothing."""
        return None

    def checks(self, rng: np.random.Generator) -> Sequence[tuple[str, Callable[[], CheckOutcome]]]:
        return [("link", lambda: check_link(self, rng))]

    def identify(self) -> EngineConfig:
        """What the engine was built for, read from the engine.

        Raises
        ------
        DeviceError
            If there is no engine behind the link, or one of another version.
        """
        magic, version = self.read_register(Register.ID), self.read_register(Register.VERSION)
        if magic != MAGIC:
            raise DeviceError(f"There is no permfc engine behind the link: register ID reads 0x{magic:08x} instead of 0x{MAGIC:08x}")
        if version != VERSION:
            raise DeviceError(f"The engine has version {version} and this program version {VERSION}; build the engine again")
        sizes, limits, sums = (self.read_register(register) for register in (Register.CONFIG0, Register.CONFIG1, Register.CONFIG2))
        try:
            return EngineConfig(
                lanes=sizes & 0xFF, bus_bits=8 << (sizes >> 8 & 0xFF), levels=sizes >> 16 & 0xFF, outstanding=sizes >> 24,
                block_outputs=limits & 0xFFFF, features=limits >> 16,
                accumulator_bits=sums & 0xFF, tables=bool(sums >> 8 & 1),
            )
        except ConfigError as error:
            raise DeviceError(f"The engine reports an impossible configuration: {error}") from error

    def clear(self) -> None:
        """Discard input, results and error: the engine is as after a reset, the images stay. A run that is under way is waited for."""
        self.discard_output()   # a start may wait for their way out
        self.wait(RUN_SECONDS)  # the engine takes no notice of CLEAR while it is busy
        self.write_register(Register.CONTROL, Control.CLEAR)
        self.discard_output()   # CLEAR leaves the results of a run that was complete

    def counters(self) -> Counts:
        return Counts(**{field.name: self.read_register(Register[field.name.upper()]) for field in fields(Counts)})

    def cost(self) -> Cost:
        if self._cost is None:
            raise DeviceError("There was no run whose cost could be told; call run first")
        return self._cost

    def error(self) -> ErrorCode:
        """Why the last run stopped; NONE if it did not fail."""
        return _error_in(self.read_register(Register.STATUS))

    _cost: Cost | None = None
    _image_base: int | None = None  # what the register holds, if that is known
    _bus_bytes: int
    _unfinished = False  # the last run was interrupted: its results would be taken for the next one's

    def _store(self, images: Mapping[str, PlacedImage], progress: Progress | None) -> None:
        self._cost = None
        total = sum(len(image.data) for image in images.values())
        self.check_room(max(image.end for image in images.values()))
        self._bus_bytes = self.identify().bus_bytes
        done = 0
        for image in images.values():
            self.write_memory(image.address, image.data, progress and _part_of(progress, done, total))
            done += len(image.data)
        self._image_base = None
        self._choose(next(iter(images.values())).address)

    def _choose(self, address: int) -> None:
        """Make the image at ``address`` the one that is run."""
        if self._image_base != address:
            self._image_base = None
            self.write_register(Register.IMAGE_BASE, address)
            self._image_base = address

    def _run(self, name: str, batch: NDArray[np.int8], timeout: float) -> NDArray[np.int32]:
        results = np.empty((len(batch), self._networks[name].outputs), dtype=np.int32)
        self._cost = None
        if self._unfinished:
            self.clear()
        self._choose(self._networks[name].address)
        cycles = beats = 0
        for row, values in zip(results, batch, strict=True):
            self._unfinished = True
            try:
                row[:] = self._run_one(values, row.size, timeout)
            except DeviceError:
                self.clear()
                self._unfinished = False
                raise
            self._unfinished = False
            cycles += self.read_register(Register.CYCLES)
            beats += self.read_register(Register.BEATS)
        self._cost = Cost(name, len(batch), beats * self._bus_bytes, cycles, "counted")
        return results

    def _run_one(self, values: NDArray[np.int8], outputs: int, timeout: float) -> NDArray[np.int32]:
        self.send_input(values)
        self.write_register(Register.CONTROL, Control.START)
        error = _error_in(self.wait(timeout))
        if error is not ErrorCode.NONE:
            raise DeviceError(f"The engine stopped with error {error.name}: {ERROR_SENTENCES[error]}")
        return self.receive_output(outputs)


def _error_in(status: int) -> ErrorCode:
    code = status >> ERROR_BITS & 0xFF
    try:
        return ErrorCode(code)
    except ValueError:
        raise DeviceError(f"The engine reports error code {code}, which this program does not know; update it") from None


def _part_of(progress: Progress, before: int, total: int) -> Progress:
    """A progress of one image that tells how far all of them are."""
    return lambda what, done, _: progress(what, before + done, total)

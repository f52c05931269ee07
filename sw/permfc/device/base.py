"""What every engine looks like from the host, simulated or real: identify, load, run, count.

A link (simulation, UART, PCIe) implements the few abstract methods; everything that gives them a meaning is here.
"""

from __future__ import annotations

import abc
from dataclasses import dataclass, fields
from types import TracebackType

import numpy as np

from .. import image
from ..config import EngineConfig
from ..errors import ConfigError, DeviceError, InputError
from ..format import MAGIC, VERSION, Control, ErrorCode, Register
from ..network import Network
from ..progress import Progress

IMAGE_ADDRESS = 0
RUN_SECONDS = 10.0  # of the engine's time: half of that takes an iCEBreaker for as much as its flash holds; a defective image ends by itself
ERROR_BITS = 8  # position of the error code in STATUS

ERROR_SENTENCES = {
    ErrorCode.BUS: "the memory answered a read with an error; check that the image lies inside the memory",
    ErrorCode.MAGIC: "there is no image at IMAGE_BASE; load a network first",
    ErrorCode.VERSION: "the image has another format version; pack the network again",
    ErrorCode.CONFIG: "the image was packed for another bus width or for larger limits; pack it for the configuration of this engine",
    ErrorCode.INPUT_LENGTH: "the number of input values is not the number of inputs of the network",
    ErrorCode.TIMEOUT: "the memory did not answer a read",
    ErrorCode.DESCRIPTOR: "the image holds a block descriptor that is out of range; load it again",
}


@dataclass(frozen=True)
class Counters:
    """What the engine counted in its last run.

    Members
    -------
    cycles : int
        Clock cycles from start to done.
    beats : int
        Bus words read.
    segments_fetched, segments_skipped : int
        Segments read from memory, and segments that a zero activation made unnecessary.
    cycles_starved : int
        Cycles in which the lanes waited for memory.
    cycles_stalled : int
        Cycles in which memory waited for the lanes.
    """

    cycles: int
    beats: int
    segments_fetched: int
    segments_skipped: int
    cycles_starved: int
    cycles_stalled: int


class Device(abc.ABC):
    """One engine with its memory. Use it in a ``with`` statement, or call `close`."""

    @abc.abstractmethod
    def read_register(self, register: Register) -> int:
        """The value of a register, 0 to 2**32 - 1."""

    @abc.abstractmethod
    def write_register(self, register: Register, value: int) -> None:
        """Set a register."""

    @abc.abstractmethod
    def write_memory(self, address: int, data: bytes, progress: Progress | None = None) -> None:
        """Write bytes into the engine's memory; ``progress`` is called with what is being done, steps done, and steps."""

    @abc.abstractmethod
    def send_input(self, values: np.ndarray) -> None:
        """Stream int8 [n] into the engine."""

    @abc.abstractmethod
    def receive_output(self, count: int) -> np.ndarray:
        """The next ``count`` results from the engine, int32 [count]."""

    @abc.abstractmethod
    def discard_output(self) -> None:
        """Forget the results that have arrived and were not received."""

    @abc.abstractmethod
    def wait(self, timeout: float) -> None:
        """Return when the engine is not busy; raise DeviceError when it still is after ``timeout`` seconds of the engine's time."""

    @abc.abstractmethod
    def close(self) -> None:
        """Release the link. Closing twice does nothing."""

    def __enter__(self) -> Device:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

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

    @property
    def image_address(self) -> int:
        """Value of where images lie in the memory."""
        return IMAGE_ADDRESS

    def load(self, network: Network | bytes, progress: Progress | None = None) -> None:
        """Write a network, or an image packed for this engine, into the memory.

        Raises
        ------
        FormatError
            If the image is damaged.
        ConfigError
            If the network or the image does not fit the engine.
        """
        config = self.identify()
        if isinstance(network, Network):
            data = image.pack(network, config)
        else:
            data, network = bytes(network), _network_of(network, config)
        self._inputs = None  # until all of it is there
        self.write_memory(self.image_address, data, progress)
        self.write_register(Register.IMAGE_BASE, self.image_address)
        self._inputs, self._outputs = network.inputs, network.outputs

    def run(self, x: np.ndarray, timeout: float = RUN_SECONDS) -> np.ndarray:
        """The network's integer results for quantised inputs in packed order (`Network.quantise` makes them).

        Parameters
        ----------
        x : int8 [inputs] or [batch, inputs]
        timeout : float
            Seconds of the engine's time for one input.

        Returns
        -------
        int32 [outputs] or [batch, outputs]

        Raises
        ------
        InputError
            If the shape, the type or the range is wrong.
        DeviceError
            If the engine reports an error or does not finish; it is cleared and can be used again.
        """
        batch = self._checked_input(x)
        results = np.empty((len(batch), self._outputs), dtype=np.int32)
        if self._unfinished:
            self.clear()
        for row, values in zip(results, batch, strict=True):
            self._unfinished = True
            try:
                row[:] = self._run_one(values, timeout)
            except DeviceError:
                self.clear()
                self._unfinished = False
                raise
            self._unfinished = False
        return results if x.ndim == 2 else results[0]

    def clear(self) -> None:
        """Discard input, results and error: the engine is as after a reset, the image stays. A run that is under way is waited for."""
        self.discard_output()
        self.wait(RUN_SECONDS)  # the engine takes no notice of CLEAR while it is busy
        self.write_register(Register.CONTROL, Control.CLEAR)
        self.discard_output()

    def counters(self) -> Counters:
        """What the engine counted in its last run."""
        return Counters(**{field.name: self.read_register(Register[field.name.upper()]) for field in fields(Counters)})

    def error(self) -> ErrorCode:
        """Why the last run stopped; NONE if it did not fail."""
        code = self.read_register(Register.STATUS) >> ERROR_BITS & 0xFF
        try:
            return ErrorCode(code)
        except ValueError:
            raise DeviceError(f"The engine reports error code {code}, which this program does not know; update it") from None

    _inputs: int | None = None
    _outputs: int
    _unfinished = False  # the last run was interrupted: its results would be taken for the next one's

    def _checked_input(self, x: np.ndarray) -> np.ndarray:
        if self._inputs is None:
            raise DeviceError("No network is loaded; call load first")
        if not isinstance(x, np.ndarray) or x.ndim not in (1, 2) or x.shape[-1] != self._inputs:
            found = list(x.shape) if isinstance(x, np.ndarray) else repr(x)
            raise InputError(f"Input must be an array of {self._inputs} values, or a batch of such rows, not {found}")
        if x.dtype.kind not in "iu":
            raise InputError(f"Input must be integers, not {x.dtype}; Network.quantise turns real values into int8")
        if x.size and not -128 <= x.min() <= x.max() <= 127:
            raise InputError(f"Input must be in -128..127, not {x.min()}..{x.max()}")
        return np.atleast_2d(x).astype(np.int8)

    def _run_one(self, values: np.ndarray, timeout: float) -> np.ndarray:
        self.send_input(values)
        self.write_register(Register.CONTROL, Control.START)
        self.wait(timeout)
        error = self.error()
        if error is not ErrorCode.NONE:
            raise DeviceError(f"The engine stopped with error {error.name}: {ERROR_SENTENCES[error]}")
        return self.receive_output(self._outputs)


def _network_of(data: bytes, config: EngineConfig) -> Network:
    """The network in an image, verified; ConfigError when the image is for another engine."""
    parsed = image.parse(data)
    if parsed.bus_bits != config.bus_bits:
        raise ConfigError(f"The image is packed for a bus of {parsed.bus_bits} bits, the engine has {config.bus_bits}; pack the network again")
    network = parsed.network()
    image.check_fits(network, config)
    return network

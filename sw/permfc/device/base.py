"""What every device looks like to the host, be it a board, a simulation or a model: load networks, run one by its name, ask what that cost."""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..config import EngineConfig
from ..errors import DeviceError, InputError
from ..progress import Progress
from .placement import Loadable, PlacedImage, named, place

IMAGE_ADDRESS = 0
RUN_SECONDS = 10.0  # of the engine's time: half of that takes an iCEBreaker for as much as its flash holds; a defective image ends by itself

CheckOutcome = tuple[bool | None, str]
"""Whether a check passed (None: there was nothing to check), and what was measured or found wrong."""

Self = TypeVar("Self", bound="Device")


@dataclass(frozen=True)
class LoadedNetwork:
    """A network that a device holds.

    Members
    -------
    inputs, outputs : int
    address : int
        Where its image begins in the memory.
    image_bytes : int
    """

    inputs: int
    outputs: int
    address: int
    image_bytes: int


@dataclass(frozen=True)
class Cost:
    """What one call of `Device.run` cost: sums over all its inputs.

    Members
    -------
    network : str
        The name under which it was loaded.
    inputs : int
    bytes : int
        Read from the memory, whole bus words.
    cycles : int or None
        Clock cycles from start to done; None from a device without a clock.
    source : str
        ``counted`` by the engine, or ``predicted`` by the law that engines obey.
    """

    network: str
    inputs: int
    bytes: int
    cycles: int | None
    source: Literal["counted", "predicted"]


@dataclass(frozen=True)
class Counts:
    """What the engine counted for its last input.

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
    """Runs networks. Use it in a ``with`` statement, or call `close`."""

    _networks: Mapping[str, LoadedNetwork] = {}

    @property
    @abc.abstractmethod
    def clock_hz(self) -> float | None:
        """Value of the engine's clock; None where there is none."""

    @abc.abstractmethod
    def identify(self) -> EngineConfig:
        """What the engine was built for: a network must fit it. Raises DeviceError if no engine answers."""

    @abc.abstractmethod
    def cost(self) -> Cost:
        """What the last call of `run` cost. Raises DeviceError after `load`, and after a run that failed."""

    def counters(self) -> Counts | None:
        """What the engine counted for its last input; None where there is no engine that counts."""
        return None

    @abc.abstractmethod
    def close(self) -> None:
        """Release what the device holds. Closing twice does nothing."""

    @abc.abstractmethod
    def _store(self, images: Mapping[str, PlacedImage], progress: Progress | None) -> None:
        """Make these images what the device holds."""

    @abc.abstractmethod
    def _run(self, name: str, batch: NDArray[np.int8], timeout: float) -> NDArray[np.int32]:
        """Results int32 [batch, outputs] of a loaded network for int8 [batch, inputs]."""

    @property
    def image_address(self) -> int:
        """Value of where the first image lies in the memory."""
        return IMAGE_ADDRESS

    @property
    def read_only(self) -> bool:
        """Value of whether the memory must hold an image already when it is loaded, since only its programmer writes it."""
        return False

    def checks(self, rng: np.random.Generator) -> Sequence[tuple[str, Callable[[], CheckOutcome]]]:
        """Checks of the way to the engine by name, in order; `permfc.device.selftest.selftest` runs them before its own."""
        return ()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    @property
    def networks(self) -> Mapping[str, LoadedNetwork]:
        """Value of what is loaded, by name, in the order of the memory."""
        return dict(self._networks)

    def load(self, networks: Loadable | Mapping[str, Loadable], progress: Progress | None = None) -> None:
        """Bring networks into the memory, one behind the other. They replace what was loaded; if that fails, nothing is loaded.

        Parameters
        ----------
        networks : Network, bytes, or mapping of names to those
            Bytes are an image packed for this engine. A single network needs no name; it gets ``network``.
        progress : callable, optional
            Called with what is being done, steps done, and steps.

        Raises
        ------
        FormatError
            If an image is damaged.
        ConfigError
            If a network or an image does not fit the engine, or a name is empty.
        DeviceError
            If the memory is too small for all of them.
        """
        self._networks = {}  # until all of it is there
        images = place(named(networks), self.identify(), self.image_address)
        self._store(images, progress)
        self._networks = {
            name: LoadedNetwork(image.network.inputs, image.network.outputs, image.address, len(image.data))
            for name, image in images.items()
        }

    def run(self, x: np.ndarray, name: str | None = None, timeout: float = RUN_SECONDS) -> NDArray[np.int32]:
        """A network's integer results for quantised inputs in packed order (`Network.quantise` makes them).

        Parameters
        ----------
        x : int8 [inputs] or [batch, inputs]
        name : str, optional
            Which network; needed only when several are loaded.
        timeout : float
            Seconds of the engine's time for one input.

        Returns
        -------
        int32 [outputs] or [batch, outputs]

        Raises
        ------
        InputError
            If the shape, the type or the range of ``x`` is wrong, or there is no network of that name.
        DeviceError
            If nothing is loaded, or the engine reports an error or does not finish; it is cleared and can be used again.
        """
        chosen = self._chosen(name)
        results = self._run(chosen, _checked_input(x, self._networks[chosen].inputs), timeout)
        return results if x.ndim == 2 else results[0]

    def _chosen(self, name: str | None) -> str:
        """The name of a loaded network."""
        if not self._networks:
            raise DeviceError("No network is loaded; call load first")
        if name is not None and name in self._networks:
            return name
        names = ", ".join(self._networks)
        if name is not None:
            raise InputError(f"There is no network {name!r} on this device; loaded are: {names}")
        if len(self._networks) > 1:
            raise InputError(f"Several networks are loaded; name the one to run: {names}")
        return names


def _checked_input(x: np.ndarray, inputs: int) -> NDArray[np.int8]:
    if not isinstance(x, np.ndarray) or x.ndim not in (1, 2) or x.shape[-1] != inputs:
        found = list(x.shape) if isinstance(x, np.ndarray) else repr(x)
        raise InputError(f"Input must be an array of {inputs} values, or a batch of such rows, not {found}")
    if x.dtype.kind not in "iu":
        raise InputError(f"Input must be integers, not {x.dtype}; Network.quantise turns real values into int8")
    if x.dtype != np.int8 and x.size and not -128 <= x.min() <= x.max() <= 127:
        raise InputError(f"Input must be in -128..127, not {x.min()}..{x.max()}")
    return np.atleast_2d(x).astype(np.int8, copy=False)

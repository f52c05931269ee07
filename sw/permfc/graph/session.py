"""Running a whole network: its own inputs in, its own outputs out, the fully connected layers on any device."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from ..device.opening import open as open_device
from ..errors import ClippingWarning, InputError, LinkError, ModelError
from ..progress import Progress
from .values import Value, checked_feeds
from .whole import WholeNetwork

MOST_CLIPPED = 0.01  # of all values of a chain's inputs, before the user is warned


@dataclass(frozen=True)
class ChainRun:
    """What a chain did in a session's last run.

    Members
    -------
    chain : str
    samples : int
        Vectors that it computed.
    bytes : int
        Read from the engine's memory for all of them.
    cycles : int or None
        Of the engine's clock for all of them; None from a device without a clock.
    source : str
        How ``bytes`` are known: ``counted`` by the engine, or ``predicted``.
    clipped : float
        The share of the chain's input values that int8 clips, 0 to 1: many, where inputs are unlike those that calibrated it.
    mismatches : int or None
        Results that differ from the golden model's; None if they were not compared.
    """

    chain: str
    samples: int
    bytes: int
    cycles: int | None
    source: str
    clipped: float
    mismatches: int | None = None


class Session:
    """A compressed network on a device, used like onnxruntime's InferenceSession. Use it in a ``with`` statement, or call `close`.

    Parameters
    ----------
    network : path or WholeNetwork
        What ``permfc compress`` or `compress_graph` made of an ONNX model.
    device : str
        ``golden``, ``sim``, ``serial:PORT`` or any other that `permfc.open` knows.
    check : bool
        Compare every result with the golden model's; `last_run` tells the differences.
    progress : callable, optional
        Called with (what, steps done, steps) while the device is opened and loaded.
    **options
        Of the device.

    Raises
    ------
    ModelError
        If ``network`` is neither.
    FormatError
        If the file is damaged or its parts do not belong together.
    ConfigError
        If there is no such kind of device, or it cannot have the network.
    ToolError
        If onnxruntime, or what the device needs, is missing.
    """

    def __init__(self, network: str | os.PathLike[str] | WholeNetwork, device: str = "golden", *, check: bool = False,
                 progress: Progress | None = None, **options: Any) -> None:
        self._check = check
        self._closed = self._warned = False
        self._network = _network(network)
        self._plan = self._network.plan()
        self._device = open_device(device, network=dict(self._network.chains), progress=progress, **options)
        try:
            self._device.load(dict(self._network.chains), progress)
        except BaseException:
            self._device.close()
            raise
        self.last_run: dict[str, ChainRun] = {}  # by chain

    def __enter__(self) -> Session:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Release the device. Closing twice does nothing."""
        self._closed = True
        self._device.close()

    @property
    def network(self) -> WholeNetwork:
        """Value of what is run."""
        return self._network

    @property
    def device(self) -> Any:
        """Value of the device that the chains run on, an open `permfc.device.base.Device`."""
        return self._device

    def get_inputs(self) -> list[Value]:
        """The inputs, each with ``name``, ``type`` and ``shape``."""
        return list(self._network.inputs)

    def get_outputs(self) -> list[Value]:
        """The outputs, each with ``name``, ``type`` and ``shape``."""
        return list(self._network.outputs)

    def run(self, output_names: Sequence[str] | None, input_feed: Mapping[str, object]) -> list[Any]:
        """The network's results; a ClippingWarning, once a session, if more than 1 % of what reaches a chain is clipped.

        Parameters
        ----------
        output_names : names of outputs, or None for all
        input_feed : mapping of names to arrays

        Returns
        -------
        list of arrays, in the order of the names

        Raises
        ------
        InputError
            If the network has no such output or does not take such inputs.
        LinkError
            If the session is closed.
        DeviceError
            If the device fails.
        """
        if self._closed:  # the device would not be asked for a batch without rows
            raise LinkError("The session is closed; open it again")
        known = [value.name for value in self._network.outputs]
        wanted = known if output_names is None else _names(output_names)
        unknown = [name for name in wanted if name not in known]
        if unknown:
            raise InputError(f"The network has no output {unknown[0]!r}; its outputs are {', '.join(known)}")
        self.last_run = {}
        tensors = self._plan.run(checked_feeds(self._network.inputs, input_feed), self._compute)
        self._warn_of_clipping()
        return [tensors[name] for name in wanted]

    def _warn_of_clipping(self) -> None:
        most = max(self.last_run.values(), key=lambda run: run.clipped, default=None)
        if most and most.clipped > MOST_CLIPPED and not self._warned:
            self._warned = True
            sentence = (f"{most.clipped:.1%} of the values that reach chain {most.chain} are outside of the range that the network was compressed "
                        "for, and are clipped: compress it again with inputs like these; last_run tells the share of every run")
            warnings.warn(sentence, ClippingWarning, stacklevel=3)

    def _compute(self, name: str, x: np.ndarray) -> np.ndarray:
        chain = self._network.chains[name]
        if not len(x):
            return np.zeros((0, chain.outputs), dtype=np.float32)
        try:
            quantised = chain.quantise(x)
        except InputError as error:
            raise InputError(f"Chain {name!r}: {error}") from error
        results = self._device.run(quantised, name)
        cost = self._device.cost()
        mismatches = int(np.count_nonzero(results != chain.compute(quantised))) if self._check else None
        self.last_run[name] = ChainRun(name, len(x), cost.bytes, cost.cycles, cost.source, chain.clipped_share(x), mismatches)
        return results.astype(np.float32) * chain.output_scale


def _network(given: str | os.PathLike[str] | WholeNetwork) -> WholeNetwork:
    if isinstance(given, WholeNetwork):
        return given
    if not isinstance(given, (str, os.PathLike)):
        raise ModelError(f"A session runs a WholeNetwork or the path of its file, not {type(given).__name__}: make one with permfc.compress_graph, "
                         "or run a single chain on a device of permfc.open")
    return WholeNetwork.load(given)


def _names(given: Sequence[str]) -> list[str]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InputError(f"Names of outputs must be a list of texts, or None for all, not {given!r}")
    return list(given)

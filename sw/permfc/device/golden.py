"""The golden model as a device: the results that every engine must give, and the bytes that it would read."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..config import EngineConfig
from ..errors import DeviceError, LinkError
from ..image import predicted_traffic
from ..network import Network
from ..progress import Progress
from .base import Cost, Device
from .placement import PlacedImage, engine_for, engine_parameters


def open_golden(text: str, *, network: Network | Mapping[str, Network] | None = None, progress: Progress | None = None) -> GoldenDevice:
    """A golden device for the engine that ``NAME=VALUE,...`` and the networks ask for, see :func:`permfc.open`. It opens at once."""
    parameters, _ = engine_parameters(text, "golden device")
    return GoldenDevice(engine_for(network, parameters))


class GoldenDevice(Device):
    """The golden integer model of an engine: no registers, no clock, no memory that could be too small.

    Parameters
    ----------
    config : EngineConfig
        The engine that it stands for: networks must fit it, and its bus width decides how many bytes a run reads.
    """

    def __init__(self, config: EngineConfig | None = None) -> None:
        self._config = config or EngineConfig()
        self._held: dict[str, Network] = {}
        self._last: tuple[str, NDArray[np.int8]] | None = None
        self._closed = False

    @property
    def clock_hz(self) -> None:
        return None

    def identify(self) -> EngineConfig:
        self._check_open()
        return self._config

    def cost(self) -> Cost:
        if self._last is None:
            raise DeviceError("There was no run whose cost could be told; call run first")
        name, x = self._last
        traffic = predicted_traffic(self._held[name], x, self._config)
        return Cost(name, len(x), int(traffic.total_bytes.sum()), None, "predicted")

    def close(self) -> None:
        self._closed, self._held, self._last = True, {}, None

    def _check_open(self) -> None:
        if self._closed:
            raise LinkError("The golden device is closed; open it again")

    def _store(self, images: Mapping[str, PlacedImage], progress: Progress | None) -> None:
        self._held, self._last = {name: image.network for name, image in images.items()}, None
        if progress:
            progress("load", len(images), len(images))

    def _run(self, name: str, batch: NDArray[np.int8], timeout: float) -> NDArray[np.int32]:
        self._check_open()
        results = self._held[name].compute(batch)
        self._last = name, batch.copy()
        return results

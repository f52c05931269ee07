"""The device behind a model's layers, and what it did in the last forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..device.opening import open as open_device
from ..network import Network
from ..progress import Progress
from .report import Work


class Engine:
    """An open device with all layers in its memory.

    Parameters
    ----------
    networks : mapping of layers' names to Networks
    device : str
        Whatever ``permfc.open`` takes.
    progress : callable, optional
        Called with (what, steps done, steps) while the device is opened and loaded.

    Members
    -------
    work : dict of str to Work
        By the layers' names; the one who reads it clears it.
    """

    def __init__(self, networks: Mapping[str, Network], device: str, progress: Progress | None = None) -> None:
        self.work: dict[str, Work] = {}
        self._device = open_device(device, network=networks, progress=progress)
        try:
            self._device.load(networks, progress)
        except BaseException:
            self.close()
            raise

    def run(self, name: str, inputs: np.ndarray) -> np.ndarray:
        """Results int32 [n, outputs] of a layer for int8 [n, inputs] in packed order."""
        results = self._device.run(inputs, name)
        cost = self._device.cost()
        done = Work(cost.inputs, cost.bytes, cost.cycles, cost.source)
        self.work[name] = self.work[name] + done if name in self.work else done
        return results

    def close(self) -> None:
        """Release the device. Closing twice does nothing."""
        self._device.close()

"""The device behind a model's layers, and what it did in the last forward pass."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..config import EngineConfig
from ..image import predicted_traffic
from ..network import Network
from .report import Work


class Engine:
    """The golden model."""

    def __init__(self, networks: Mapping[str, Network], config: EngineConfig) -> None:
        self._networks, self._config = networks, config
        self.work: dict[str, Work] = {}

    def run(self, name: str, inputs: np.ndarray) -> np.ndarray:
        """Results int32 [n, outputs] of a layer for int8 [n, inputs] in packed order."""
        network = self._networks[name]
        traffic = predicted_traffic(network, inputs, self._config)
        self.work[name] = self.work.get(name, Work()) + Work(len(inputs), 0, int(traffic.total_bytes.sum()))
        return network.compute(inputs)

    def close(self) -> None:
        """Release the device."""

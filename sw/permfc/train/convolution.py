"""LeNet-5's convolutions, which stay on the host in float32."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SIDE = 28
FEATURES = 800
_BATCH = 500


def lenet5_convolutions() -> nn.Sequential:
    """20 convolutions of 5x5, pool, 50 of 5x5, pool: 800 features that are not negative, for images float [n, 784]."""
    return nn.Sequential(
        nn.Unflatten(1, (1, SIDE, SIDE)),
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(),
    )


def features(convolutions: nn.Sequential, images: Tensor) -> Tensor:
    """What the convolutions make of images float [n, 784]: float32 [n, 800]."""
    with torch.no_grad():
        return torch.cat([convolutions(part) for part in images.split(_BATCH)])

"""Images moved at random by a few pixels."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

_PARTS = 8  # of a batch; the images of a part move together, which is as good and far cheaper than one by one


def shifter(side: int, pixels: int, share: float) -> Callable[[Tensor, torch.Generator], Tensor]:
    """A function of images float [n, side * side] and a generator that moves a part of them by up to ``pixels`` in both directions.

    Parameters
    ----------
    share : float
        Part of the images that is moved, 0 to 1.
    """

    def shift(x: Tensor, generator: torch.Generator) -> Tensor:
        padded = functional.pad(x.view(-1, side, side), (pixels,) * 4)
        moved = [part[:, row:row + side, column:column + side]
                 for number, part in enumerate(padded.chunk(_PARTS)) for row, column in [place(number, generator)]]
        return torch.cat(moved).reshape(len(x), -1)

    def place(number: int, generator: torch.Generator) -> list[int]:
        if number >= share * _PARTS:
            return [pixels, pixels]
        return torch.randint(0, 2 * pixels + 1, (2,), generator=generator).tolist()

    return shift if pixels and share else lambda x, generator: x

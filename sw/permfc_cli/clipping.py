"""The warning that inputs are beyond what int8 represents."""

from __future__ import annotations

from . import console

_MOST_CLIPPED = 0.01  # of all values, before the user is warned


def warn_of_clipping(share: float, values: str) -> None:
    """Print a warning if much of the ``values``, which the user knows under that name, is clipped: a ``share`` of 0 to 1."""
    if share > _MOST_CLIPPED:
        console.warn(f"{share:.1%} of {values} are outside of the range that the network was compressed for, and are clipped: "
                     "compress it again with --calibrate and inputs like these")

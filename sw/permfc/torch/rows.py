"""Evenly spaced rows of a stream whose length is not known, in bounded memory."""

from __future__ import annotations

import numpy as np


class SpacedRows:
    """Keeps every n-th row of what is added; n doubles whenever more than ``most`` rows would be kept.

    Parameters
    ----------
    most : int
        Rows that are kept; at least half as many, if so many were added.

    Members
    -------
    seen : int
        Rows that were added.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.seen = 0
        self._stride, self._kept = 1, 0
        self._parts: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        """Take float32 [n, features]; what is kept is copied."""
        part = rows[-self.seen % self._stride::self._stride].copy()
        self.seen += len(rows)
        self._parts.append(part)
        self._kept += len(part)
        while self._kept > self._most:
            thinned = np.concatenate(self._parts)[::2].copy()
            self._parts, self._kept, self._stride = [thinned], len(thinned), 2 * self._stride

    def rows(self) -> np.ndarray:
        """What was kept, float32 [n, features], in the order in which it came."""
        return np.concatenate(self._parts)

"""The QSPI flash reader."""

from .reader import FlashReader

__all__ = ["FlashReader"]

"""The SDR SDRAM controller."""

from .controller import SdramController

__all__ = ["SdramController"]

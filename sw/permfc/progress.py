"""How everything that takes long tells how far it is."""

from collections.abc import Callable

Progress = Callable[[str, int, int], None]
"""Called with what is being done, steps finished, and steps in all."""

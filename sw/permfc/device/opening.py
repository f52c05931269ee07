"""permfc.open: a device by its name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from typing import Any

from ..errors import ConfigError, ToolError
from ..network import Network
from ..progress import Progress
from .base import Device
from .golden import open_golden
from .serial import open_serial

GROUP = "permfc.devices"  # of entry points: kind of device = function that opens one, called with what follows the colon
Opener = Callable[..., Device]
BUILT_IN: dict[str, Opener] = {"golden": open_golden, "serial": open_serial}


def open(
    name: str, *, network: Network | Mapping[str, Network] | None = None, progress: Progress | None = None, **options: Any
) -> Device:
    """Open a device.

    Parameters
    ----------
    name : str
        ``golden`` or ``golden:NAME=VALUE,...``: the golden model of an engine, see :class:`permfc.device.golden.GoldenDevice`.
        ``serial:PORT`` or ``serial:PORT@BAUD``: a board, see :class:`permfc.device.serial.SerialDevice`.
        ``sim`` or ``sim:NAME=VALUE,...``: the simulated engine, see :func:`permfc_sim.opening.open_simulation`.
        Other packages add kinds by entry points in the group ``permfc.devices``.
    network : Network, or mapping of names to Networks, optional
        What will be loaded: a model or a simulation is made large enough for all of it.
    progress : callable, optional
        Called with (what, steps done, steps) while opening takes long.
    **options
        Of the device's class.

    Returns
    -------
    Device
        Use it in a ``with`` statement.

    Raises
    ------
    ConfigError
        If there is no such kind of device, or an option is out of its range.
    DeviceError
        If the device does not answer as it should.
    ToolError
        If a package is missing.
    """
    return opener(name)(name.partition(":")[2], network=network, progress=progress, **options)


def opener(name: str) -> Opener:
    """What opens a device of that name; nothing is opened. Raises ConfigError and ToolError as `open` does."""
    if not isinstance(name, str):
        raise ConfigError(f"The name of a device must be a text such as golden, sim or serial:PORT, not {name!r}")
    kind = name.partition(":")[0]
    if kind in BUILT_IN:
        return BUILT_IN[kind]
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if kind not in found:
        known = sorted({*BUILT_IN, *found})
        raise ConfigError(f"Device {name!r} is of no known kind; choose {' or '.join(f'{one}:...' for one in known)}")
    try:
        loaded: Opener = found[kind].load()
    except ModuleNotFoundError as error:
        raise ToolError(f"Device {name} needs {error.name}, which is missing; run: pip install 'permfc[{kind}]'") from error
    return loaded

"""permfc.open: a device by its name."""

from __future__ import annotations

from importlib.metadata import entry_points

from ..errors import ConfigError, ToolError
from ..network import Network
from ..progress import Progress
from .base import Device

GROUP = "permfc.devices"  # of entry points: kind of device = function that opens one, called with what follows the colon


def open(name: str, *, network: Network | None = None, progress: Progress | None = None, **options: object) -> Device:
    """Open a device.

    Parameters
    ----------
    name : str
        ``serial:PORT`` or ``serial:PORT@BAUD``: a board, see :class:`permfc.device.serial.SerialDevice`. ``sim`` or ``sim:NAME=VALUE,...``: the
        simulated engine, see :func:`permfc_sim.opening.open_simulation`. Other packages add kinds by entry points in the group ``permfc.devices``.
    network : Network, optional
        What will be loaded: a simulated engine is made large enough for it.
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
    kind, _, rest = name.partition(":")
    found = {entry.name: entry for entry in entry_points(group=GROUP)}
    if kind not in found:
        raise ConfigError(f"Device {name!r} is of no known kind; choose {' or '.join(f'{known}:...' for known in sorted(found))}")
    try:
        opener = found[kind].load()
    except ModuleNotFoundError as error:
        raise ToolError(f"Device {name} needs {error.name}, which is missing; run: pip install 'permfc[{kind}]'") from error
    return opener(rest, network=network, progress=progress, **options)

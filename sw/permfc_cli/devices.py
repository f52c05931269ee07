"""``permfc devices``."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer
from serial.tools import list_ports

from permfc.device.link.protocol import Identity
from permfc.device.serial import DEFAULT_BAUD, open_serial
from permfc.errors import DeviceError

from . import console
from .options import AsJson


def devices(
    names: Annotated[list[str] | None, typer.Argument(metavar="[PORT[@BAUD]]...", help="Ports to ask; all USB serial ports otherwise.")] = None,
    timeout: Annotated[float, typer.Option(min=0.05, help="Seconds to wait for an answer at each port.")] = 0.5,
    as_json: AsJson = False,
) -> None:
    """List the serial ports, and which boards answer on them.

    **Examples**

    - `permfc devices`

    - `permfc devices /dev/ttyUSB0@1000000`
    """
    kinds = {port.device: port.description for port in list_ports.comports() if port.vid is not None}
    asked = [name.removeprefix("serial:") for name in names or sorted(kinds)]
    rows = [{"port": name, "hardware": kinds.get(name.partition("@")[0], ""), **_ask(name, timeout)} for name in asked]
    headings = dict.fromkeys(("port", "hardware", "what answers"), "left")
    table = console.table(f"Serial ports, asked at {DEFAULT_BAUD:,} baud unless said otherwise", headings)
    for row in rows:
        table.add_row(row["port"], row["hardware"], _sentence(row["identity"]) if row["identity"] else row["error"])
    if not rows:
        table.add_row("", "", "there is no USB serial port; plug a board in")
    console.show(as_json, {"devices": [row | {"identity": row["identity"] and asdict(row["identity"])} for row in rows]}, table)


def _ask(name: str, timeout: float) -> dict[str, Identity | str | None]:
    try:
        with open_serial(name, timeout=timeout) as device:
            return {"identity": device.identity, "error": None}
    except DeviceError as error:
        return {"identity": None, "error": str(error)}


def _sentence(board: Identity) -> str:
    memory = f"{board.memory_bytes / 2**20:g} MiB {'memory' if board.memory_writable else 'flash'}"
    return f"{board.board}, {board.clock_hz / 1e6:g} MHz, {memory}, image at 0x{board.image_address:x}"

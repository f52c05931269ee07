"""``permfc selftest``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

import permfc
from permfc.device.selftest import selftest as checks_of
from permfc.errors import DeviceError

from . import console, inputs
from .options import AsJson, DeviceName

_VERDICTS = {True: Text("passed", "green"), False: Text("failed", "bold red"), None: Text("skipped")}


def selftest(
    device: DeviceName,
    file: Annotated[
        Path | None, typer.Option("--network", exists=True, dir_okay=False, help="Check the engine with this network; a small one otherwise.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Check the link to a device, its memory and its engine. Overwrites the memory of a board.

    A board whose memory is a flash needs `--network`, the one that its flash holds.

    **Examples**

    - `permfc selftest --device serial:/dev/ttyUSB0`

    - `permfc selftest --device serial:/dev/ttyUSB1 --network lenet.safetensors`
    """
    network = inputs.read_network(file)[0] if file else None
    with console.progress() as steps, permfc.open(device, network=network, progress=steps) as opened:
        checks = list(checks_of(opened, network, progress=steps))
    table = console.table(device, dict.fromkeys(("check", "", "detail"), "left"))
    for check in checks:
        table.add_row(check.name, _VERDICTS[check.passed], check.detail)
    console.show(as_json, {"device": device, "checks": [asdict(check) for check in checks]}, table)
    failed = [check.name for check in checks if check.passed is False]
    if failed:
        raise DeviceError(f"{device} failed the check of its {' and its '.join(failed)}")

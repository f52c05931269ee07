"""``permfc run``."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

import permfc
from permfc.device.base import Cost, Counts
from permfc.errors import DeviceError

from . import console, inputs
from .options import AsJson, DeviceName, NetworkFile, Results, Samples
from .outputs import check_output, write_array
from .run_whole import run_whole
from .whole import is_whole


def run(
    file: NetworkFile,
    device: DeviceName,
    x: Samples,
    y: Results = None,
    as_json: AsJson = False,
) -> None:
    """Run a network on a board, the simulated engine or the golden model itself, and check every result against that model, bit for bit.

    What the device's memory holds already is not loaded again.

    **Examples**

    - `permfc run lenet.safetensors --device serial:/dev/ttyUSB0 --input digits.npy -o logits.npy`

    - `permfc run lenet.safetensors --device sim:lanes=32,memory=sdr-100 --input digits.npy --json`

    - `permfc run minilm --device golden --input sentences.npz -o embeddings.npy`
    """
    check_output(y, file, x)
    if is_whole(file):
        run_whole(file, device, x, y, as_json)
        return
    network, _ = inputs.read_network(file)
    quantised = inputs.read_inputs(x, network)
    golden, results, costs, counted = network.compute(quantised), [], [], []
    with console.progress() as steps, permfc.open(device, network=network, progress=steps) as opened:
        opened.load(network, steps)
        for number, row in enumerate(quantised):
            results.append(opened.run(row))
            costs.append(opened.cost())
            counted.append(opened.counters())
            steps("run", number + 1, len(quantised))
        clock_hz, config = opened.clock_hz, opened.identify()
    if y is not None:
        write_array(y, np.array(results).astype(np.float32) * network.output_scale)
    mismatches = int(np.count_nonzero(np.array(results) != golden))
    figures = {
        "file": str(file), "device": device, "config": config.as_dict(), "clock_hz": clock_hz, "inputs": len(results),
        "results": golden.size, "mismatches": mismatches, "bytes_read": float(np.mean([cost.bytes for cost in costs])),
        "bytes_are": costs[0].source, "counters": _means(counted), "seconds": _seconds(costs, clock_hz),
    }
    console.show(as_json, figures, _table(figures))
    if mismatches:
        raise DeviceError(f"{mismatches} of {golden.size} results differ from the golden model; run permfc selftest --device {device}")


def _means(counted: list[Counts | None]) -> dict[str, float]:
    """The mean of each counter over the inputs; nothing where nothing counts."""
    rows = [asdict(counters) for counters in counted if counters]
    return {name: float(np.mean([row[name] for row in rows])) for name in rows[0]} if rows else {}


def _seconds(costs: list[Cost], clock_hz: float | None) -> float | None:
    """The mean time of an input; None from a device without a clock."""
    cycles = [cost.cycles for cost in costs if cost.cycles is not None]
    return float(np.mean(cycles)) / clock_hz if cycles and clock_hz else None


def _table(figures: dict) -> console.Table:
    title = f"{figures['file']} on {figures['device']}: {figures['inputs']} inputs"
    table = console.table(title, {"counted in the engine" if figures["counters"] else "predicted": "left", "per input": "right"})
    table.add_row("bytes read", f"{figures['bytes_read']:,.1f}")
    for counter, mean in figures["counters"].items():
        table.add_row(counter.replace("_", " "), f"{mean:,.1f}")
    if figures["seconds"] is not None:
        table.add_row(f"microseconds at {figures['clock_hz'] / 1e6:g} MHz", f"{figures['seconds'] * 1e6:,.1f}")
    table.add_section()
    table.add_row("results equal to the golden model", f"{figures['results'] - figures['mismatches']:,} of {figures['results']:,}")
    return table

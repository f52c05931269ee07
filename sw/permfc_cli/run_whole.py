"""``permfc run`` of a whole network."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from permfc.errors import DeviceError, InputError
from permfc.files import write_file
from permfc.graph.running import run_samples
from permfc.graph.session import Session
from permfc.graph.whole import WholeNetwork

from . import console
from .outputs import write_array
from .warn import warn_of_clipping
from .whole import read_samples, run_table


def run_whole(file: Path, device: str, x: Path, y: Path | None, as_json: bool) -> None:
    """Run a whole network and check every result of its chains against the golden model.

    Raises
    ------
    InputError
        If the inputs are not what the network takes, or the results are several and do not go to an ``.npz`` file.
    DeviceError
        If the device fails, or a result differs.
    """
    network = WholeNetwork.load(file)
    check_results_file(y, [value.name for value in network.outputs])
    samples = read_samples(x, network.inputs)
    with console.progress() as steps, Session(network, device, check=True, progress=steps) as session:
        results, runs = run_samples(session, samples, steps)
        clock_hz = session.device.clock_hz
    if not runs:
        raise InputError(f"{x} holds no input: give it one row or more")
    for run in runs:
        warn_of_clipping(run.clipped, f"the values that reach chain {run.chain} with {x}")
    if y is not None:
        write_results(y, network, results)
    mismatches = sum(run.mismatches or 0 for run in runs)
    figures = {"file": str(file), "device": device, "clock_hz": clock_hz, "mismatches": mismatches, "chains": [vars(run) for run in runs]}
    console.show(as_json, figures, run_table(runs, f"{file} on {device}", clock_hz))
    if mismatches:
        raise DeviceError(f"{mismatches} results differ from the golden model; run permfc selftest --device {device}")


def check_results_file(y: Path | None, names: Sequence[str]) -> None:
    """Refuse to put several results into one array; InputError."""
    if y is not None and len(names) > 1 and y.suffix != ".npz":
        raise InputError(f"The network has the outputs {', '.join(names)}, which {y} cannot hold: give a name that ends in .npz")


def write_results(y: Path, network: WholeNetwork, results: Sequence[np.ndarray]) -> None:
    """Write a network's results: ``.npy``, or ``.npz`` by their names; FormatError if that fails."""
    if y.suffix != ".npz":
        write_array(y, results[0])
        return
    stream = io.BytesIO()
    np.savez(stream, **{value.name: result for value, result in zip(network.outputs, results, strict=True)})
    write_file(y, stream.getvalue())

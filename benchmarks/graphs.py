"""Whole ONNX networks on the engine: ``python benchmarks/graphs.py DIR [--device sim] [--json]``.

For every NAME.onnx in DIR with inputs NAME.npy: the network is compressed with int8 weights (dense8), run in a Session on the golden model and on
``--device``, and its outputs are compared with onnxruntime's: root mean square of the difference over that of the original, or equal labels
where the output is integers. Every result of the device is compared with the golden model's.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from rich.console import Console
from rich.progress import track
from rich.table import Table

from permfc.graph.compressing import compress_graph
from permfc.graph.session import Session


def measure(path: Path, device: str) -> dict[str, object]:
    """The figures of one network."""
    model, x = onnx.load(path), np.load(path.with_suffix(".npy"))
    original = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    feeds = {original.get_inputs()[0].name: x}
    wanted = original.run(None, feeds)[0]
    whole = compress_graph(model, x, bits="dense8", source=str(path))
    with Session(whole, "golden") as session:
        golden = session.run(None, feeds)[0]
    with Session(whole, device, check=True) as session:
        found = session.run(None, feeds)[0]
        runs = list(session.last_run.values())
    return {
        "network": path.stem, "chains": len(runs), "samples": sum(run.samples for run in runs), **distance(golden, wanted),
        "outputs_equal": bool(np.array_equal(found, golden)), "mismatches": sum(run.mismatches for run in runs),
        "cycles": sum(run.cycles or 0 for run in runs), "bytes": sum(run.bytes for run in runs),
    }


def distance(found: np.ndarray, wanted: np.ndarray) -> dict[str, float]:
    """How far outputs are from those of the original."""
    if wanted.dtype.kind in "iu":
        return {"labels_equal": int((found == wanted).sum()), "labels": wanted.size}
    return {"error": float(np.sqrt(np.square(found - wanted).mean() / np.square(wanted).mean()))}


def main() -> None:
    """Print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--device", default="sim")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    console = Console(stderr=True)
    rows = [measure(path, options.device) for path in track(sorted(options.folder.glob("*.onnx")), "networks", console=console)]
    if options.json:
        json.dump(rows, sys.stdout, indent=1)
        return
    table = Table(title=f"Whole networks, int8 weights, golden model and {options.device}")
    for column in ("network", "chains", "from onnxruntime", "device equal to golden", "cycles a sample", "bytes a sample"):
        table.add_column(column, justify="left" if column == "network" else "right")
    for row in rows:
        near = f"{100 * row['error']:.2f} %" if "error" in row else f"{row['labels_equal']} of {row['labels']} labels"
        equal = "all" if row["outputs_equal"] and not row["mismatches"] else f"{row['mismatches']} differ"
        table.add_row(row["network"], str(row["chains"]), near, equal, *(f"{row[key] / row['samples']:,.0f}" for key in ("cycles", "bytes")))
    Console().print(table)


if __name__ == "__main__":
    main()

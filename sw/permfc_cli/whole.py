"""Whole networks on the command line: their inputs, the chain that a subcommand is about, and tables of layers and chains."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from permfc.array_files import read_npy
from permfc.errors import InputError
from permfc.files import read_file
from permfc.graph.container import is_container
from permfc.graph.running import chain_inputs
from permfc.graph.session import ChainRun
from permfc.graph.values import Value
from permfc.graph.whole import WholeNetwork
from permfc.network import Network

from . import console
from .warn import warn_of_clipping

NPZ = b"PK"
_MOST_LAYERS = 12  # on the host that a table names; --json names all


def is_whole(path: Path) -> bool:
    """Whether a file is a whole network's, judged by its beginning."""
    return is_container(read_file(path)[:4])


def read_samples(path: Path, values: Sequence[Value]) -> dict[str, np.ndarray]:
    """A network's inputs: ``.npy`` for its only one, ``.npz`` with their names for several.

    Raises
    ------
    InputError
        If the file is damaged or holds other arrays.
    """
    names = [value.name for value in values]
    content = read_file(path)
    if not content.startswith(NPZ):
        if len(names) != 1:
            raise InputError(f"{path} holds one array, but the network takes the inputs {', '.join(names)}: save them under these names "
                             "with numpy.savez")
        return {names[0]: read_npy(path)}
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as file:
            arrays = dict(file)
    except Exception as error:  # zipfile, zlib and numpy raise many kinds for a damaged archive
        raise InputError(f"{path} is not a file that numpy.savez wrote: {error}") from error
    if set(arrays) != set(names):
        raise InputError(f"{path} holds the arrays {', '.join(arrays) or 'none'}, but the network takes the inputs {', '.join(names)}: save them "
                         "under these names with numpy.savez")
    return arrays


def chosen_chain(network: WholeNetwork, path: Path, chain: str | None) -> str:
    """The name of the chain that a subcommand is about, by its own name or that of one of its layers.

    Raises
    ------
    InputError
        If it must be chosen or does not exist.
    """
    names = list(network.chains)
    if chain is None and len(names) == 1:
        return names[0]
    found = {row.name: row.chain for row in network.rows if row.chain} | dict(zip(names, names, strict=True))
    reasons = [row.reason for row in network.rows if row.name == chain and not row.chain]
    if chain not in found and reasons:
        raise InputError(f"Layer {chain!r} of {path} runs on the host, {reasons[0]}: choose one of the chains {', '.join(names)} with --chain")
    if chain not in found:
        raise InputError(f"{path} has " + (f"no chain {chain!r}" if chain else f"{len(names)} chains") + f": choose one of {', '.join(names)} "
                         "with --chain")
    return found[chain]


def chain_samples(network: WholeNetwork, path: Path) -> dict[str, np.ndarray]:
    """What reaches each chain, float32 [rows, inputs], for a network's inputs in a file."""
    return chain_inputs(network, read_samples(path, network.inputs))


def quantised(network: WholeNetwork, name: str, rows: np.ndarray, path: Path) -> np.ndarray:
    """What reaches a chain with the inputs in a file, as the engine takes it: int8 [rows, inputs], with a warning if much of it is clipped.

    Raises
    ------
    InputError
        If there is nothing.
    """
    if not len(rows):
        raise InputError(f"{path} holds no input that reaches chain {name}: give it one row or more")
    chain = network.chains[name]
    warn_of_clipping(chain.clipped_share(rows), f"the values that reach chain {name} with {path}")
    return chain.quantise(rows)


def describe(network: WholeNetwork, name: str, as_json: bool) -> None:
    """Print which layers run where, and what share of the network that is."""
    figures = {"file": name, "source": network.source, "inputs": [vars(value) for value in network.inputs],
               "outputs": [vars(value) for value in network.outputs], "layers": [vars(row) for row in network.rows],
               "chains": {chain: _shape(made) for chain, made in network.chains.items()},
               "figures": {chain: vars(found) for chain, found in network.figures.items()}, "totals": network.totals}
    console.show(as_json, figures, layer_table(network, name), chain_table(network), totals_table(network))


def _shape(chain: Network) -> list[int]:
    return [chain.inputs, *(layer.outputs for layer in chain.layers)]


def layer_table(network: WholeNetwork, title: str) -> console.Table:
    """Every layer on the engine, and the largest ones on the host with the reason."""
    table = console.table(title, {"layer": "left", "outputs x inputs": "right", "weights": "right", "runs on": "left"})
    host = sorted((row for row in network.rows if not row.chain), key=lambda row: -row.weights)
    for row in [*(row for row in network.rows if row.chain), *host[:_MOST_LAYERS]]:
        where = f"engine, chain {row.chain}" if row.chain else f"host: {row.reason}"
        table.add_row(row.name, " x ".join(map(str, row.shape)), f"{row.weights:,}" if row.weights else "", where)
    if len(host) > _MOST_LAYERS:
        table.add_row(f"and {len(host) - _MOST_LAYERS} more", "", f"{sum(row.weights for row in host[_MOST_LAYERS:]):,}", "host")
    return table


def chain_table(network: WholeNetwork) -> console.Table:
    """What calibration told of every chain."""
    table = console.table("", {"chain": "left", **dict.fromkeys(["inputs to outputs", "error", "clipped"], "right")})
    for name, chain in network.chains.items():
        found = network.figures[name]
        table.add_row(name, " > ".join(map(str, _shape(chain))), f"{found.error:.2%}", f"{found.clipped:.1%}")
    return table


def totals_table(network: WholeNetwork) -> console.Table:
    """Shares of the engine, bytes, and the error against the original."""
    found = network.totals
    table = console.table("", {"whole network": "left", "": "right"})
    table.add_row("fully connected weights on the engine", _share(found["engine_weights"], found["weights"]))
    table.add_row("multiplications on the engine, for a sample", _share(found["engine_multiplications"], found["multiplications"]))
    table.add_row("bytes of the images, everything included", f"{found['image_bytes']:,}")
    table.add_row("bits a weight", f"{found['bits_per_weight']:.3f}")
    table.add_row("bytes of the host's part", f"{found['host_bytes']:,}")
    table.add_row("bytes of all numbers as float32", f"{found['float_bytes']:,}")
    table.add_row("relative error on calibration inputs", f"{found['relative_error']:.2%}")
    if found["equal_labels"] < 1:
        table.add_row("equal labels and other integers there", f"{found['equal_labels']:.1%}")
    return table


def _share(part: float, whole: float) -> str:
    return f"{part:,} of {whole:,} ({part / whole:.1%})" if whole else "none"


def run_table(runs: Sequence[ChainRun], title: str, clock_hz: float | None) -> console.Table:
    """What each chain did, per row that it computed."""
    headings = ["rows", "bytes a row", "cycles a row", "µs in all", "clipped", "equal to golden"]
    table = console.table(title, {"chain": "left", **dict.fromkeys(headings, "right")})
    for run in runs:
        cycles = "" if run.cycles is None else f"{run.cycles / run.samples:,.1f}"
        time = "" if run.cycles is None or not clock_hz else f"{run.cycles / clock_hz * 1e6:,.1f}"
        same = "no" if run.mismatches else "yes"
        table.add_row(run.chain, f"{run.samples:,}", f"{run.bytes / run.samples:,.1f}", cycles, time, f"{run.clipped:.1%}", same)
    return table

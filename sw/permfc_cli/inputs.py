"""Files that the subcommands read: one clear sentence for what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from permfc import image
from permfc.array_files import read_npy
from permfc.errors import FormatError, InputError
from permfc.files import read_file
from permfc.format import MAGIC
from permfc.graph.container import is_container
from permfc.graph.whole import WholeNetwork
from permfc.image import model_file
from permfc.importers import FloatNetwork, load_model
from permfc.network import Network

from . import console
from .warn import warn_of_clipping
from .whole import chain_samples, chosen_chain, is_whole, quantised


def read_inputs(path: Path, network: Network, file: Path | None = None, chain: str | None = None) -> np.ndarray:
    """The inputs in a file as the engine takes them, int8 [batch, inputs].

    Parameters
    ----------
    path : Path
        ``.npy`` [batch, inputs]; if ``file`` is a whole network's, its inputs, and what reaches the chain is computed.
    network : Network
    file : Path, optional
        Where it is from.
    chain : str, optional
        Which chain of a whole network it is.

    Raises
    ------
    InputError
        If they are not what the network takes, or there are none.
    """
    if file is not None and is_whole(file):
        whole = WholeNetwork.load(file)
        name = chosen_chain(whole, file, chain)
        return quantised(whole, name, chain_samples(whole, path)[name], path)
    x = np.atleast_2d(read_npy(path))
    taken = network.quantise(x)
    if not len(taken):
        raise InputError(f"{path} holds no input; give it one row of {network.inputs} values or more")
    warn_of_clipping(network.clipped_share(x), f"the values in {path}")
    return taken


def layer_names(layers: str | None) -> list[str] | None:
    """The names in a list that commas divide."""
    return None if layers is None else [name.strip() for name in layers.split(",") if name.strip()]


def read_model(path: Path, layers: str | None, kernel: str | None) -> FloatNetwork:
    """The trained network in a file, with what the user should know about it printed as messages.

    Raises
    ------
    ModelError
        If the model cannot be used.
    ToolError
        If reading it needs a package that is not installed.
    """
    network = load_model(path, layer_names(layers), kernel)
    for note in network.notes:
        console.note(note)
    return network


def read_network(path: Path, chain: str | None = None) -> tuple[Network, int | None]:
    """The network in a model file, an image or a whole network's file, and the bus width in bits that the image is packed for (None for others).

    Parameters
    ----------
    path : Path
    chain : str, optional
        Which chain of a whole network, if it has several.

    Raises
    ------
    FormatError
        If the file is none of these, or damaged.
    InputError
        If ``chain`` is missing or no chain's name.
    """
    content = read_file(path)
    if is_container(content):
        whole = WholeNetwork.load(path)
        return whole.chains[chosen_chain(whole, path, chain)], None
    if chain is not None:
        raise InputError(f"{path} is no whole network: leave --chain out")
    if content[:4] == MAGIC.to_bytes(4, "little"):
        try:
            parsed = image.parse(content)
        except FormatError as error:
            raise FormatError(f"{path}: {error}") from error
        return parsed.network(), parsed.bus_bits
    return model_file.from_bytes(content, str(path)), None

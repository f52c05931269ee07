"""Files that the subcommands read: one clear sentence for what cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.markup import escape

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

from .console import messages
from .whole import chain_samples, chosen_chain, is_whole

_MOST_CLIPPED = 0.01  # of all values, before the user is warned


def read_array(path: Path) -> np.ndarray:
    """The array in a ``.npy`` file.

    Raises
    ------
    InputError
        If the file holds no single array of numbers.
    """
    return read_npy(path)


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
        return chain_samples(whole, path)[chosen_chain(whole, file, chain)]
    x = np.atleast_2d(read_array(path))
    quantised = network.quantise(x)
    if not len(quantised):
        raise InputError(f"{path} holds no input; give it one row of {network.inputs} values or more")
    warn_of_clipping(network, x, path)
    return quantised


def warn_of_clipping(network: Network, x: np.ndarray, path: Path) -> None:
    """Print a warning if many of the inputs from a file are beyond what int8 represents."""
    share = network.clipped_share(x)
    if share > _MOST_CLIPPED:
        messages.print(f"[bold]Warning:[/] {share:.1%} of the values in {escape(str(path))} are outside of the range that the network was "
                       "compressed for, and are clipped: compress it again with --calibrate and inputs like these", soft_wrap=True, highlight=False)


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
        messages.print(f"[bold]Note:[/] {escape(note)}", soft_wrap=True, highlight=False)
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

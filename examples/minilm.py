"""Sentence embeddings of all-MiniLM-L6-v2, the 36 fully connected layers of its blocks compressed without retraining and on the engine.

    python examples/minilm.py --data DIR --bits 3
    python examples/minilm.py --data DIR --bits 3 --device sim --sentences 1

DIR holds ``clinc150/clinc150_texts.json.gz`` with its embeddings and ``trained/clinc150_minilm_384.npz``. Needs
``pip install 'permfc[bench]' transformers``, and ``[sim]`` for a simulation. Queries, keys and values share an input and are one layer of the engine.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import minilm_model as minilm
import numpy as np
from arguments import Parser
from costs import print_costs
from rich.console import Console

from permfc.torch import Offloaded, Work, load, offload, save
from permfc_cli.console import progress

BATCH = 32


def main() -> None:
    """Compress, and classify sentences."""
    parser = Parser(__doc__, "sentences and classifier", 3.0)
    parser.add_argument("--calibrate", type=int, default=1000, help="how many training sentences calibrate")
    parser.add_argument("--every", type=int, default=1, help="take every so manieth test sentence")
    parser.add_argument("--sentences", type=int, help="most test sentences")
    options = parser.options()
    console = Console()
    model = minilm.Embedder()
    training, test, labels = minilm.clinc150(options.data / "clinc150")
    chosen = slice(None, None if options.sentences is None else options.sentences * options.every, options.every)
    known = training[::len(training) // options.calibrate][:options.calibrate]
    with progress() as steps:
        compressed = offload(model, model.batches(known, BATCH), bits=options.bits, progress=steps)
    console.print(compressed.layers)
    with np.load(options.data / "trained" / "clinc150_minilm_384.npz") as head:
        weight, bias = head["0_weight"], head["0_bias"]
    wanted = minilm.embeddings(model, test[chosen], BATCH)
    found, costs = embedded(compressed, test[chosen])
    if options.device != "golden":
        again, costs = embedded(moved(compressed, options.device), test[chosen])
        equal = (again == found).all(axis=1).sum()
        console.print(f"{options.device}: {equal} of {len(found)} embeddings are those of the golden model, to the last bit")
    for name, vectors in (("float", wanted), ("compressed", found)):
        right = (vectors @ weight.T + bias).argmax(axis=1) == labels[chosen]
        console.print(f"{name}: {100 * right.mean():.2f} % of {len(right)} sentences")
    console.print(f"mean cosine to the float embeddings: {(found * wanted).sum(axis=1).mean():.4f}")
    print_costs(console, costs, "batch of sentences" if len(costs) > 1 else "sentence")


def embedded(model: Offloaded, sentences: list[str]) -> tuple[np.ndarray, list[dict[str, Work]]]:
    """Embeddings float32 [n, 384], and what the engine did for each batch."""
    costs: list[dict[str, Work]] = []
    with model:
        return minilm.embeddings(model, sentences, BATCH, lambda: costs.append(model.counters())), costs


def moved(model: Offloaded, device: str) -> Offloaded:
    """The compressed model on another device, by way of a file."""
    with TemporaryDirectory() as folder:
        save(model, Path(folder) / "minilm.permfc")
        return load(Path(folder) / "minilm.permfc", minilm.Embedder(), device)


if __name__ == "__main__":
    main()

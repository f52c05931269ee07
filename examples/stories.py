"""A language model that tells stories, all 36 matrices of its blocks and its classifier on the engine.

    python examples/stories.py --data DIR --bits dense8 --tokens 100
    python examples/stories.py --data DIR --bits dense8 --tokens 20 --device sim

DIR holds ``text/stories260K.bin`` and ``text/tok512.bin`` of llama2.c. Needs ``pip install 'permfc[train]'``, and ``[sim]`` for a simulation.
Calibration uses what the float model writes itself. The story of the float model stands beside that of the engine.
"""

from __future__ import annotations

import stories_model as stories
import torch
from arguments import Parser
from costs import print_costs
from rich.console import Console

from permfc.torch import offload
from permfc_cli.console import progress

CALIBRATION_STORIES = 32
CALIBRATION_TOKENS = 200


def sampled(model: stories.Stories, seed: int, count: int) -> torch.Tensor:
    """A story drawn at random from the model, int64 [count]."""
    generator = torch.Generator().manual_seed(seed)
    past: list[list[torch.Tensor]] = [[] for _ in model.blocks]
    tokens = [stories.BEGIN]
    with torch.no_grad():
        while len(tokens) < count:
            chances = model(torch.tensor(tokens[-1:]), past)[-1].softmax(dim=-1)
            tokens.append(int(torch.multinomial(chances, 1, generator=generator)))
    return torch.tensor(tokens)


def main() -> None:
    """Compress, and tell a story."""
    parser = Parser(__doc__, "the model and its tokenizer", "dense8")
    parser.add_argument("--tokens", type=int, default=100, help="how many to generate")
    options = parser.options()
    console = Console()
    folder = options.data / "text"
    model = stories.load(folder / "stories260K.bin")
    vocabulary = stories.pieces(folder / "tok512.bin", model.sizes.vocabulary)
    calibration = [sampled(model, seed, CALIBRATION_TOKENS) for seed in range(CALIBRATION_STORIES)]
    with progress() as steps:
        compressed = offload(model, calibration, bits=options.bits, device=options.device, progress=steps)
    console.print(compressed.layers)
    costs = []
    with compressed:
        found = stories.generate(compressed, options.tokens, lambda: costs.append(compressed.counters()))
    wanted = stories.generate(model, options.tokens)
    same = next((number for number, pair in enumerate(zip(found, wanted, strict=True)) if pair[0] != pair[1]), len(found))
    console.print(f"float:      {stories.text(wanted, vocabulary)}\ncompressed: {stories.text(found, vocabulary)}", highlight=False)
    console.print(f"the first {same - 1} of {options.tokens} tokens are those of the float model")
    print_costs(console, costs, "token")


if __name__ == "__main__":
    main()

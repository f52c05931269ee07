"""A character model of Shakespeare's text, its 17 fully connected layers compressed and on the engine.

    python examples/char_gpt.py --data DIR --bits 3 --device golden
    python examples/char_gpt.py --data DIR --bits 3 --device sim:memory=sdr-100 --characters 50 --no-loss

DIR holds ``trained/gpt_shakespeare_128.npz`` and ``text/tinyshakespeare.txt``. Needs ``pip install 'permfc[train]'``, and ``[sim]`` for a simulation.
The loss is that of the last tenth of the text, which neither training nor calibration has seen.
"""

from __future__ import annotations

import char_gpt_model as gpt
from arguments import Parser
from costs import print_costs
from rich.console import Console

from permfc.torch import offload
from permfc_cli.console import progress

TRAINING_SHARE = 0.9
CALIBRATION_WINDOWS = 32


def main() -> None:
    """Compress, measure, generate."""
    parser = Parser(__doc__, "the model and the text", 3.0)
    parser.add_argument("--characters", type=int, default=50, help="how many to generate")
    parser.add_argument("--no-loss", action="store_true", help="do not measure the loss on the held-out text")
    options = parser.options()
    console = Console()
    model = gpt.load(options.data / "trained" / "gpt_shakespeare_128.npz")
    text = (options.data / "text" / "tinyshakespeare.txt").read_text(encoding="utf-8")
    cut = int(TRAINING_SHARE * len(text))
    training = gpt.windows(model, text[:cut])
    calibration = training[::len(training) // CALIBRATION_WINDOWS, :-1]
    with progress() as steps:
        compressed = offload(model, [calibration], bits=options.bits, device=options.device, progress=steps)
    console.print(compressed.layers)
    if not options.no_loss:
        heldout = gpt.windows(model, text[cut:])
        console.print(f"validation loss, nats a character: float {gpt.loss(model, heldout):.4f}, "
                      f"compressed {gpt.loss(compressed, heldout):.4f}")
    with compressed:
        costs = []
        written = gpt.generate(compressed, "ROMEO:\n", options.characters, lambda: costs.append(compressed.counters()))
    console.print(written)
    print_costs(console, costs, "character")


if __name__ == "__main__":
    main()

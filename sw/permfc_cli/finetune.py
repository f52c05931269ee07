"""``permfc finetune``."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from . import console
from .options import AsJson


def finetune(
    recipe: Annotated[str, typer.Argument(help="lenet-300-100, lenet-5, fashion-1024-512 or clinc150-384-512.", metavar="RECIPE")],
    output: Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder for the network, its figures and checkpoints.")],
    ratio: Annotated[float | None, typer.Option(help="Times smaller than float32, every byte of the image counted. Default: the recipe's.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order of samples and everything else at random.")] = 0,
    epochs: Annotated[int | None, typer.Option(min=1, help="Of the compressed network. Default: the recipe's.")] = None,
    data: Annotated[Path | None, typer.Option(help="Folder of data sets.", envvar="PERMFC_DATA")] = None,
    as_json: AsJson = False,
) -> None:
    """Train a benchmark network as float, then compressed; the same command continues an interrupted run.

    The accuracy shown is that of the golden integer model on the whole test set.

    **Examples**

    - `permfc finetune lenet-300-100 --ratio 100 --output runs/lenet --data ~/data`

    - `permfc finetune clinc150-384-512 --seed 2 --output runs/clinc --data ~/data --json`
    """
    from permfc.train import recipes

    with console.progress() as steps:
        result = recipes.run(recipe, output, ratio, seed, epochs, data, steps)
    figures = console.table(f"{recipe}, seed {seed}: {output}/model.safetensors", {"": "left", "float": "right", "compressed": "right"})
    figures.add_row("accuracy", f"{result.float_accuracy:.2f} %", f"{result.golden_accuracy:.2f} %")
    figures.add_row("bytes", f"{round(result.ratio * result.image_bytes):,}", f"{result.image_bytes:,}")
    figures.add_row("times smaller", "1", f"{result.ratio:.1f}")
    figures.add_row("bits a weight", "32", f"{result.bits_per_weight:.3f}")
    console.show(as_json, asdict(result), figures)

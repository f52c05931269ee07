"""The networks of the benchmark: one table of how each is trained, and one call that does it."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from .. import datasets
from ..config import EngineConfig
from ..datasets import Dataset
from ..errors import InputError
from ..files import write_file
from ..image import model_file, pack, required
from ..progress import Progress
from . import size
from .loop import Schedule
from .pipeline import Plan, retrain


@dataclass(frozen=True)
class Recipe:
    """One benchmark network: the reader of its data, and how it is trained."""

    data: Callable[[str | os.PathLike[str] | None], Dataset]
    plan: Plan


RECIPES = {
    "lenet-300-100": Recipe(datasets.mnist, Plan(
        hidden=(300, 100), ratio=100, float_schedule=Schedule(15), schedule=Schedule(70), classes=(7, 4, 2), shares=(0.84, 0.14, 0.02), shift=1)),
    "lenet-5": Recipe(datasets.mnist, Plan(
        hidden=(500,), ratio=120, float_schedule=Schedule(6), schedule=Schedule(40), classes=(6, 3), shares=(0.95, 0.05), shift=1,
        convolutions=True)),
    "fashion-1024-512": Recipe(datasets.fashion, Plan(
        hidden=(1024, 512), ratio=40, float_schedule=Schedule(8), schedule=Schedule(12), classes=(6, 6, 2), shares=(0.75, 0.23, 0.02),
        dropout=0.2)),
    "clinc150-384-512": Recipe(datasets.clinc150, Plan(
        hidden=(512,), ratio=20, float_schedule=Schedule(40), schedule=Schedule(60), classes=(6, 6), shares=(0.65, 0.35), dropout=0.2)),
}


@dataclass(frozen=True)
class Result:
    """What a run measured; ``result.json`` holds the same.

    Members
    -------
    recipe : str
    seed, float_epochs, epochs : int
    float_accuracy, golden_accuracy : float
        Percent of all test samples that are right: of the float network, and of the integers of the exported one.
    image_bytes : int
        Of the image for a 16-bit bus, everything included.
    ratio : float
        Bytes of the fully connected layers in float32, weights and biases, over ``image_bytes``.
    bits_per_weight : float
        Bits of the image over the weights of the float network.
    """

    recipe: str
    seed: int
    float_epochs: int
    epochs: int
    float_accuracy: float
    golden_accuracy: float
    image_bytes: int
    ratio: float
    bits_per_weight: float


def run(
    name: str,
    output: str | os.PathLike[str],
    ratio: float | None = None,
    seed: int = 0,
    epochs: int | None = None,
    data: str | os.PathLike[str] | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Result:
    """Train a recipe's float network, then retrain it compressed; take up where an interrupted run stopped.

    Parameters
    ----------
    name : str
        Of a recipe.
    output : path
        Folder for ``model.safetensors``, ``result.json``, the float network ``float.npz`` (with its convolutions, if any) and checkpoints.
    ratio : float or None
        Times smaller than float32; None for the recipe's.
    seed : int
        From 0 to 2**32 - 1.
    epochs : int or None
        Of the compressed network; None for the recipe's.
    data : path or None
        Folder of data sets; None for that which PERMFC_DATA names.
    progress : callable
        Called with what is being done, epochs finished, and epochs in all.

    Raises
    ------
    InputError
        If the recipe is unknown, data are missing or damaged, the ratio or the seed is out of reach, or the folder belongs to another run.
    """
    if name not in RECIPES:
        raise InputError(f"There is no recipe {name!r}: choose one of {', '.join(RECIPES)}")
    recipe = RECIPES[name]
    plan = recipe.plan if ratio is None else replace(recipe.plan, ratio=ratio)
    plan = plan if epochs is None else replace(plan, schedule=replace(plan.schedule, epochs=epochs))
    return run_plan(name, plan, recipe.data(data), Path(output), seed, progress)


def run_plan(name: str, plan: Plan, data: Dataset, output: Path, seed: int, progress: Progress) -> Result:
    """As ``run``, with a plan and its data at hand."""
    if not plan.ratio > 0 or plan.schedule.epochs < 1:  # written so that NaN is no ratio
        raise InputError(f"Ratio must be positive and epochs at least 1, not {plan.ratio} and {plan.schedule.epochs}")
    if not 0 <= seed < 2**32:
        raise InputError(f"Seed must be from 0 to {2**32 - 1}, not {seed}")
    output.mkdir(parents=True, exist_ok=True)
    trained = retrain(plan, data, output, seed, progress)
    limits = required(trained.network)
    image_bytes = len(pack(trained.network, EngineConfig(bus_bits=size.BUS_BITS, **limits)))
    result = Result(
        recipe=name,
        seed=seed,
        float_epochs=plan.float_schedule.epochs,
        epochs=plan.schedule.epochs,
        float_accuracy=trained.float_accuracy,
        golden_accuracy=trained.golden_accuracy,
        image_bytes=image_bytes,
        ratio=4 * trained.parameters / image_bytes,
        bits_per_weight=8 * image_bytes / trained.weights,
    )
    model_file.save(trained.network, output / "model.safetensors")
    write_file(output / "result.json", (json.dumps(asdict(result), indent=2) + "\n").encode())
    return result

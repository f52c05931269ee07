"""The retrained rows: recipes of ``permfc.train``, run or taken from finished runs, and measured again from their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from permfc import datasets
from permfc.errors import ToolError
from permfc.image import model_file
from permfc.importers import load_model

from .convolutions import convolved
from .measure import Figures, measure_image
from .problems import Problem

_CONVOLUTIONS = ("conv1", "conv2")


@dataclass(frozen=True)
class Training:
    """What to train.

    Members
    -------
    seeds : int
        Runs of each recipe, seeds from 0; the one with the median accuracy counts.
    new : bool
        Whether to train what has not been trained; otherwise the finished runs count.
    """

    seeds: int = 3
    new: bool = True


def retrained(recipe: str, problem: Problem, ratio: float, data: Path, output: Path, training: Training, say: Callable[[str], None]) -> Figures:
    """The figures of the median run of a recipe.

    Parameters
    ----------
    recipe : str
    problem : Problem
        Its samples are measured with; its network is replaced by the one that the recipe trains.
    ratio : float
        To float32.
    data, output : Path
        Folder of the data sets, and of the runs: ``<recipe>-r<ratio>-s<seed>`` below it.
    training : Training
    say : function (what)
        Called as the work goes on.

    Raises
    ------
    ToolError
        If torch is missing for a new run, or no run is finished and new ones are not wanted.
    """
    folders = [output / f"{recipe}-r{ratio:g}-s{seed}" for seed in range(training.seeds)]
    if training.new:
        for seed, folder in enumerate(folders):
            _train(recipe, folder, ratio, seed, data, say)
    finished = [folder for folder in folders if _is_finished(folder)]
    if not finished:
        raise ToolError(f"{recipe} is not trained for {ratio:g}x: run without --no-train")
    found = [_measure(problem, folder, data) for folder in finished]
    found.sort(key=lambda figures: figures.accuracy)
    accuracies = ", ".join(f"{figures.accuracy:.2f}" for figures in found)
    return replace(found[(len(found) - 1) // 2], note=f"median of {len(found)} of {training.seeds} seeds: {accuracies}")


def _is_finished(folder: Path) -> bool:
    return (folder / "result.json").exists()


def _train(recipe: str, folder: Path, ratio: float, seed: int, data: Path, say: Callable[[str], None]) -> None:
    if _is_finished(folder):
        return
    try:
        from permfc.train import recipes
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise ToolError("torch is missing, which trains; run: pip install 'permfc[train]'") from None
    recipes.run(recipe, folder, ratio=ratio, seed=seed, data=data,
                progress=lambda what, done, total: say(f"{folder.name}: {what} {done}/{total}"))


def _measure(problem: Problem, folder: Path, data: Path) -> Figures:
    return measure_image(own_problem(problem, folder, data), model_file.load(folder / "model.safetensors"))


def own_problem(problem: Problem, folder: Path, data: Path) -> Problem:
    """The problem with the float network of a run; its own convolutions, if any, make the test samples."""
    arrays = datasets.read_arrays(folder / "float.npz")
    convolutions = [(arrays[f"{name}_weight"], arrays[f"{name}_bias"]) for name in _CONVOLUTIONS if f"{name}_weight" in arrays]
    network = load_model({name: array for name, array in arrays.items() if not name.startswith(_CONVOLUTIONS)})
    test = convolved(datasets.mnist(data).test, convolutions, True) if convolutions else problem.test
    return replace(problem, network=network, test=test)

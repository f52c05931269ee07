"""The cells of the benchmark: each is measured once and kept as a file, so that an interrupted run goes on where it stopped."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from time import perf_counter

from permfc.errors import FormatError, ModelError, ToolError
from permfc.files import write_file

from .measure import Figures, median
from .methods import METHODS
from .problems import Benchmark, Problem
from .retraining import Training, retrained

Say = Callable[[str], None]
"""Called with what is being done."""


class Loaded:
    """A benchmark's problems, read when the first cell needs them.

    Members
    -------
    benchmark : Benchmark
    folder : Path
        Of the data.
    """

    def __init__(self, benchmark: Benchmark, folder: Path) -> None:
        self.benchmark = benchmark
        self.folder = folder

    @cached_property
    def problems(self) -> list[Problem]:
        """Value of what to compress."""
        return self.benchmark.load(self.folder)


@dataclass(frozen=True)
class Cell:
    """One row of the table.

    Members
    -------
    benchmark : Benchmark
    method, title : str
    measure : function (Say) -> Figures
    final : bool
        Whether its figures stay what they are once they are known.
    """

    benchmark: Benchmark
    method: str
    title: str
    measure: Callable[[Say], Figures]
    final: bool = True


@dataclass(frozen=True)
class Row:
    """A cell and what came of it.

    Members
    -------
    benchmark, benchmark_title, method, title : str
    figures : Figures or None
    not_run : str
        Why there are no figures; empty if there are.
    """

    benchmark: str
    benchmark_title: str
    method: str
    title: str
    figures: Figures | None
    not_run: str = ""

    def as_dict(self) -> dict[str, object]:
        """Everything by name, ready for JSON."""
        names = {"benchmark": self.benchmark, "benchmark_title": self.benchmark_title, "method": self.method, "title": self.title}
        return {**names, **({"not_run": self.not_run} if self.figures is None else self.figures.as_dict())}


def cells(benchmark: Benchmark, data: Path, output: Path, training: Training) -> list[Cell]:
    """The cells of a benchmark, in the order of the table."""
    loaded = Loaded(benchmark, data)
    made = [Cell(benchmark, method.name, method.title, partial(_all, loaded, method.run)) for method in METHODS.values()]
    for ratio in benchmark.retrained:
        title = f"permfc retrained {ratio:g}x"
        made.append(Cell(benchmark, f"retrained-{ratio:g}", title, partial(_retrained, loaded, ratio, data, output, training), final=False))
    return made


def _all(loaded: Loaded, run: Callable[[Problem], Figures], say: Say) -> Figures:
    return median([run(problem) for problem in loaded.problems])


def _retrained(loaded: Loaded, ratio: float, data: Path, output: Path, training: Training, say: Say) -> Figures:
    return retrained(loaded.benchmark.name, loaded.problems[0], ratio, data, output / "train", training, say)


def measured(todo: list[Cell], output: Path, say: Say) -> Iterator[Row]:
    """The rows of the cells, one by one; what is known already is read from the output folder.

    Raises
    ------
    FormatError
        If a kept file is damaged, or the folder cannot be written.
    """
    for cell in todo:
        names = cell.benchmark.name, cell.benchmark.title, cell.method, cell.title
        say(f"{cell.benchmark.name}: {cell.title}")
        known = kept(output, cell.benchmark.name, cell.method) if cell.final else None
        if known:
            yield Row(*names, known)
            continue
        start = perf_counter()
        try:
            figures = cell.measure(say)
        except (ToolError, ModelError) as error:  # a package is missing, or the network is too small for the rate
            yield Row(*names, None, str(error))
            continue
        file = _file(output, cell.benchmark.name, cell.method)
        file.parent.mkdir(parents=True, exist_ok=True)
        write_file(file, json.dumps({**figures.as_dict(), "seconds": perf_counter() - start}, indent=2).encode())
        yield Row(*names, figures)


def kept(output: Path, benchmark: str, method: str) -> Figures | None:
    """The figures of a cell that was measured before, or None.

    Raises
    ------
    FormatError
        If its file is damaged.
    """
    file = _file(output, benchmark, method)
    if not file.exists():
        return None
    try:
        known = json.loads(file.read_bytes())
        return Figures(**{name: known[name] for name in Figures.__dataclass_fields__})
    except (ValueError, KeyError, TypeError) as error:
        raise FormatError(f"{file} does not hold the figures of a cell; delete it to have it measured again") from error


def _file(output: Path, benchmark: str, method: str) -> Path:
    return output / "cells" / benchmark / f"{method}.json"

"""``permfc bench``."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from permfc import datasets
from permfc.errors import InputError, ToolError
from permfc.files import write_file

from .. import console
from ..options import AsJson
from . import charts, tables
from .accounting import ACCOUNTING, Whole, whole_networks
from .cells import Row, Say, cells, measured
from .gates import GATES, Gates, gates
from .problems import BENCHMARKS, check_files
from .retraining import Training


def bench(
    data: Annotated[Path | None, typer.Option("--data", envvar=datasets.VARIABLE, file_okay=False, help="Folder with the data sets.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder for all that comes of it.")] = Path("permfc-bench"),
    only: Annotated[list[str] | None, typer.Option("--only", help="A benchmark, rtl or accounting; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each retrained row; the median counts.")] = 3,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Train what has not been trained yet; an hour or two for all.")] = True,
    as_json: AsJson = False,
) -> None:
    """Compare permfc with other ways to store weights, on real networks and data.

    Every finished row is kept in the output folder: an interrupted run goes on where it stopped.

    **Examples**

    - `permfc bench --data data`

    - `permfc bench --data data --only usps-256-256 --only lenet-5 --no-train`

    - `permfc bench --only accounting`
    """
    chosen = _chosen(only)
    benchmarks = [BENCHMARKS[name] for name in chosen if name in BENCHMARKS]
    needs_data = GATES in chosen or any(benchmark.files for benchmark in benchmarks)
    folder = datasets.data_folder(data) if needs_data else Path()
    check_files(benchmarks, folder)
    todo = [cell for benchmark in benchmarks for cell in cells(benchmark, folder, output, Training(seeds, train))]
    output.mkdir(parents=True, exist_ok=True)
    found = Found()
    with _bar(len(todo) + (GATES in chosen)) as (say, advance):
        for row in measured(todo, output, say):
            found.rows.append(row)
            advance()
        if GATES in chosen:
            found.simulate(output, folder, say)
            advance()
    if ACCOUNTING in chosen:
        found.wholes += whole_networks(output)
    _write(output, found)
    console.show(as_json, found.as_dict(), *found.tables())
    if not as_json:
        for reason in found.not_run():
            console.output.print(f"Not run: {reason}", soft_wrap=True, markup=False)
        console.output.print(f"Tables, plots and results.json are in {output}/")


@dataclass
class Found:
    """All that a run of the benchmark found."""

    rows: list[Row] = field(default_factory=list)
    gates: Gates | None = None
    problems: list[str] = field(default_factory=list)
    wholes: list[Whole] = field(default_factory=list)

    def simulate(self, output: Path, data: Path, say: Say) -> None:
        """Add the simulation, or why there is none."""
        try:
            self.gates = gates(output, data, say)
        except ToolError as error:
            self.problems.append(str(error))

    def draw(self, output: Path) -> None:
        """Make the plots, or add why there are none."""
        try:
            charts.draw(self.rows, output)
        except ToolError as error:
            self.problems.append(str(error))

    def not_run(self) -> list[str]:
        """Why there are no figures, each reason once."""
        reasons = [row.not_run for row in self.rows] + self.problems
        return [reason for reason in dict.fromkeys(reasons) if reason]

    def tables(self) -> list[console.Table]:
        """What there is, for the terminal."""
        made = tables.full(self.rows)
        if self.gates:
            made.append(tables.gates(self.gates))
        return [*made, tables.accounting(self.wholes)] if self.wholes else made

    def as_dict(self) -> dict[str, object]:
        """Everything by name, ready for JSON."""
        return {
            "rows": [row.as_dict() for row in self.rows],
            "rtl": self.gates.as_dict() if self.gates else None,
            "whole_networks": [whole.as_dict() for whole in self.wholes],
            "not_run": self.not_run(),
        }


def _chosen(only: list[str] | None) -> list[str]:
    names = [*BENCHMARKS, GATES, ACCOUNTING]
    unknown = [name for name in only or [] if name not in names]
    if unknown:
        raise InputError(f"There is no benchmark {unknown[0]!r}: choose from {', '.join(names)}")
    return only or names


def _write(output: Path, found: Found) -> None:
    if found.rows:
        write_file(output / "table.md", tables.short_markdown(found.rows).encode())
        write_file(output / "details.md", tables.full_markdown(found.rows).encode())
        found.draw(output)
    if found.wholes:
        write_file(output / "accounting.md", tables.accounting_markdown(found.wholes).encode())
    write_file(output / "results.json", json.dumps(found.as_dict(), indent=2).encode())


@contextmanager
def _bar(total: int) -> Iterator[tuple[Say, Callable[[], None]]]:
    """One bar for all rows; its text says which is being measured."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console.messages) as bar:
        task = bar.add_task("", total=total)
        yield lambda what: bar.update(task, description=what), lambda: bar.advance(task)

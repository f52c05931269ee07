"""``permfc bench``."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from permfc import datasets
from permfc.errors import InputError
from permfc.files import write_file

from .. import console
from ..options import AsJson
from . import charts, tables
from .accounting import ACCOUNTING, Whole, whole_networks
from .cells import Row, cells, measured
from .problems import BENCHMARKS, check_files
from .retraining import Training


def bench(
    data: Annotated[Path | None, typer.Option("--data", envvar=datasets.VARIABLE, file_okay=False, help="Folder with the data sets.")] = None,
    output: Annotated[Path, typer.Option("--output", "-o", file_okay=False, help="Folder for all that comes of it.")] = Path("permfc-bench"),
    only: Annotated[list[str] | None, typer.Option("--only", help="A benchmark by name, or accounting; may be repeated.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Training runs of each retrained row; the median counts.")] = 3,
    train: Annotated[bool, typer.Option("--train/--no-train", help="Train what has not been trained yet; hours for all.")] = True,
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
    folder = datasets.data_folder(data) if any(benchmark.files for benchmark in benchmarks) else Path()
    check_files(benchmarks, folder)
    todo = [cell for benchmark in benchmarks for cell in cells(benchmark, folder, output, Training(seeds, train))]
    output.mkdir(parents=True, exist_ok=True)
    rows = []
    with _bar(len(todo)) as (say, advance):
        for row in measured(todo, output, say):
            rows.append(row)
            advance()
    wholes = whole_networks(output) if ACCOUNTING in chosen else []
    found = {"rows": [row.as_dict() for row in rows], "whole_networks": [whole.as_dict() for whole in wholes]}
    _write(output, found, rows, wholes)
    shown = [*tables.full(rows), *([tables.accounting(wholes)] if wholes else [])]
    console.show(as_json, found, *shown)
    if not as_json:
        for reason in dict.fromkeys(row.not_run for row in rows if row.not_run):
            console.output.print(f"Not run: {reason}", soft_wrap=True, markup=False)
        console.output.print(f"Tables, plots and results.json are in {output}/")


def _chosen(only: list[str] | None) -> list[str]:
    names = [*BENCHMARKS, ACCOUNTING]
    unknown = [name for name in only or [] if name not in names]
    if unknown:
        raise InputError(f"There is no benchmark {unknown[0]!r}: choose from {', '.join(names)}")
    return only or names


def _write(output: Path, found: dict, rows: list[Row], wholes: list[Whole]) -> None:
    write_file(output / "results.json", json.dumps(found, indent=2).encode())
    if rows:
        write_file(output / "table.md", tables.short_markdown(rows).encode())
        write_file(output / "details.md", tables.full_markdown(rows).encode())
        charts.draw(rows, output)
    if wholes:
        write_file(output / "accounting.md", tables.accounting_markdown(wholes).encode())


@contextmanager
def _bar(total: int):
    """One bar for all rows; its text says which is being measured."""
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    with Progress(*columns, console=console.messages) as bar:
        task = bar.add_task("", total=total)
        say: Callable[[str], None] = lambda what: bar.update(task, description=what)  # noqa: E731
        yield say, lambda: bar.advance(task)

"""What every subcommand prints with: tables on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager

from rich import box
from rich import progress as rich_progress
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from permfc.progress import Progress

output = Console()
messages = Console(stderr=True)


def note(sentence: str) -> None:
    """Print what the user should know, on standard error."""
    _say("Note", sentence)


def warn(sentence: str) -> None:
    """Print what is probably not as the user wants it, on standard error."""
    _say("Warning", sentence)


def _say(what: str, sentence: str) -> None:
    messages.print(f"[bold]{what}:[/] {escape(sentence)}", soft_wrap=True, highlight=False)


@contextmanager
def progress() -> Iterator[Progress]:
    """A progress bar for each different job that is reported while the context is open."""
    columns = (rich_progress.TextColumn("{task.description}"), rich_progress.BarColumn(), rich_progress.MofNCompleteColumn(),
               rich_progress.TimeElapsedColumn())
    with rich_progress.Progress(*columns, console=messages) as bars:
        tasks: dict[str, rich_progress.TaskID] = {}

        def finish() -> None:
            """Jobs follow each other, and a search that found its answer early is done as well."""
            for task in bars.tasks:
                bars.update(task.id, completed=task.total)

        def step(what: str, done: int, total: int) -> None:
            if what not in tasks:
                finish()
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield step
        finish()


def table(title: str, columns: dict[str, str]) -> Table:
    """A table with the given headings; the value of each says how it is justified, "left" or "right". What is too wide is folded, never cut."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False)
    for heading, justify in columns.items():
        made.add_column(heading, justify=justify, overflow="fold")
    return made


def show(as_json: bool, data: dict, *parts: Table | str) -> None:
    """Print ``data`` as JSON for machines, or the ``parts`` for people; texts stay on their lines, so that a path can be copied."""
    if as_json:
        print(json.dumps(data, indent=2))
    else:
        for part in parts:
            output.print(part, soft_wrap=isinstance(part, str), markup=False, highlight=False)

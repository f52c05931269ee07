"""The rows as tables: for the terminal, for a document in full, and in short for a first page."""

from __future__ import annotations

from itertools import groupby

from .. import console
from .accounting import Whole
from .cells import Row
from .gates import Gates
from .measure import Figures
from .methods import ALLOWED_DROP, ALLOWED_ERROR
from .problems import BENCHMARKS

_HEADINGS = ("method", "accuracy", "lost", "bits/w", "ratio", "bytes", "active only")
_WHOLE = ("network", "convolutions", "FC", "rate of", "bits/w", "MB before", "MB after", "ratio FC", "ratio", "accuracy")


def full(rows: list[Row]) -> list[console.Table]:
    """One table a benchmark, for the terminal."""
    made = []
    for title, group in groupby(rows, key=lambda row: row.benchmark_title):
        table = _table(title, _HEADINGS)
        for row in group:
            table.add_row(*_columns(row))
        made.append(table)
    return made


def full_markdown(rows: list[Row]) -> str:
    """One table a benchmark, with notes, in Markdown."""
    parts = []
    for title, group in groupby(rows, key=lambda row: row.benchmark_title):
        lines = [(*_columns(row), row.figures.note if row.figures else row.not_run) for row in group]
        parts.append(f"### {title}\n\n{_markdown((*_HEADINGS, 'note'), lines)}")
    return "\n".join(parts)


def short_markdown(rows: list[Row]) -> str:
    """One line a benchmark: what each way of storing reaches, as accuracy and times smaller than float32."""
    columns = {"nf4": "NF4", "q4_0": "GGUF Q4_0", "gptq-int3": "GPTQ int3", "gptq-int2": "GPTQ int2", "deep-compression": "pruned, Huffman"}
    lines = []
    for name, benchmark in BENCHMARKS.items():
        found = {row.method: row.figures for row in rows if row.benchmark == name and row.figures}
        if "float32" not in found:
            continue
        compressed = [figures for method, figures in found.items() if method.startswith("permfc-")]
        trained = [figures for method, figures in found.items() if method.startswith("retrained-")]
        peers = [_result(found.get(method)) for method in columns]
        lines.append((benchmark.title, quality(found["float32"]), *peers, _result(smallest(compressed)),
                      "<br>".join(f"{_result(figures)} ({figures.note.partition(':')[0]})" for figures in trained) or "-"))
    return _markdown(("network", "float32", *columns.values(), "permfc", "permfc retrained"), lines)


def gates(found: Gates) -> console.Table:
    """The simulation, for the terminal."""
    table = _table(f"{found.digits:,} digits on the simulated engine, {found.run}", ("", "value"))
    table.add_row("results equal to the golden model", f"{found.results - found.different_results:,} of {found.results:,}")
    table.add_row("labels equal to the golden model", f"{found.digits - found.different_labels:,} of {found.digits:,}")
    table.add_row("accuracy on these digits", f"{found.accuracy:.1f} %")
    table.add_row("bytes read per inference, counted", f"{found.bytes_counted:,.0f}")
    table.add_row("every count as predicted", "yes" if found.traffic_as_predicted else "no")
    table.add_row("cycles per inference", f"{found.cycles:,.0f}")
    return table


def accounting(wholes: list[Whole]) -> console.Table:
    """Whole networks, for the terminal: without the parameters, which are known."""
    table = _table("Whole networks, convolutions in float32", (_WHOLE[0], *_WHOLE[3:]))
    for whole in wholes:
        name, _, _, *rest = _whole_columns(whole)
        table.add_row(name, *rest)
    return table


def accounting_markdown(wholes: list[Whole]) -> str:
    """Whole networks in Markdown."""
    return _markdown(_WHOLE, [_whole_columns(whole) for whole in wholes])


def smallest(candidates: list[Figures]) -> Figures | None:
    """The smallest that loses no more than pruning may; the best if none does."""
    if not candidates:
        return None
    good = [figures for figures in candidates if acceptable(figures)]
    return min(good, key=lambda figures: figures.bits) if good else max(candidates, key=lambda figures: figures.bits)


def acceptable(figures: Figures) -> bool:
    """Whether no more is lost than pruning may lose."""
    return figures.output_error <= ALLOWED_ERROR if figures.drop is None else figures.drop <= ALLOWED_DROP


def quality(figures: Figures) -> str:
    """The accuracy, or the output error."""
    return f"error {figures.output_error:.3g}" if figures.accuracy is None else f"{figures.accuracy:.2f} %"


def _result(figures: Figures | None) -> str:
    return "-" if figures is None else f"{quality(figures)}, {figures.ratio:.1f}x"


def _table(title: str, headings: tuple[str, ...]) -> console.Table:
    return console.table(title, {heading: "right" if number else "left" for number, heading in enumerate(headings)})


def _columns(row: Row) -> tuple[str, ...]:
    figures = row.figures
    if figures is None:
        return (row.title, "not run", *[""] * (len(_HEADINGS) - 2))
    lost = "" if figures.drop is None else f"{round(figures.drop, 2) + 0.0:+.2f}"
    return (row.title, quality(figures), lost, f"{figures.bits_per_weight:.3f}", f"{figures.ratio:.1f}x",
            f"{figures.bytes_all:,.0f}", f"{figures.bytes_skipping:,.0f}")


def _whole_columns(whole: Whole) -> tuple[str, ...]:
    sizes = (whole.title, f"{whole.convolution_parameters:,}", f"{whole.fully_connected_parameters:,}", whole.rate_of)
    before = f"{whole.bits_before / 8e6:.3f}"
    if whole.bits_after is None:
        return (*sizes, "unknown", before, "-", "-", "-", "-")
    accuracy = "not measured" if whole.accuracy is None else f"{whole.accuracy:.2f} %"
    return (*sizes, f"{whole.bits_per_weight:.3f}", before, f"{whole.bits_after / 8e6:.3f}",
            f"{whole.fully_connected_ratio:.1f}x", f"{whole.ratio:.1f}x", accuracy)


def _markdown(headings: tuple[str, ...], lines: list[tuple[str, ...]]) -> str:
    rule = ["---", *["---:"] * (len(headings) - 1)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in (headings, rule, *lines))

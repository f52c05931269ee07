"""A page of HTML without anything outside of it: sections, the tables of the command line, inline drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rich.table import Table
from rich.text import Text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; }
h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; break-after: avoid; }
.label { font-size: 0.72rem; font-weight: 600; color: #fff; border-radius: 0.6rem; padding: 0.1rem 0.6rem; margin-left: 0.5rem; }
.counted { background: #2a6f97; } .modelled { background: #b85c0c; } .estimated { background: #6b7078; }
.tiles { display: flex; flex-wrap: wrap; gap: 0.8rem; margin: 1rem 0; }
.tiles div { flex: 1 1 14rem; border: 1px solid #ccc; border-radius: 0.4rem; padding: 0.6rem 0.8rem; font-size: 0.85rem; }
.tiles strong { font-size: 1.25rem; }
table { border-collapse: collapse; margin: 0.8rem 0; font-variant-numeric: tabular-nums; break-inside: avoid; }
caption { text-align: left; font-weight: 600; break-after: avoid; }
th, td { padding: 0.15rem 0.7rem; text-align: left; } td { white-space: nowrap; } th { border-bottom: 1px solid #222; vertical-align: bottom; }
td.right, th.right { text-align: right; } tr.end td { border-bottom: 1px solid #ccc; }
svg { display: block; margin: 1rem 0; max-width: 100%; height: auto; break-inside: avoid; }
@page { size: A4; margin: 15mm; }
@media print {
  body { font-size: 9pt; max-width: none; margin: 0; padding: 0; } h2 { margin-top: 1.2rem; }
  th, td { padding: 0.1rem 0.4rem; } .label, svg { print-color-adjust: exact; }
}
"""


@dataclass(frozen=True)
class Section:
    """A heading, what kind of figures follow (counted, modelled, estimated; empty: none of them), and blocks of HTML."""

    title: str
    label: str
    blocks: Sequence[str]


@dataclass(frozen=True)
class Tile:
    """One figure with what it is, and its kind as in a Section."""

    what: str
    figure: str
    label: str


def page(title: str, subtitle: str, sections: Sequence[Section]) -> str:
    """The whole page."""
    body = "\n".join(_section(section) for section in sections)
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style></head>\n'
        f"<body>\n<h1>{escape(title)}</h1>\n{paragraph(subtitle)}\n{body}\n</body>\n</html>\n"
    )


def paragraph(text: str) -> str:
    """A paragraph of plain text."""
    return f"<p>{escape(text)}</p>"


def tiles(shown: Sequence[Tile]) -> str:
    """Tiles side by side."""
    return '<div class="tiles">' + "".join(_tile(tile) for tile in shown) + "</div>"


def bullets(items: Sequence[str]) -> str:
    """A list of plain texts."""
    return "<ul>" + "".join(f"<li>{escape(item)}</li>" for item in items) + "</ul>"


def html_table(table: Table) -> str:
    """A table of the command line as HTML, with its title, alignment and rules between rows."""
    sides = [column.justify for column in table.columns]
    heads = "".join(_cell("th", side, column.header) for side, column in zip(sides, table.columns, strict=True))
    columns = [list(column.cells) for column in table.columns]
    rows = []
    for number, row in enumerate(zip(*columns, strict=True)):
        end = ' class="end"' if table.rows[number].end_section else ""
        rows.append(f"<tr{end}>" + "".join(_cell("td", side, value) for side, value in zip(sides, row, strict=True)) + "</tr>")
    caption = f"<caption>{escape(_plain(table.title))}</caption>" if table.title else ""
    return f"<table>{caption}<thead><tr>{heads}</tr></thead><tbody>{''.join(rows)}</tbody></table>"


def _cell(tag: str, side: str, value: object) -> str:
    return f'<{tag} class="{side}">{escape(_plain(value))}</{tag}>'


def _plain(value: object) -> str:
    return value.plain if isinstance(value, Text) else str(value)


def _label(label: str) -> str:
    return f'<span class="label {label}">{label}</span>' if label else ""


def _tile(tile: Tile) -> str:
    return f"<div><strong>{escape(tile.figure)}</strong> {_label(tile.label)}<br>{escape(tile.what)}</div>"


def _section(section: Section) -> str:
    return f"<section><h2>{escape(section.title)}{_label(section.label)}</h2>\n" + "\n".join(section.blocks) + "\n</section>"

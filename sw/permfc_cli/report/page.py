"""A page of HTML without anything outside of it: sections, the tables of the command line, inline drawings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from rich.table import Table
from rich.text import Text

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
.label { font-size: 0.75rem; font-weight: 600; color: #fff; border-radius: 0.6rem; padding: 0.1rem 0.6rem; margin-left: 0.5rem; }
.counted { background: #2a6f97; } .modelled { background: #e07a1f; } .estimated { background: #7a7f87; }
table { border-collapse: collapse; margin: 0.8rem 0; font-variant-numeric: tabular-nums; } caption { text-align: left; font-weight: 600; }
th, td { padding: 0.15rem 0.7rem; text-align: left; } th { border-bottom: 1px solid #222; }
td.right, th.right { text-align: right; } tr.end td { border-bottom: 1px solid #ccc; } svg { max-width: 100%; height: auto; }
@media print { body { font-size: 10pt; max-width: none; margin: 0; } section { break-inside: avoid; } }
"""


@dataclass(frozen=True)
class Section:
    """A heading, what kind of figures follow (counted, modelled, estimated; empty: none of them), and blocks of HTML."""

    title: str
    label: str
    blocks: Sequence[str]


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


def _section(section: Section) -> str:
    label = f'<span class="label {section.label}">{section.label}</span>' if section.label else ""
    return f"<section><h2>{escape(section.title)}{label}</h2>\n" + "\n".join(section.blocks) + "\n</section>"

"""The documents: links lead somewhere, and Python snippets name what there is."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OURS = "permfc"  # the packages whose names are looked up
OPTIONAL = ("permfc.torch", "permfc.train")  # their names take torch, which need not be installed

named = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def snippets(page: Path) -> list[ast.Module]:
    return [ast.parse(text) for text in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)]


def anchor(heading: str) -> str:
    """What GitHub makes of a heading."""
    return re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-")


@named
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith("http"):
            continue
        name, _, part = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{page.name}: {link}"
        assert not part or part in map(anchor, re.findall(r"^#+ (.*)$", target.read_text(), re.MULTILINE)), f"{page.name}: {link}"


@named
def test_snippets_import_what_there_is(page: Path) -> None:
    for statement in (node for tree in snippets(page) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)):
        if statement.module.startswith(OURS) and not statement.module.startswith(OPTIONAL):
            module = importlib.import_module(statement.module)
            for alias in statement.names:
                assert hasattr(module, alias.name), f"{page.name}: {statement.module}.{alias.name}"

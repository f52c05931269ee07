"""Packages that only some kinds of files need."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from types import ModuleType

from ..errors import ToolError


def required(package: str, extra: str, path: Path) -> ModuleType:
    """The package ``package``, which reading ``path`` needs. Raises ToolError, with the name of the
    extra, if it is not installed."""
    try:
        return import_module(package)
    except ImportError as error:
        raise ToolError(f"Reading {path} needs {package}: pip install 'permfc[{extra}]'") from error

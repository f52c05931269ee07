"""The ``permfc`` command."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import typer
from rich.markup import escape
from typer.core import TyperGroup

from permfc.errors import ClippingWarning, PermfcError

from .bench.command import bench
from .build import build
from .compare import compare
from .compress import compress
from .console import messages
from .demo.command import demo
from .devices import devices
from .export_rtl import export_rtl
from .features import features
from .finetune import finetune
from .info import info
from .pack import pack
from .report.command import report
from .run import run
from .selftest import selftest
from .simulate import simulate
from .synth import synth

USER_ERROR = 2
# Optional packages without which a subcommand cannot start, and the extra that installs each.
_EXTRAS = {"amaranth": "sim", "amaranth_boards": "synth", "torch": "train"}


class _Group(TyperGroup):
    """A user's mistake ends with one sentence and status 2 instead of a traceback."""

    def invoke(self, context: typer.Context) -> Any:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ClippingWarning)  # which the commands tell in their own words, with the file's name
                return super().invoke(context)
        except PermfcError as error:
            sentence = str(error)
        except ModuleNotFoundError as error:
            package = (error.name or "").partition(".")[0]
            if package not in _EXTRAS:
                raise
            sentence = f"{package} is missing; run: pip install 'permfc[{_EXTRAS[package]}]'"
        except OSError as error:
            if error.filename is None:
                raise
            sentence = f"{error.filename}: {error.strerror}"
        messages.print(f"[bold red]Error:[/] {escape(sentence)}", soft_wrap=True, highlight=False)
        raise typer.Exit(USER_ERROR)


app = typer.Typer(
    name="permfc",
    cls=_Group,
    help="Compress the fully connected layers of neural networks, and run them bit-exactly on an FPGA engine, in simulation or on "
         "the golden model; onnxruntime runs the rest of a network.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)
for command in (compress, features, finetune, info, pack, simulate, compare, report, synth, build, run, devices, selftest, export_rtl, demo, bench):
    app.command()(command)


def main() -> None:
    """Entry point of the installed script."""
    sys.exit(app())

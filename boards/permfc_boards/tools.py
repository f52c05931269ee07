"""Finds and runs the open FPGA tools: those on PATH if there are any, otherwise the WASM builds from PyPI."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from permfc.errors import ToolError


def find(tool: str) -> list[str]:
    """The command that runs ``tool`` ("yosys", "nextpnr-ecp5", "nextpnr-ice40").

    Raises
    ------
    ToolError
        If the tool is neither on PATH nor installed as the package ``yowasp-<tool>``.
    """
    script = f"yowasp-{tool}"
    beside_python = str(Path(sys.executable).parent)  # an environment's scripts, also when it is not activated
    for found in (shutil.which(tool), shutil.which(script, path=beside_python), shutil.which(script)):
        if found:
            return [found]
    raise ToolError(f"{tool} is missing; install it, or run: pip install 'permfc[synth]'")


def run(tool: str, arguments: list[str], folder: Path, log: str) -> None:
    """Run ``tool`` in ``folder`` (paths in ``arguments`` are relative to it) and keep what it prints in the file ``log``.

    Raises
    ------
    ToolError
        If the tool is missing, or fails; the message holds its first error line.
    """
    command = find(tool) + arguments
    with open(folder / log, "w", encoding="utf-8") as output:
        status = subprocess.run(command, cwd=folder, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False).returncode
    if status:
        text = (folder / log).read_text(encoding="utf-8", errors="replace").splitlines()
        error = next((line.strip() for line in text if line.lower().startswith("error")), text[-1] if text else "no output")
        raise ToolError(f"{tool} failed with status {status} ({error}); its log is {folder / log}")

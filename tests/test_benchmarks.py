"""What the programs in benchmarks/ say to a user's mistake, before their long work begins."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize(("program", "arguments", "sentence"), [
    ("accuracy", ["--data", "none"], "none is not a folder: pass --data DIR or set PERMFC_DATA"),
    ("accuracy", ["cifar_net"], "Network 'cifar_net' must begin with the name of its data set, one of mnist, fashion, clinc150, usps"),
    ("cycles", ["--lanes", "3"], "lanes must be a power of two from 1 to 64, not 3"),
    ("digits", ["none.safetensors"], "Cannot read none.safetensors: No such file or directory"),
    ("memory", ["--memory", "sdr"], "There is no memory 'sdr': choose one of sdr-100"),
    ("vgg16", ["--memory", "axi", "sdr"], "There is no memory 'sdr': choose one of sdr-100"),
])
def test_a_mistake_gives_one_sentence(program: str, arguments: list[str], sentence: str, monkeypatch: pytest.MonkeyPatch,
                                      capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(BENCHMARKS / f"{program}.py"), run_name="__main__")
    assert ended.value.code == 2
    said = capsys.readouterr()
    assert said.err.startswith(f"Error: {sentence}") and not said.out

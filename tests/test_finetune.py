"""``permfc finetune`` from the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from command_line import fail, succeed

RECIPE = "lenet-300-100"


def test_missing_torch_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("permfc.train")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    assert "torch is missing; run: pip install 'permfc[train]'" in fail("finetune", RECIPE, "--output", tmp_path)


def test_missing_data_are_named_before_anything_is_written(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="retraining needs torch")
    message = fail("finetune", RECIPE, "--data", tmp_path, "--output", tmp_path / "run")
    assert "train-images-idx3-ubyte.gz" in message and "t10k-labels-idx1-ubyte.gz" in message
    assert not (tmp_path / "run").exists()


def test_unknown_recipe(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="retraining needs torch")
    assert "There is no recipe 'alexnet': choose one of lenet-300-100" in fail("finetune", "alexnet", "--output", tmp_path)


def test_a_recipe_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="retraining needs torch")
    from permfc.train import recipes
    from test_train import PLAN, problem

    monkeypatch.setitem(recipes.RECIPES, "tiny", recipes.Recipe(lambda folder: problem(), replace(PLAN, ratio=10)))
    figures = json.loads(succeed("finetune", "tiny", "--ratio", 12, "--seed", 1, "--epochs", 2, "--output", tmp_path, "--json").stdout)
    assert figures["ratio"] >= 12 and figures["epochs"] == 2 and figures["seed"] == 1
    assert figures == json.loads((tmp_path / "result.json").read_text())
    shown = succeed("finetune", "tiny", "--ratio", 12, "--seed", 1, "--epochs", 2, "--output", tmp_path).stdout
    assert f"{figures['golden_accuracy']:.2f} %" in shown and f"{figures['image_bytes']:,}" in shown
    assert "is of a training with seed 1 instead of 2" in fail("finetune", "tiny", "--seed", 2, "--epochs", 2, "--output", tmp_path)

"""Whole networks: parameters as published, bits at the rates that were measured."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from permfc_cli.bench.accounting import ORIGINALS, whole_networks
from permfc_cli.bench.measure import Figures
from permfc_cli.main import app

PUBLISHED = {"LeNet-300-100": 266_610, "LeNet-5": 431_080, "AlexNet": 60_965_224, "VGG-16": 138_357_544}


def keep(folder: Path, benchmark: str, method: str, bits_per_weight: float, accuracy: float | None) -> None:
    file = folder / "cells" / benchmark / f"{method}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(Figures(98.0, accuracy, None, 1000, 1000 * bits_per_weight, 32000, 1.0, 1.0).as_dict()))


def test_parameters_are_those_of_the_originals() -> None:
    found = {original.title: original.parameters for original in ORIGINALS}
    assert {title: found[title] for title in PUBLISHED} == PUBLISHED


def test_rates_apply_to_the_fully_connected_weights(tmp_path: Path) -> None:
    keep(tmp_path, "fashion-1024-512", "retrained-40", 0.8, 89.0)
    vgg = next(whole for whole in whole_networks(tmp_path) if whole.title == "VGG-16" and whole.bits_after)
    weights = 25088 * 4096 + 4096 * 4096 + 4096 * 1000
    assert vgg.fully_connected_after == pytest.approx(0.8 * weights)
    assert vgg.bits_after == pytest.approx(0.8 * weights + 32 * 14_714_688)
    assert vgg.ratio == pytest.approx(32 * PUBLISHED["VGG-16"] / vgg.bits_after)
    assert vgg.accuracy is None


def test_only_what_was_measured_has_an_accuracy(tmp_path: Path) -> None:
    keep(tmp_path, "lenet-300-100", "retrained-100", 0.32, 98.4)
    result = CliRunner().invoke(app, ["bench", "--only", "accounting", "-o", str(tmp_path), "--json"])
    wholes = json.loads(result.stdout)["whole_networks"]
    assert [(whole["title"], whole["accuracy"]) for whole in wholes if whole["bits_after"]] == [("LeNet-300-100", 98.4)]
    assert wholes[0]["ratio"] == pytest.approx(32 * 266_610 / (0.32 * 266_200))
    lines = (tmp_path / "accounting.md").read_text().splitlines()
    assert lines[2].endswith("| 98.40 % |")
    assert "| unknown |" in lines[4]

"""The page of a report: self-contained, complete, and honest about where its figures come from."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from command_line import fail, succeed
from networks import random_network
from permfc.image import model_file
from permfc_cli import console
from permfc_cli.report.charts import Bar, bar_chart
from permfc_cli.report.page import Section, html_table, page

ENGINE = ["--lanes", 4, "--block-outputs", 64, "--features", 64]


class Elements(HTMLParser):
    """Collects tags, links to elsewhere, and whether every tag is closed."""

    VOID = ("meta", "br", "path", "use", "rect", "image")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.links, self.stack, self.labels = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)
        attributes = dict(attrs)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href") and not value.startswith("#")]
        self.labels += [attributes["class"].split()[-1]] if attributes.get("class", "").startswith("label") else []
        if tag not in self.VOID:
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in self.VOID:
            self.stack.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.stack.pop() == tag


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    network, inputs = tmp_path / "net.safetensors", tmp_path / "x.npy"
    model_file.save(random_network(5, (40, 64, 10)), network)
    np.save(inputs, np.random.default_rng(0).normal(0, 20, (2, 40)))
    return network, inputs


def test_page_of_a_counted_memory(files: tuple[Path, Path], tmp_path: Path) -> None:
    network, inputs = files
    shown = json.loads(succeed("report", network, "--input", inputs, "-o", tmp_path / "r.html", *ENGINE, "--idle", 1, "--json").stdout)
    text = (tmp_path / "r.html").read_text()
    elements = Elements(text)
    assert elements.stack == [] and elements.links == []
    assert elements.tags.count("svg") == 4
    assert set(elements.labels) == {"counted", "modelled", "estimated"}
    phrases = "tRCD", "IDD4R", "dense fp32", "EIE", "zero activations skipped", "At 20 pJ a bit"
    for phrase in (*phrases, "net.safetensors", "MT48LC16M16A2-75", "datasheet maximum", "1 ms of standby", "Estimated", "bits a weight", "row hits"):
        assert phrase in text
    run = shown["simulation"]["memory"]
    assert run["total"]["energy"]["total"] == pytest.approx(sum(layer["energy"]["total"] for layer in run["layers"]))
    assert run["energy_is"] == "counted" and run["idle_modelled"]["total"] > 0
    assert json.loads((tmp_path / "r.json").read_text()) == shown
    assert shown["simulation"]["memory"]["total"]["commands"]["activate"] > 0
    assert shown["simulation"]["mismatches"] == 0
    dense = next(cost for cost in shown["layouts_modelled"] if cost["layout"] == "dense int8" and not cost["skips_zeros"])
    assert dense["bytes"] >= shown["simulation"]["dense_bytes"]


def test_power_down_makes_energy_a_model(files: tuple[Path, Path], tmp_path: Path) -> None:
    network, inputs = files
    succeed("report", network, "--input", inputs, "-o", tmp_path / "r.html", *ENGINE, "--idle", "powerdown")
    text = (tmp_path / "r.html").read_text()
    assert 'Energy of the memory<span class="label modelled">' in text and 'Commands at the memory&#x27;s pins<span class="label counted">' in text


def test_same_inputs_make_the_same_page(files: tuple[Path, Path], tmp_path: Path) -> None:
    network, inputs = files
    for name in ("a.html", "b.html"):
        succeed("report", network, "--input", inputs, "-o", tmp_path / name, *ENGINE)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_page_of_a_modelled_memory_counts_nothing_at_pins(files: tuple[Path, Path], tmp_path: Path) -> None:
    network, inputs = files
    shown = json.loads(succeed("report", network, "--input", inputs, "-o", tmp_path / "r.html", *ENGINE, "--memory", "ddr3-1600", "--json").stdout)
    memory = shown["simulation"]["memory"]
    assert memory["commands_are"] == "modelled" and memory["total"]["commands"]["activate"] > 0
    text = (tmp_path / "r.html").read_text()
    assert "at the memory's pins" not in text and 'Energy of the memory<span class="label modelled">' in text


def test_page_of_a_plain_memory_gives_no_energy(files: tuple[Path, Path], tmp_path: Path) -> None:
    network, inputs = files
    succeed("report", network, "--input", inputs, "-o", tmp_path / "r.html", *ENGINE, "--memory", "axi")
    text = (tmp_path / "r.html").read_text()
    assert "no energy is given" in text and "Energy per inference" not in text


def test_page_that_cannot_be_written(files: tuple[Path, Path], tmp_path: Path) -> None:
    network, inputs = files
    assert "There is no folder" in fail("report", network, "--input", inputs, "-o", tmp_path / "missing" / "r.html", *ENGINE)
    assert "would be both the page and its figures" in fail("report", network, "--input", inputs, "-o", tmp_path / "r.json", *ENGINE)


def test_text_is_escaped() -> None:
    table = console.table("a < b", {"x & y": "right"})
    table.add_row("<script>")
    text = page("<t>", "s", [Section("h", "counted", [html_table(table)])])
    assert "<script>" not in text and "&lt;script&gt;" in text and "x &amp; y" in text and "<title>&lt;t&gt;</title>" in text


def test_rules_between_rows_are_kept() -> None:
    table = console.table("", {"a": "left", "b": "right"})
    table.add_row("1", "2")
    table.add_section()
    table.add_row("3", "4")
    text = html_table(table)
    assert text.count('<tr class="end">') == 1 and '<td class="right">4</td>' in text


def widths(text: str) -> list[float]:
    """Of the drawn bars of a chart, from top to bottom and from left to right; those of the legend are as high as wide."""
    return [float(width) for width, height in re.findall(r'<rect [^>]*width="([\d.]+)" height="(\d+)"', text) if width != height]


def test_bars_are_as_long_as_their_values() -> None:
    bars = [Bar("first", [("red", 1.0), ("blue", 3.0)], "4"), Bar("", [("red", 2.0)], "2 < 4")]
    text = bar_chart(bars, {"good": "red", "bad": "blue"}, "A & B")
    long, rest, half = widths(text)
    assert rest == pytest.approx(3 * long) and half == pytest.approx((long + rest) / 2)
    assert "2 &lt; 4" in text and "A &amp; B" in text


def test_chart_of_nothing_has_bars_without_length() -> None:
    assert widths(bar_chart([Bar("none", [("red", 0.0)], "0")], {}, "t")) == [0.0]

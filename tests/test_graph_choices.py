"""Which layers of a graph go to the engine, by their names or patterns, and figures that must not depend on it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

import permfc  # noqa: E402
from graph_cases import graph, node, values  # noqa: E402
from permfc.errors import ModelError  # noqa: E402
from permfc.graph.partition import partition  # noqa: E402
from permfc.names import named  # noqa: E402
from test_session import BITS, GRAPHS, LAYERS, SAMPLES, model  # noqa: E402

pytestmark = pytest.mark.usefixtures("short_search")

ORIGINAL = {"weights": 24 * 16 + 8 * 24, "multiplications": 24 * 16 + 8 * 24, "float_bytes": 4 * (24 * 16 + 24 + 8 * 24 + 8 + 24)}


@pytest.mark.parametrize(("batch", "inputs"), [("batch", SAMPLES), (20, SAMPLES), ("batch", [{"x": SAMPLES[:7]}, {"x": SAMPLES}])])
@pytest.mark.parametrize("more", [{}, {"skip": ["fc1"]}, {"layers": ["fc1"]}, {"bits": "dense8"}], ids=str)
def test_figures_of_the_original_depend_on_nothing_else(batch, inputs, more):
    """Neither on what goes to the engine, nor on how many samples measured it."""
    made = permfc.compress_graph(model("softmax", batch), inputs, **{"bits": BITS, **more})
    assert {name: made.totals[name] for name in ORIGINAL} == ORIGINAL


@pytest.mark.parametrize(("choice", "taken"), [
    ({"skip": ["*1"]}, {"fc2"}), ({"skip": ["fc?"], "layers": ["fc1"]}, None), ({"layers": ["fc[2-9]"]}, {"fc2"}),
    ({"layers": ["*"]}, {"fc1", "fc2"}),
])
def test_patterns_choose_layers(choice, taken):
    if taken is None:
        with pytest.raises(ModelError, match=r"has no fully connected layer that an engine can have \(fc1: skipped; fc2: skipped\)"):
            partition(model("softmax"), **choice | {"skip": dict.fromkeys(choice["skip"], "skipped")})
        return
    made = permfc.compress_graph(model("softmax"), SAMPLES, "dense8", **choice)
    assert {row.name for row in made.rows if row.chain} == taken
    what, _ = next(iter(choice.items()))
    with pytest.raises(ModelError, match=r"has no fully connected layer 'no\*'; it has fc1 "):
        permfc.compress_graph(model("softmax"), SAMPLES, "dense8", **{what: ["fc1", "no*"]})


def test_a_name_with_the_signs_of_a_pattern_means_what_is_called_so():
    assert named(["fc[1]"], ["fc[1]"]) and named(["fc1"], ["fc[1]"]) and not named(["fc2"], ["fc[1]", "fc"])


def test_layers_that_cannot_have_so_few_bits_stay_on_the_host():
    wide = graph([node("MatMul", "x big", "h"), node("Softmax", "h", "a"), node("MatMul", "a small", "y")],
                 {"big": values(16, 256), "small": values(256, 1)}, {"x": ["n", 16]})
    made = permfc.compress_graph(wide, SAMPLES, 3.0, per_layer={"h": "sparse"})
    reasons = {row.name: row.reason for row in made.rows if not row.chain}
    assert reasons["y"].startswith("too small: Target of 3 bits a weight cannot be reached")
    with pytest.raises(ModelError, match=r"No chain of the model can have 0\.1 bits a weight; chain 'h': Target of 0\.1"):
        permfc.compress_graph(wide, SAMPLES, 0.1)


def test_layers_that_keep_no_weight_stay_on_the_host():
    head = graph([node("MatMul", "x wide", "h"), node("Softmax", "h", "a"), node("MatMul", "a narrow", "y")],
                 {"wide": values(16, 64), "narrow": values(64, 10)}, {"x": ["n", 16]})
    made = permfc.compress_graph(head, SAMPLES, 8.9, per_layer={"wide": "dense8", "narrow": 1.4})  # each by its weight's name
    assert {row.name: row.reason for row in made.rows} == {"h": "", "y": "too small: with so few bits y keeps none of its weights"}
    assert list(made.chains) == ["h"]
    with pytest.raises(ModelError, match=r"No chain of the model keeps its weights; too small: with so few bits y keeps none of its weights: ask"):
        permfc.compress_graph(head, SAMPLES, 1.8, skip=["h"])


def test_layers_whose_weights_no_sample_needs_may_lose_them():
    dead = graph(GRAPHS["relu"], LAYERS | {"b1": np.full(24, -50, np.float32), "b2": np.ones(8, np.float32)}, {"x": ["batch", 16]})
    made = permfc.compress_graph(dead, SAMPLES, BITS)
    assert [row.reason for row in made.rows] == ["", ""] and list(made.chains) == ["fc1"]
    assert made.figures["fc1"].empty == ("fc2",)
    with permfc.Session(made) as session:
        assert np.allclose(session.run(None, {"x": SAMPLES})[0], 1, atol=0.02)

"""ONNX graphs cut into chains and host stages: joined again in float they give what onnxruntime gives."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from graph_cases import STEPS, Builder, original  # noqa: E402
from permfc.errors import ModelError  # noqa: E402
from permfc.graph.partition import partition  # noqa: E402


def joined(part, feeds):
    """The results of a cut graph, its chains computed in float."""
    networks = {chain.name: chain.network for chain in part.chains}
    tensors = part.plan().run(feeds, lambda name, x: networks[name].predict(x))
    return [tensors[name] for name in part.view.outputs]


def assert_same(model, feeds, part):
    for found, wanted in zip(joined(part, feeds), original(model, feeds), strict=True):
        assert found.dtype == wanted.dtype and found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4 * max(1, np.abs(wanted).max()))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(st.one_of(st.just("layer"), st.sampled_from(STEPS)), st.integers(0, 3), st.integers(0, 20)), min_size=1, max_size=12),
       st.integers(0, 5), st.sampled_from([0, 0, 4]))
def test_random_graphs_give_the_same_results_when_they_are_cut(steps, seed, tokens):
    builder = Builder(seed, tokens)
    for step in steps:
        builder.step(*step)
    if not builder.nodes:
        return
    model, feeds = builder.model(), builder.feeds()
    try:
        part = partition(model)
    except ModelError as error:
        assert "has no fully connected layer" in str(error) and not any(node.op_type == "Gemm" for node in model.graph.node)
        return
    assert_same(model, feeds, part)

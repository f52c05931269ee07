"""Operators of a graph that multiply every feature by a constant and add one, or do nothing at all."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from .onnx_view import GraphView, attributes, operator

if TYPE_CHECKING:
    from onnx import NodeProto

Affine = tuple[np.ndarray, np.ndarray]  # factor and offset, float64, one for all features or one each
_ONE, _ZERO = np.ones(1), np.zeros(1)


def affine(node: NodeProto, tensor: str, features: int, view: GraphView) -> Affine | None:
    """What a node does to ``tensor`` [..., features]: a factor and an offset, or None if it does something else."""
    rule = _RULES.get(operator(node))
    if rule is None or list(node.input).count(tensor) != 1:
        return (_ONE, _ZERO) if does_nothing(node, tensor, view) else None
    return rule(node, tensor, features, view)


def _constant(node: NodeProto, tensor: str, features: int, view: GraphView) -> np.ndarray | None:
    """The other operand, if it is one value for all features or one for each and adds no dimension."""
    value = view.value(node.input[1 - list(node.input).index(tensor)])
    if value is None or value.dtype.kind != "f" or value.size not in (1, features) or value.ndim > max(view.rank(tensor) or 1, 1):
        return None
    if value.size > 1 and value.shape[-1] != features:
        return None
    flat = value.reshape(-1).astype(np.float64)
    return flat if np.isfinite(flat).all() else None


def _sum(node: NodeProto, tensor: str, features: int, view: GraphView) -> Affine | None:
    value = _constant(node, tensor, features, view)
    return None if value is None else (_ONE, value)


def _difference(node: NodeProto, tensor: str, features: int, view: GraphView) -> Affine | None:
    value = _constant(node, tensor, features, view)
    if value is None:
        return None
    return (_ONE, -value) if node.input[0] == tensor else (-_ONE, value)


def _product(node: NodeProto, tensor: str, features: int, view: GraphView) -> Affine | None:
    value = _constant(node, tensor, features, view)
    return None if value is None else (value, _ZERO)


def _quotient(node: NodeProto, tensor: str, features: int, view: GraphView) -> Affine | None:
    value = _constant(node, tensor, features, view)
    return None if value is None or node.input[0] != tensor or not value.all() else (1.0 / value, _ZERO)


def _negative(node: NodeProto, tensor: str, features: int, view: GraphView) -> Affine:
    return -_ONE, _ZERO


def _normalisation(node: NodeProto, tensor: str, features: int, view: GraphView) -> Affine | None:
    """BatchNormalization, whose features are those of dimension 1: the last one of a matrix only."""
    values = [view.value(name) for name in node.input[1:5]]
    if view.rank(tensor) != 2 or node.input[0] != tensor or attributes(node).get("training_mode", 0) or any(
            value is None or value.size != features for value in values):
        return None
    gamma, beta, mean, variance = (value.astype(np.float64) for value in values)
    deviation = np.sqrt(np.maximum(variance, 0) + np.float32(attributes(node).get("epsilon", 1e-5)))
    return gamma / deviation, beta - mean * gamma / deviation


_RULES: dict[str, Callable[[NodeProto, str, int, GraphView], Affine | None]] = {
    "Add": _sum, "Sub": _difference, "Mul": _product, "Div": _quotient, "Neg": _negative, "BatchNormalization": _normalisation,
}


def does_nothing(node: NodeProto, tensor: str, view: GraphView) -> bool:
    """Whether a node gives ``tensor`` as it is, at inference."""
    if not node.input or node.input[0] != tensor or any(view.consumers[name] or name in view.outputs for name in node.output[1:]):
        return False
    kind = operator(node)
    if kind == "Dropout":
        training = view.value(node.input[2]) if len(node.input) > 2 and node.input[2] else np.False_
        return training is not None and not training.any()
    if kind == "Flatten":
        return view.rank(tensor) == 2 and attributes(node).get("axis", 1) in (1, -1)
    return kind == "Identity" or (kind == "Reshape" and _keeps_matrix(node, tensor, view))


def _keeps_matrix(node: NodeProto, tensor: str, view: GraphView) -> bool:
    """Whether a reshape gives [-1, features] for a matrix with that many features, or keeps both dimensions by name."""
    shape, features = view.value(node.input[1]), view.width(tensor)
    if shape is None or shape.size != 2 or view.rank(tensor) != 2 or attributes(node).get("allowzero", 0):
        return False
    return shape[0] in (0, -1) and (shape[1] == 0 or (shape[1] == features and features is not None) or (shape[0] == 0 and shape[1] == -1))

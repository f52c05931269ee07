"""Retraining for compression, in torch: modules, export, and the recipes of the benchmark networks."""

from .export import export
from .modules import PermutedLinear, PermutedNetwork, permute_model

__all__ = ["PermutedLinear", "PermutedNetwork", "export", "permute_model"]

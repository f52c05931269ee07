"""Retraining for compression, in torch: modules, export, and the recipes of the benchmark networks."""

try:
    from .export import export
    from .modules import PermutedLinear, PermutedNetwork, permute_model
except ModuleNotFoundError as error:
    if error.name != "torch":
        raise
    raise ModuleNotFoundError("permfc.train needs torch, which is missing; run: pip install 'permfc[train]'", name="torch") from None

__all__ = ["PermutedLinear", "PermutedNetwork", "export", "permute_model"]

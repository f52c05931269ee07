"""The whole path on one small network: train, compress, pack, simulate, check, measure."""

"""Random compressed networks and inputs for tests, from a seed."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from permfc.network import InputSteps, Kind, Layer, Network, Segments
from permfc.network.sparse import most_rice

ALL_KINDS = (Kind.PREFIX, Kind.PREFIX, Kind.SPARSE, Kind.SPARSE, Kind.DENSE8, Kind.EMPTY)  # twice what has the most variety
SPREAD = 60  # standard deviation that requantised results should have


def random_composition(rng: np.random.Generator, outputs: int, most_levels: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct int8 levels and positive counts that sum to ``outputs``; from even to very skewed."""
    size = int(rng.integers(1, min(most_levels, outputs) + 1))
    levels = rng.choice(256, size=size, replace=False) - 128
    skew = rng.choice([0.1, 1.0, 50.0])
    counts = 1 + rng.multinomial(outputs - size, rng.dirichlet(np.full(size, skew)))
    return levels.astype(np.int8), counts


def random_segments(rng: np.random.Generator, kind: Kind, first: int, features: int, outputs: int, most_levels: int = 16) -> Segments:
    """Segments of one class in one block."""
    if kind is Kind.EMPTY:
        return Segments.empty(first, features, outputs)
    if kind is Kind.DENSE8:
        return Segments.dense8(first, rng.integers(-128, 128, (features, outputs), dtype=np.int8))
    if kind is Kind.SPARSE:
        return random_sparse(rng, first, features, outputs)
    levels, counts = random_composition(rng, outputs, most_levels)
    common = np.repeat(np.arange(levels.size, dtype=np.uint8), counts)
    return Segments.prefix(first, levels, counts, rng.permuted(np.tile(common, (features, 1)), axis=1))


def random_sparse(rng: np.random.Generator, first: int, features: int, outputs: int) -> Segments:
    """Sparse segments from without zeros to all zeros, often of several densities; the Rice parameter is the best, or any that lanes hold."""
    levels = rng.permutation([*range(-128, 0), *range(1, 128)])[:rng.integers(1, 5)].astype(np.int8)
    density = rng.choice([0, 0.02, 0.1, 0.5, 1], (features, 1)) if rng.random() < 0.5 else rng.choice([0, 0.04, 0.3, 1])
    indices = np.where(rng.random((features, outputs)) < density, rng.integers(1, levels.size + 1, (features, outputs)), 0)
    rice = int(rng.integers(most_rice(levels.size) + 1)) if rng.random() < 0.5 else None
    segments = Segments.sparse(first, levels, indices.astype(np.uint8), rice)
    if segments.bits <= 4 * outputs:
        return segments
    return Segments.sparse(first, levels, segments.indices)  # the best parameter: what any engine's lanes hold


def random_bias(rng: np.random.Generator, outputs: int, spread: float) -> np.ndarray:
    """Biases with a standard deviation of ``spread`` or less, int32 [outputs]: all int16, or multiples of 256, one of them large."""
    bias = rng.normal(0, spread, outputs)
    if rng.random() < 0.5:
        return np.clip(bias, -32768, 32767).astype(np.int32)
    bias = 256 * np.rint(bias / 256).astype(np.int32)
    bias[rng.integers(outputs)] = 256 * int(rng.integers(129, 2048)) * int(rng.choice([-1, 1]))
    return bias


def random_table(rng: np.random.Generator) -> np.ndarray:
    """A pointwise function as a table, int8 [256]: a smooth one, or any values, some of them zero."""
    x = np.arange(256, dtype=np.uint8).view(np.int8)
    if rng.random() < 0.5:
        return np.rint(rng.uniform(20, 127) * np.tanh(x / rng.uniform(10, 100)) + rng.integers(2)).astype(np.int8)
    return np.where(rng.random(256) < 0.2, 0, rng.integers(-128, 128, 256)).astype(np.int8)


def random_layer(
    rng: np.random.Generator, features: int, outputs: int, *, block_outputs: int = 512, classes: int = 3,
    kinds: Sequence[Kind] = ALL_KINDS, most_levels: int = 16, relu: bool = True, raw: bool = False,
    table: np.ndarray | None = None,
) -> Layer:
    """One layer with up to ``classes`` classes, whose results use the range of int8; without ``relu`` if it is raw or has a table.

    Every kind occurs if there are as many classes. Each block has its own multipliers, or shares one.
    """
    cuts = np.unique(rng.integers(1, features, classes - 1)) if features > 1 else []
    ends = [*cuts, features]
    chosen = [kinds[int(k)] for k in np.resize(rng.permutation(len(kinds)), len(ends))]
    rows = [min(block_outputs, outputs - start) for start in range(0, outputs, block_outputs)]
    blocks = tuple(
        tuple(
            random_segments(rng, kind, int(first), int(end - first), size, most_levels)
            for kind, first, end in zip(chosen, [0, *ends[:-1]], ends, strict=True)
        )
        for size in rows
    )
    weights = np.concatenate([np.concatenate([segments.weights().T for segments in block], axis=1) for block in blocks])
    spread = 64 * max(np.sqrt((weights.astype(np.float64) ** 2).sum(axis=1).mean()), 1.0)
    shared = np.repeat(rng.integers(2, size=len(rows)), rows)
    scale = SPREAD / spread * np.where(shared, 0.5, rng.uniform(0.3, 1.0, outputs))
    shift = int(np.clip(np.floor(np.log2(65535 / scale.max())), 1, 47))
    mul = np.clip(np.rint(scale * 2.0 ** shift), 0, 65535).astype(np.uint16)
    bias = random_bias(rng, outputs, spread)
    return Layer(features, outputs, block_outputs, blocks, bias, mul, shift, relu and not raw and table is None, raw, table)


def network_of(
    layers: Sequence[Layer], rng: np.random.Generator, steps: InputSteps | None = None, scale: np.ndarray | None = None,
) -> Network:
    """A network of these layers, its inputs dealt to the classes at random; without steps and scales of its own all have the same."""
    return Network(
        layers=tuple(layers),
        input_steps=steps or InputSteps(0.5),
        input_class=rng.permutation(layers[0].feature_slots),
        output_scale=np.ones(layers[-1].outputs, dtype=np.float32) if scale is None else scale,
    )


def random_network(seed: int, sizes: Sequence[int], *, raw: bool | None = None, tables: bool = True, **options) -> Network:
    """A network with ``sizes`` inputs, hidden outputs and outputs; ``options`` are those of `random_layer`.

    Hidden layers have a ReLU or, one in four, none; the last has none and is ``raw``, by default one time in two. With ``tables``
    two of five layers that are not raw have a table instead. Inputs and results have any steps, offsets and scales.
    """
    rng, other = np.random.default_rng(seed), np.random.default_rng([seed, 1])  # the other does not change any weight
    raw = bool(rng.integers(2)) if raw is None else raw
    layers = []
    for number, (features, outputs) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        last = number == len(sizes) - 2
        relu = not last and rng.random() < 0.75
        table = random_table(other) if tables and not (last and raw) and other.random() < 0.4 else None
        layers.append(random_layer(rng, features, outputs, relu=relu, raw=last and raw, table=table, **options))
    return network_of(layers, rng, random_steps(other, sizes[0]), random_scale(other, sizes[-1]))


def random_steps(rng: np.random.Generator, inputs: int) -> InputSteps:
    """Steps of inputs, half of the time each with an exponent of its own, half of the time each with an offset."""
    exponents = rng.integers(0, 50, inputs).astype(np.uint8) if rng.random() < 0.5 else None
    zeros = rng.integers(-300, 300, inputs).astype(np.int16) if rng.random() < 0.5 else None
    return InputSteps(float(rng.uniform(0.01, 2)), exponents, zeros)


def random_scale(rng: np.random.Generator, outputs: int) -> np.ndarray:
    """Scales of results, float32 [outputs]: half of the time all equal, else some of them zero, negative or tiny."""
    if rng.random() < 0.5:
        return np.full(outputs, rng.uniform(1e-6, 10), dtype=np.float32)
    return (rng.normal(size=outputs) * rng.choice([0, 1, 1e-3, 1e-9], outputs) * 10.0 ** rng.integers(-30, 30)).astype(np.float32)


def random_inputs(seed: int, inputs: int, batch: int = 1, density: float = 0.5) -> np.ndarray:
    """Activations int8 [batch, inputs] of which a share ``density`` is not zero; the extremes -128 and 127 occur."""
    rng = np.random.default_rng(seed)
    values = rng.integers(1, 256, (batch, inputs)).astype(np.uint8).view(np.int8)
    extreme = rng.random((batch, inputs)) < 0.1
    values[extreme] = rng.choice(np.array([-128, 127], dtype=np.int8), np.count_nonzero(extreme))
    values[rng.random((batch, inputs)) >= density] = 0
    return values


def bound_network(features: int, outputs: int, bits: int) -> tuple[Network, np.ndarray]:
    """A network with raw results and an input for which the accumulators reach both ends of ``bits`` bits.

    All weights of a row are -127 or 127, the input is -128 everywhere, and the bias fills what is left; it must fit 16 bits.
    """
    rng = np.random.default_rng(bits)
    levels, counts = np.array([-127, 127], dtype=np.int8), np.array([outputs - outputs // 2, outputs // 2])
    common = np.repeat(np.arange(2, dtype=np.uint8), counts)
    segments = Segments.prefix(0, levels, counts, np.tile(rng.permutation(common), (features, 1)))
    rest = (1 << (bits - 1)) - 1 - 128 * 127 * features
    bias = np.where(segments.weights()[0] < 0, rest, -rest).astype(np.int32)
    layer = Layer(features, outputs, outputs, ((segments,),), bias, np.ones(outputs, dtype=np.uint16), 1, False, True)
    return network_of([layer], rng), np.full((1, features), -128, dtype=np.int8)


def longest_sparse(features: int, outputs: int) -> Network:
    """One layer of sparse segments without zeros, with the Rice parameter that makes them as long as they can be: 8 bits an output."""
    levels, indices = np.array([1, -2, 3, -4], dtype=np.int8), np.full((features, outputs), 4, dtype=np.uint8)
    segments = Segments.sparse(0, levels, indices, most_rice(levels.size))
    zeros, ones = np.zeros(outputs, dtype=np.int32), np.ones(outputs, dtype=np.uint16)
    return network_of([Layer(features, outputs, outputs, ((segments,),), zeros, ones, 1, False, True)], np.random.default_rng(0))

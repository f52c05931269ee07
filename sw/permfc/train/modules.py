"""Torch modules that are trained with the weights and activations which the engine will have."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from ..compression.assembly import storable_bias
from ..compression.statistics import requantisation
from ..errors import InputError, ModelError
from . import projection, size

MOST_OUTPUTS = 4096  # of the largest engine's block: a layer is trained as one block
_TOP = 127           # largest int8 level and activation
_RANGE_QUANTILE = 0.9998  # of a layer's results: what is larger is clamped
_MEMORY = 0.02       # weight of the current batch in running statistics
_LEVELS = 2          # +a and -a
_SELECTION = 8       # steps for which thresholds are kept: sorting takes longer than a step


def straight_through(value: Tensor, source: Tensor) -> Tensor:
    """``value``, with the gradient of ``source``."""
    return source + (value - source).detach()


class PermutedLinear(nn.Module):
    """A fully connected layer of sparse classes: y = act(x W + b) with few nonzero weights, +a or -a.

    The float weights behind it are kept; each forward pass keeps the largest of every feature, as many as its words can hold, and replaces
    them by the class's level, their mean magnitude. Gradients go straight through to all float weights, so that a weight can come back.
    In ``train`` mode activations are rounded as the engine does; in ``eval`` mode everything is computed in the engine's integers.

    Parameters
    ----------
    linear : nn.Linear
        Where weights and bias come from; it is not changed.
    relu : bool
        Results are clamped to 0..127 steps instead of -128..127.
    raw : bool
        Last layer: results are accumulators, not rounded.
    first : bool
        The first layer keeps features without words as an empty class; those of other layers vanish together with the outputs they come from.
    classes : int
        Most classes, the one without weights included; 2 to 16.

    Members
    -------
    weight : float32 [features, outputs]
        Feature by feature, the transpose of ``nn.Linear``'s.
    bias : float32 [outputs]
    words : int64 [features]
        Memory words of each feature's segment; features with equal words are a class.
    alive : bool [outputs]
        Outputs that the next layer has words for; the others have no weights and are left out of the image.
    place : int64 [outputs]
        Where each output that is alive lies in the packed order of the next layer's features.
    input_step, output_step : float64
        Value of one int8 step of inputs and results.

    Raises
    ------
    ModelError
        If the layer has more outputs than a block can have.
    """

    def __init__(self, linear: nn.Linear, relu: bool, raw: bool, first: bool, classes: int = 4) -> None:
        super().__init__()
        if linear.out_features > MOST_OUTPUTS:
            raise ModelError(f"A layer that is trained can have at most {MOST_OUTPUTS} outputs, not {linear.out_features}: split it")
        bias = linear.bias if linear.bias is not None else torch.zeros(linear.out_features)
        self.weight = nn.Parameter(linear.weight.detach().T.float().contiguous())
        self.bias = nn.Parameter(bias.detach().clone().float())
        self.relu, self.raw, self.first, self.classes = relu, raw, first, classes
        self.frozen = False
        self._threshold, self._steps = torch.zeros(0), 0
        features = linear.in_features
        self.register_buffer("alive", torch.ones(linear.out_features, dtype=torch.bool))
        self.register_buffer("words", torch.full((features,), len(self.capacities.nonzeros) - 1))
        self.register_buffer("place", torch.arange(linear.out_features))
        self.register_buffer("variance", torch.zeros(features))
        self.register_buffer("input_step", torch.ones((), dtype=torch.float64))
        self.register_buffer("output_step", torch.zeros((), dtype=torch.float64))

    @property
    def class_words(self) -> Tensor:
        """Value of the words of each class in packed order, int64 [classes]."""
        return self.words.unique()

    @property
    def class_of(self) -> Tensor:
        """Value of the class of each feature, int64 [features]."""
        return self.words.unique(return_inverse=True)[1]

    @property
    def capacities(self) -> projection.Capacities:
        """Value of what the segments hold, for as many outputs as are alive."""
        return projection.capacities(int(self.alive.sum()), _LEVELS, size.BUS_BITS)

    @property
    def packed(self) -> Tensor:
        """Value of the features that are in the image, class by class, int64."""
        order = self.class_of.argsort(stable=True)
        return order if self.first else order[self.words[order] > 0]

    @property
    def slots(self) -> int:
        """Value of the classes in the image."""
        return len(self.words[self.packed].unique())

    def revise(self, words: int) -> None:
        """Decide anew how many words each feature gets: those whose weights matter most for the layer's results get most.

        Parameters
        ----------
        words : int
            Of all features together.
        """
        saliency = self.weight.detach()[:, self.alive].square() * self.variance[:, None]
        self.words.copy_(torch.from_numpy(projection.allocate(saliency.numpy(), self.capacities.nonzeros, words, self.classes)))
        self._steps = 0

    def nonzero(self) -> Tensor:
        """Which weights are not zero, bool [features, outputs]: of each feature the largest, as many as its words hold.

        That is what they always hold; when frozen, what they hold with the runs of zeros that there are.
        """
        words, table, outputs = self.words.numpy(), self.capacities, int(self.alive.sum())
        kept = table.nonzeros[words]
        most = min(int(kept.max()) + projection.MOST_EXTRA, outputs)
        largest = (self.weight.detach().abs() * self.alive).topk(most, dim=1).indices
        if self.frozen:
            live = np.flatnonzero(words)
            places = self.place[largest[live]].numpy()
            kept[live] += projection.extra(places, kept[live], table.rice[words[live]], words[live] * size.BUS_BITS, outputs, _LEVELS)
        chosen = torch.arange(most) < torch.from_numpy(kept)[:, None]
        return torch.zeros(self.weight.shape, dtype=torch.bool).scatter_(1, largest, chosen) & self.alive

    def settle(self, part: float) -> None:
        """Draw the weights that are not kept towards 0 by this part, so that only a steady gradient brings one back, and not a noisy one."""
        with torch.no_grad():
            self.weight.mul_(1 - part * (self.weight.abs() < self._threshold))

    def levels(self, nonzero: Tensor) -> tuple[Tensor, float]:
        """The int8 level of each class and the weight that level 1 stands for.

        Returns
        -------
        levels : float32 [classes]
            Whole numbers, 1 to 127.
        unit : float
        """
        class_of = self.class_of
        zeros = torch.zeros(len(self.class_words))
        total = zeros.index_add(0, class_of, (self.weight.detach().abs() * nonzero).sum(1))
        count = zeros.index_add(0, class_of, nonzero.sum(1).float())
        means = total / count.clamp(min=1)
        unit = max(float(means.max()), 1e-12) / _TOP
        return (means / unit).round().clamp(1, _TOP), unit

    def integers(self, nonzero: Tensor | None = None) -> tuple[Tensor, float]:
        """The int8 weights, float32 [features, outputs] with whole numbers, and the weight that 1 stands for."""
        nonzero = self.nonzero() if nonzero is None else nonzero
        levels, unit = self.levels(nonzero)
        return self.weight.detach().sign() * nonzero * levels[self.class_of][:, None], unit

    def bias_counts(self, unit: float) -> np.ndarray:
        """The bias in accumulator counts, as a layer can store it, int32 [outputs]."""
        return storable_bias((self.bias.detach() * self.alive).double().numpy() / (unit * float(self.input_step)))

    def requantisation(self, unit: float) -> tuple[int, int]:
        """Multiplier and shift that all outputs share."""
        mul, shift = requantisation(np.array([unit * float(self.input_step) / float(self.output_step)]))
        return int(mul[0]), shift

    def train(self, mode: bool = True) -> PermutedLinear:
        """As ``nn.Module.train``; the next step sets the thresholds anew."""
        self._steps = 0
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        """Results float [batch, outputs] for float [batch, features] on the grid of ``input_step``."""
        return self._train(x) if self.training else self._compute(x)

    def _train(self, x: Tensor) -> Tensor:
        magnitude = self.weight.detach().abs() * self.alive
        if self._steps % _SELECTION == 0:
            self._threshold = torch.where(self.nonzero(), magnitude, torch.inf).amin(dim=1, keepdim=True)
        self._steps += 1
        weights, unit = self.integers(magnitude >= self._threshold)
        bias = torch.from_numpy(self.bias_counts(unit)).float() * (unit * float(self.input_step))
        effective, bias = straight_through(weights * unit, self.weight), straight_through(bias, self.bias)
        if self.frozen:  # features without words never come back: spare their part of the product
            live = self.words.nonzero().squeeze(1)
            y = x[:, live] @ effective[live] + bias
        else:
            y = x @ effective + bias
            with torch.no_grad():
                variance = x.var(0, correction=0)
                self.variance.lerp_(variance, _MEMORY if self.variance.any() else 1.0)
        if self.raw:
            return y
        if not self.frozen:
            self._observe(y.detach())
        step, low = float(self.output_step), 0 if self.relu else -_TOP - 1
        y = y.clamp(low * step, _TOP * step)
        return straight_through((y.detach() / step).round() * step, y)

    def _observe(self, y: Tensor) -> None:
        """Follow the range of the results."""
        magnitudes = y.clamp(min=0) if self.relu else y.abs()
        peak = magnitudes.flatten().kthvalue(max(int(_RANGE_QUANTILE * y.numel()), 1)).values.double()
        step = peak.clamp(min=1e-6) / _TOP
        self.output_step.copy_(step if self.output_step == 0 else self.output_step.lerp(step, _MEMORY))

    def _compute(self, x: Tensor) -> Tensor:
        """The engine's integers, times the step of the results: float64 [batch, outputs]."""
        weights, unit = self.integers()
        steps = (x.double() / self.input_step).round()
        accumulators = steps @ weights.double() + torch.from_numpy(self.bias_counts(unit)).double()
        if self.raw:
            return accumulators * (unit * self.input_step)
        mul, shift = self.requantisation(unit)
        scaled = ((accumulators * mul + 2.0 ** (shift - 1)) / 2.0 ** shift).floor()  # below 2**53: exact
        return scaled.clamp(0 if self.relu else -_TOP - 1, _TOP) * self.output_step


class PermutedNetwork(nn.Module):
    """Permuted layers in a row behind the rounding of the input.

    Members
    -------
    layers : nn.ModuleList of PermutedLinear
    input_step : float64
    """

    def __init__(self, layers: Sequence[PermutedLinear], input_step: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.register_buffer("input_step", torch.tensor(float(np.float32(input_step)), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """Logits for float [batch, features]: float32 in ``train`` mode, exact integers times a step (float64) in ``eval`` mode."""
        step = self.input_step
        steps = x / step.float() if self.training else x.double() / step
        x = steps.round().clamp(-_TOP - 1, _TOP) * step.to(steps.dtype)
        for layer in self.layers:
            layer.input_step.copy_(step)
            x = layer(x)
            step = layer.output_step
        return x

    @property
    def parameters_count(self) -> int:
        """Value of the weights and biases of the float network."""
        return sum(layer.weight.numel() + layer.bias.numel() for layer in self.layers)

    @property
    def image_bytes(self) -> int:
        """Value of the bytes that the image has at most: exactly, if no segment is shorter than it may be."""
        return sum(int(layer.words.sum()) for layer in self.layers) * size.WORD_BYTES + self._overhead([layer.slots for layer in self.layers])

    def _overhead(self, classes: Sequence[int]) -> int:
        return size.overhead_bytes([(len(layer.packed), int(layer.alive.sum())) for layer in self.layers], classes)

    def segment_bytes(self, image_bytes: float) -> float:
        """Bytes that an image of ``image_bytes`` leaves for segments.

        Raises
        ------
        InputError
            If it would not even hold headers, tables and biases.
        """
        least = self._overhead([layer.classes for layer in self.layers])
        if image_bytes < least:
            raise InputError(f"An image of {int(image_bytes)} bytes cannot hold this network, whose headers, tables and biases alone take {least}: "
                             f"ask for a ratio below {4 * self.parameters_count / least:.1f}")
        return image_bytes - least

    def revise(self, image_bytes: float, shares: Sequence[float]) -> None:
        """Share out the bytes of an image anew: to layers as given, to features by their importance.

        Hidden outputs for which the next layer has no words vanish for good.

        Parameters
        ----------
        image_bytes : float
            Of the whole image, everything included.
        shares : sequence of float
            Part of the segments' bytes that each layer gets, summing to 1.

        Raises
        ------
        InputError
            If the image would hold little more than its headers.
        """
        segments = self.segment_bytes(image_bytes)
        alive = None
        for layer, share in zip(reversed(self.layers), reversed(shares), strict=True):
            if alive is not None:
                layer.alive &= alive
            layer.revise(int(segments * share / size.WORD_BYTES))
            alive = layer.words > 0
            if not alive.any():
                raise InputError(f"An image of {int(image_bytes)} bytes leaves a layer without weights: ask for a lower ratio")

    def settle(self, part: float) -> None:
        """To be called after every step; see ``PermutedLinear.settle``."""
        for layer in self.layers:
            layer.settle(part)

    def freeze(self) -> None:
        """Keep classes, steps and statistics from now on: the last part of a training only settles the weights."""
        for layer, following in zip(self.layers, [*self.layers[1:], None], strict=True):
            layer.frozen = True
            if following is not None:
                layer.place[following.packed] = torch.arange(len(following.packed))


def permute_model(model: nn.Sequential | nn.Linear, samples: Tensor, classes: Sequence[int] | int = 4) -> PermutedNetwork:
    """A network to be trained further with permuted layers, from a float one.

    Parameters
    ----------
    model : nn.Sequential or nn.Linear
        ``nn.Linear``, each but the last followed by ``nn.ReLU``; ``nn.Dropout`` and a first ``nn.Flatten`` are left out.
    samples : float32 [n, features]
        Typical inputs: they set the step of the input and the first ranges of the results.
    classes : int or sequence of int
        Most classes of each layer.

    Raises
    ------
    ModelError
        If the model has other modules, naming the first.
    """
    if not isinstance(model, (nn.Sequential, nn.Linear)):
        raise ModelError(f"A model must be an nn.Sequential of Linear and ReLU in turn, or one Linear, not {type(model).__name__}")
    found = [model] if isinstance(model, nn.Linear) else list(model)
    modules = [module for module in found if not isinstance(module, (nn.Dropout, nn.Flatten, nn.Identity))]
    linears = [module for module in modules if isinstance(module, nn.Linear)]
    expected = [kind for _ in linears for kind in (nn.Linear, nn.ReLU)][:-1]
    for module, kind in zip(modules, expected, strict=False):
        if type(module) is not kind:
            raise ModelError(f"Expected {kind.__name__}, not {type(module).__name__}: a model must be Linear and ReLU in turn, ending with Linear")
    if len(modules) != len(expected) or not linears:
        raise ModelError(f"A model must be Linear and ReLU in turn, ending with Linear, not {', '.join(type(module).__name__ for module in modules)}")
    counts = [classes] * len(linears) if isinstance(classes, int) else classes
    layers = [PermutedLinear(linear, linear is not linears[-1], linear is linears[-1], linear is linears[0], count)
              for linear, count in zip(linears, counts, strict=True)]
    network = PermutedNetwork(layers, max(float(samples.abs().max()), 1e-12) / _TOP)
    with torch.no_grad():
        network.train()(samples)
    return network

"""Whole networks, convolutions included, at the rates that the benchmark measured: counted from the layer sizes of the originals."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from .cells import kept
from .measure import FLOAT_BITS

ACCOUNTING = "accounting"


@dataclass(frozen=True)
class Original:
    """A network as published.

    Members
    -------
    title : str
    convolutions : tuple of (outputs, inputs, height, width)
        One a convolution; inputs are those of its group.
    sizes : tuple of int
        Inputs of the first fully connected layer, and outputs of each.
    rates : tuple of (benchmark, method)
        Cells whose bits a weight are applied to the fully connected layers.
    measured : bool
        Whether the benchmark is this very network, so that its accuracy is this network's.
    """

    title: str
    convolutions: tuple[tuple[int, int, int, int], ...]
    sizes: tuple[int, ...]
    rates: tuple[tuple[str, str], ...]
    measured: bool = False

    @property
    def convolution_parameters(self) -> int:
        """Value of the weights and biases of the convolutions."""
        return sum(outputs * (inputs * height * width + 1) for outputs, inputs, height, width in self.convolutions)

    @property
    def weights(self) -> int:
        """Value of the weights of the fully connected layers."""
        return sum(inputs * outputs for inputs, outputs in pairwise(self.sizes))

    @property
    def parameters(self) -> int:
        """Value of the weights and biases of all layers."""
        return self.convolution_parameters + self.weights + sum(self.sizes[1:])


@dataclass(frozen=True)
class Whole:
    """A network at one measured rate.

    Members
    -------
    title : str
    convolution_parameters, fully_connected_parameters : int
    rate_of : str
        The benchmark and method that the rate was measured on.
    bits_per_weight : float or None
        That rate; None if it has not been measured.
    bits_before, bits_after : float
        Of all parameters; convolutions are float32 before and after.
    fully_connected_before, fully_connected_after : float
    accuracy : float or None
        Percent; None where only the size is this network's.
    """

    title: str
    convolution_parameters: int
    fully_connected_parameters: int
    rate_of: str
    bits_per_weight: float | None
    bits_before: float
    bits_after: float | None
    fully_connected_before: float
    fully_connected_after: float | None
    accuracy: float | None

    @property
    def ratio(self) -> float | None:
        """Value of how many times smaller the whole network is."""
        return None if self.bits_after is None else self.bits_before / self.bits_after

    @property
    def fully_connected_ratio(self) -> float | None:
        """Value of how many times smaller the fully connected layers are."""
        return None if self.fully_connected_after is None else self.fully_connected_before / self.fully_connected_after

    def as_dict(self) -> dict[str, object]:
        """Everything by name, ready for JSON."""
        return {**vars(self), "ratio": self.ratio, "fully_connected_ratio": self.fully_connected_ratio}


def _vgg16() -> tuple[tuple[int, int, int, int], ...]:
    """Simonyan and Zisserman (2014), configuration D."""
    channels = (3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)
    return tuple((outputs, inputs, 3, 3) for inputs, outputs in pairwise(channels))


_LARGE = (("fashion-1024-512", "retrained-40"), ("efficientnet-lite0", "permfc-2.5"))
"""No network with ImageNet's images was trained here: rates of the largest that was retrained, and of an ImageNet classifier that was not."""

ORIGINALS = (
    Original("LeNet-300-100", (), (784, 300, 100, 10), (("lenet-300-100", "retrained-100"), ("lenet-300-100", "retrained-60")), True),
    Original("LeNet-5", ((20, 1, 5, 5), (50, 20, 5, 5)), (800, 500, 10), (("lenet-5", "retrained-120"),), True),
    Original("AlexNet", ((96, 3, 11, 11), (256, 48, 5, 5), (384, 256, 3, 3), (384, 192, 3, 3), (256, 192, 3, 3)), (9216, 4096, 4096, 1000), _LARGE),
    Original("VGG-16", _vgg16(), (25088, 4096, 4096, 1000), _LARGE),
    Original("VGG-16, head transferred to 150 classes", _vgg16(), (25088, 4096, 4096, 150), (("clinc150-384-512", "retrained-20"),)),
)


def whole_networks(output: Path) -> list[Whole]:
    """The accounting, at the rates of the cells that the output folder keeps.

    Raises
    ------
    FormatError
        If a kept file is damaged.
    """
    return [_whole(original, *rate, output) for original in ORIGINALS for rate in original.rates]


def _whole(original: Original, benchmark: str, method: str, output: Path) -> Whole:
    figures = kept(output, benchmark, method)
    connected = original.parameters - original.convolution_parameters
    convolutions = FLOAT_BITS * original.convolution_parameters
    rate = figures.bits_per_weight if figures else None
    after = rate * original.weights if figures else None
    return Whole(
        title=original.title,
        convolution_parameters=original.convolution_parameters,
        fully_connected_parameters=connected,
        rate_of=f"{benchmark}, {method}",
        bits_per_weight=rate,
        bits_before=FLOAT_BITS * original.parameters,
        bits_after=after + convolutions if figures else None,
        fully_connected_before=FLOAT_BITS * connected,
        fully_connected_after=after,
        accuracy=figures.accuracy if figures and original.measured else None,
    )

"""What the benchmark compresses: trained networks, data to calibrate with, and data to measure with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from permfc import datasets
from permfc.errors import InputError
from permfc.functions import IDENTITY, RELU
from permfc.importers import load_model
from permfc.importers.float_network import FloatLayer, FloatNetwork

from .convolutions import convolved
from .minilm import minilm_layers

CALIBRATION_SAMPLES = 1500
_LENET5_LAYERS = ("ip1", "ip2")


@dataclass(frozen=True, eq=False)
class Problem:
    """One network to compress.

    Members
    -------
    network : FloatNetwork
    calibration : float32 [S, inputs]
        Never samples that are measured with.
    test : float32 [T, inputs]
    labels : int64 [T] or None
        None: there is nothing to be right about, the outputs are compared with the float network's.
    """

    network: FloatNetwork
    calibration: np.ndarray
    test: np.ndarray
    labels: np.ndarray | None


@dataclass(frozen=True)
class Benchmark:
    """A line of work of the benchmark.

    Members
    -------
    name, title : str
    load : function (data folder) -> list of Problem
        Several problems are measured one by one and reported as their median.
    files : tuple of str
        What it reads, below the data folder.
    retrained : tuple of float
        Ratios to float32 to train for, with the recipe of the same name; none if it has no recipe.
    """

    name: str
    title: str
    load: Callable[[Path], list[Problem]]
    files: tuple[str, ...] = ()
    retrained: tuple[float, ...] = ()


def _trained(network: str, read: Callable[[Path], datasets.Dataset], folder: Path) -> list[Problem]:
    data = read(folder)
    model = load_model(datasets.trained_network(network, folder))
    return [Problem(model, data.calibration(CALIBRATION_SAMPLES), data.test, data.test_labels)]


def _efficientnet(folder: Path) -> list[Problem]:
    """Images at even places calibrate, the others are measured with."""
    head = datasets.efflite0(folder)
    network = FloatNetwork((FloatLayer(head.weight, head.bias, IDENTITY, "classifier"),))
    return [Problem(network, head.x[::2], head.x[1::2], head.labels[1::2])]


def _lenet5(folder: Path) -> list[Problem]:
    """The network was trained on pixels over 256, and without ReLU between its convolutions."""
    data = datasets.mnist(folder)
    arrays = datasets.read_arrays(folder / "dns_lenet" / "lenet5_dense.npz")
    layers = [FloatLayer(arrays[f"{name}.weight"], arrays[f"{name}.bias"],
                         IDENTITY if name == _LENET5_LAYERS[-1] else RELU, name) for name in _LENET5_LAYERS]
    convolutions = [(arrays[f"{name}.weight"], arrays[f"{name}.bias"]) for name in ("conv1", "conv2")]
    scale = np.float32(255 / 256)
    calibration, test = (convolved(scale * images, convolutions, False) for images in (data.calibration(CALIBRATION_SAMPLES), data.test))
    return [Problem(FloatNetwork(tuple(layers)), calibration, test, data.test_labels)]


def _minilm(part: str, folder: Path) -> list[Problem]:
    return [Problem(FloatNetwork((FloatLayer(layer.weight, layer.bias, IDENTITY, layer.name),)), layer.calibration, layer.heldout, None)
            for layer in minilm_layers() if f".{part}." in layer.name]


def _idx(name: str) -> tuple[str, ...]:
    return tuple(f"{name}/{half}-{what}-ubyte.gz" for half in ("train", "t10k") for what in ("images-idx3", "labels-idx1"))


def _mlp(name: str, title: str, network: str, read: Callable[[Path], datasets.Dataset], files: tuple[str, ...],
         retrained: tuple[float, ...] = ()) -> Benchmark:
    return Benchmark(name, title, partial(_trained, network, read), (*files, f"trained/{network}.npz"), retrained)


_CLINC150 = ("clinc150/clinc150_minilm_f16.npz",)

BENCHMARKS = {benchmark.name: benchmark for benchmark in (
    _mlp("lenet-300-100", "LeNet-300-100, MNIST", "mnist_lenet300100", datasets.mnist, _idx("mnist"), (60, 100)),
    Benchmark("lenet-5", "LeNet-5 (800-500-10), MNIST", _lenet5, (*_idx("mnist"), "dns_lenet/lenet5_dense.npz"), (120,)),
    _mlp("fashion-300-100", "784-300-100-10, Fashion", "fashion_300100", datasets.fashion, _idx("fashion")),
    _mlp("fashion-1024-512", "784-1024-512-10, Fashion", "fashion_1024_512", datasets.fashion, _idx("fashion"), (40,)),
    _mlp("clinc150-384", "384-150, CLINC150", "clinc150_minilm_384", datasets.clinc150, _CLINC150),
    _mlp("clinc150-384-512", "384-512-150, CLINC150", "clinc150_minilm_384_512", datasets.clinc150, _CLINC150, (20,)),
    Benchmark("efficientnet-lite0", "EfficientNet-lite0 1280-1000", _efficientnet, ("efflite0/imagenet1000_feats.npz",)),
    _mlp("usps-256-256", "256-256-10, USPS", "usps_256_256_10", datasets.usps, ("usps/usps.npz",)),
    Benchmark("minilm-384-1536", "MiniLM-L6 384-1536, 6 layers", partial(_minilm, "intermediate")),
    Benchmark("minilm-1536-384", "MiniLM-L6 1536-384, 6 layers", partial(_minilm, "output")),
)}
"""By name, in the order of the table."""


def check_files(benchmarks: list[Benchmark], folder: Path) -> None:
    """Raise InputError naming every file that the benchmarks need and ``folder`` lacks."""
    missing = sorted({str(folder / name) for benchmark in benchmarks for name in benchmark.files if not (folder / name).is_file()})
    if missing:
        raise InputError(f"Missing {', '.join(missing)}: pass --data DIR with them, or choose other benchmarks with --only")

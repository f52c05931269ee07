"""From labelled samples to a compressed network: a float network is trained, and then a permuted one that learns from it too."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ..datasets import Dataset
from ..files import write_file
from ..network import Network
from ..progress import Progress
from .augment import shifter
from .convolution import FEATURES, SIDE, features, lenet5_convolutions
from .export import export
from .loop import Loss, Samples, Schedule, one_thread, predictions, train
from .modules import PermutedNetwork, permute_model

_SAMPLES = 2000     # that set the input's step and the first ranges
_TEMPERATURE = 2.0  # of the float network's results that the compressed network learns from
_START = 6.0        # bytes of segments at the beginning, in multiples of the final ones
_SHRUNK = 0.40      # part of the training after which the image has its final size
_SETTLED = 0.50     # part after which classes and steps are kept
_REVISIONS = 2      # of the classes, an epoch
_SETTLING = 3.0     # decay of the weights that are not kept, in multiples of the learning rate


@dataclass(frozen=True)
class Plan:
    """What is trained, and how.

    Members
    -------
    hidden : tuple of int
        Outputs of the layers but the last.
    ratio : float
        Times smaller than float32, everything included.
    float_schedule, schedule : Schedule
        Of the float network, and of the compressed one.
    classes : tuple of int
        Most classes of each layer.
    shares : tuple of float
        Part of the segments' bytes for each layer.
    shift : int
        Pixels by which images are moved at random in both trainings.
    moved : float
        Part of the images that is moved, 0 to 1.
    dropout : float
        Of the float network's hidden results.
    convolutions : bool
        LeNet-5's convolutions and pools stand before the fully connected layers. They are trained with the float network and then stay.
    teacher : float
        Part of the loss that compares with the float network's results; the rest compares with the labels.
    """

    hidden: tuple[int, ...]
    ratio: float
    float_schedule: Schedule
    schedule: Schedule
    classes: tuple[int, ...]
    shares: tuple[float, ...]
    shift: int = 0
    moved: float = 0.75
    dropout: float = 0.0
    convolutions: bool = False
    teacher: float = 0.7


@dataclass(frozen=True, eq=False)
class Trained:
    """What ``retrain`` made.

    Members
    -------
    network : Network
    float_accuracy, golden_accuracy : float
        Percent of the test samples that the float network and the integers of ``network`` get right.
    weights, parameters : int
        Weights of the float network's fully connected layers, and weights and biases.
    """

    network: Network
    float_accuracy: float
    golden_accuracy: float
    weights: int
    parameters: int


@one_thread()
def retrain(plan: Plan, data: Dataset, output: Path, seed: int, progress: Progress) -> Trained:
    """Train the float network and the compressed one, or take up where the checkpoints in ``output`` end.

    Writes ``float.npz``: ``<n>_weight`` [outputs, inputs] and ``<n>_bias`` of the fully connected layers, and with convolutions
    ``conv<n>_weight`` and ``conv<n>_bias``.

    Raises
    ------
    InputError
        If the ratio is out of reach, or a checkpoint is damaged or of another run.
    """
    torch.manual_seed(seed)
    front = lenet5_convolutions() if plan.convolutions else nn.Sequential(nn.Identity())
    head = float_head((FEATURES if plan.convolutions else data.train.shape[1], *plan.hidden, data.classes), plan.dropout)
    model = permute_model(head, torch.zeros(1, head[0].in_features), plan.classes)
    target = 4 * model.parameters_count / plan.ratio
    model.segment_bytes(target)  # an impossible ratio is refused now, not after an hour

    labels, test_labels = torch.from_numpy(data.train_labels), torch.from_numpy(data.test_labels)
    draw = shifter(SIDE, plan.shift, plan.moved)
    feature_draw = shifter(SIDE, 0 if plan.convolutions else plan.shift, plan.moved)  # features of an image do not move with it
    both = nn.Sequential(front, head)
    identity = {"data": data.name, **_fields(plan, "hidden", "convolutions", "shift", "moved", "dropout")}
    train(both, Samples(torch.from_numpy(data.train), labels, draw), lambda x, y: functional.cross_entropy(both(x), y),
          plan.float_schedule, seed, output / "float.pt", identity, after_epoch=_counter(progress, "float network", plan.float_schedule))
    both.eval().requires_grad_(False)
    write_file(output / "float.npz", _npz(front, head))
    float_accuracy = _percent(predictions(both, torch.from_numpy(data.test)), test_labels)

    x, test = (features(front, torch.from_numpy(part)) for part in (data.train, data.test))
    model = permute_model(head, x[:_SAMPLES], plan.classes)
    identity |= _fields(plan, "ratio", "classes", "shares", "teacher")
    train(model, Samples(x, labels, feature_draw), distillation(model, head, plan.teacher), plan.schedule, seed, output / "compressed.pt", identity,
          shrinking(model, target, plan.shares, plan.schedule.epochs), lambda rate: model.settle(_SETTLING * rate),
          _counter(progress, "compressed network", plan.schedule))
    network = export(model)
    golden = network.compute(network.quantise(test.numpy())).argmax(axis=1)
    weights = sum(layer.weight.numel() for layer in model.layers)
    return Trained(network, float_accuracy, _percent(torch.from_numpy(golden), test_labels), weights, model.parameters_count)


def float_head(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """Fully connected layers with ReLUs between them, and dropout before all but the first."""
    modules: list[nn.Module] = [nn.Linear(sizes[0], sizes[1])]
    for inputs, outputs in zip(sizes[1:], sizes[2:], strict=False):
        modules += [nn.ReLU(), nn.Dropout(dropout), nn.Linear(inputs, outputs)]
    return nn.Sequential(*modules)


def distillation(model: nn.Module, teacher: nn.Module, part: float) -> Loss:
    """The loss of a model that learns from labels and, to the given part, from a teacher's results (Hinton, Vinyals, Dean 2015)."""

    def loss(x: Tensor, labels: Tensor) -> Tensor:
        results = model(x)
        with torch.no_grad():
            wanted = functional.softmax(teacher(x) / _TEMPERATURE, dim=1)
        softened = functional.log_softmax(results / _TEMPERATURE, dim=1)
        imitation = _TEMPERATURE**2 * functional.kl_div(softened, wanted, reduction="batchmean")
        return part * imitation + (1 - part) * functional.cross_entropy(results, labels)

    return loss


def shrinking(model: PermutedNetwork, target: float, shares: Sequence[float], epochs: int) -> Callable[[int, int, int], None]:
    """What is done before each step: the image shrinks to ``target`` bytes (cubic, Zhu and Gupta 2017), its classes are revised, then kept."""

    def before_step(epoch: int, step: int, steps: int) -> None:
        progress = (epoch + step / steps) / epochs
        if progress >= _SETTLED:
            if model.image_bytes > target:  # so few epochs that no revision has come after the shrinking
                model.revise(target, shares)
            model.freeze()
        elif step in {part * steps // _REVISIONS for part in range(_REVISIONS)}:
            left = max(1 - progress / _SHRUNK, 0.0)
            model.revise(target * (1 + (_START - 1) * left**3), shares)

    return before_step


def _fields(plan: Plan, *names: str) -> dict[str, object]:
    return {name: getattr(plan, name) for name in names}


def _counter(progress: Progress, what: str, schedule: Schedule) -> Callable[[int], None]:
    return lambda epoch: progress(what, epoch, schedule.epochs)


def _percent(found: Tensor, labels: Tensor) -> float:
    return 100.0 * float((found == labels).double().mean())


def _npz(front: nn.Sequential, head: nn.Sequential) -> bytes:
    layers = {f"conv{number}": module for number, module in enumerate((m for m in front if isinstance(m, nn.Conv2d)), 1)}
    layers |= {str(number): module for number, module in enumerate(m for m in head if isinstance(m, nn.Linear))}
    arrays = {f"{name}_{part}": getattr(module, part).numpy() for name, module in layers.items() for part in ("weight", "bias")}
    content = io.BytesIO()
    np.savez(content, **arrays)
    return content.getvalue()

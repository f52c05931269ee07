"""A training that can be interrupted: a checkpoint an epoch, and the identical result after a resume."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from ..errors import InputError
from ..files import write_file

Loss = Callable[[Tensor, Tensor], Tensor]
"""The loss of a batch: samples and labels."""

_WARM_UP = 0.1      # part of the steps in which the learning rate rises
_LEAST_RATE = 1e-3  # of the peak, at the end
_SEEDS_A_RUN = 100_003  # epochs of different seeds never share a generator


@dataclass(frozen=True)
class Schedule:
    """How long and how fast a module is trained, with AdamW.

    Members
    -------
    epochs : int
    batch : int
        Samples a step.
    rate : float
        Peak of the learning rate, which rises in a line and falls as a cosine.
    decay : float
        Weight decay.
    """

    epochs: int
    batch: int = 256
    rate: float = 1e-3
    decay: float = 1e-4

    def rate_at(self, progress: float) -> float:
        """The learning rate when the part ``progress`` (0 to 1) of all steps is done."""
        if progress < _WARM_UP:
            return self.rate * max(progress / _WARM_UP, _LEAST_RATE)
        turn = math.pi * (progress - _WARM_UP) / (1 - _WARM_UP)
        return self.rate * max((1 + math.cos(turn)) / 2, _LEAST_RATE)


@dataclass(frozen=True, eq=False)
class Samples:
    """What is trained on.

    Members
    -------
    x : Tensor [n, ...]
    labels : int64 [n]
    draw : callable
        ``draw(x[i], generator)``: the samples of a batch, augmented.
    """

    x: Tensor
    labels: Tensor
    draw: Callable[[Tensor, torch.Generator], Tensor]


def train(
    module: nn.Module,
    samples: Samples,
    loss: Loss,
    schedule: Schedule,
    seed: int,
    checkpoint: Path,
    identity: dict[str, object],
    before_step: Callable[[int, int, int], None] = lambda epoch, step, steps: None,
    after_step: Callable[[float], None] = lambda rate: None,
    after_epoch: Callable[[int], None] = lambda epoch: None,
) -> None:
    """Train a module, from its checkpoint if there is one.

    Every epoch starts from a seed of its own, so what an epoch does depends on the module, the optimiser and the epoch's number only.

    Parameters
    ----------
    checkpoint : Path
        Written after every epoch, complete or not at all.
    identity : dict
        What sets this training apart from others besides schedule and seed; a checkpoint with other values is refused.
    before_step : callable
        Called with the epoch, the step in it, and the steps of an epoch.
    after_step : callable
        Called with the learning rate of the step.
    after_epoch : callable
        Called with the number of epochs done, also for those that a checkpoint has brought.

    Raises
    ------
    InputError
        If the checkpoint is damaged or of another training.
    """
    optimizer = torch.optim.AdamW(module.parameters(), lr=schedule.rate, weight_decay=schedule.decay)
    settings = {**identity, **asdict(schedule), "seed": seed}
    done = _resume(module, optimizer, checkpoint, settings)
    if done:
        after_epoch(done)
    steps = -(-len(samples.x) // schedule.batch)
    for epoch in range(done, schedule.epochs):
        generator = torch.Generator().manual_seed(seed * _SEEDS_A_RUN + epoch)
        torch.manual_seed(seed * _SEEDS_A_RUN + epoch)  # of dropout
        module.train()
        for number, batch in enumerate(torch.randperm(len(samples.x), generator=generator).split(schedule.batch)):
            before_step(epoch, number, steps)
            rate = schedule.rate_at((epoch + number / steps) / schedule.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.zero_grad()
            loss(samples.draw(samples.x[batch], generator), samples.labels[batch]).backward()
            optimizer.step()
            after_step(rate)
        _save(module, optimizer, checkpoint, settings, epoch + 1)
        after_epoch(epoch + 1)


def _save(module: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path, settings: dict, epochs: int) -> None:
    content = io.BytesIO()
    torch.save({"module": module.state_dict(), "optimizer": optimizer.state_dict(), "settings": settings, "epochs": epochs}, content)
    write_file(checkpoint, content.getvalue())


def _resume(module: nn.Module, optimizer: torch.optim.Optimizer, checkpoint: Path, settings: dict) -> int:
    """Epochs done, with the state after them."""
    if not checkpoint.exists():
        return 0
    advice = "remove it or choose another output folder"
    try:
        state = torch.load(checkpoint, weights_only=True)
    except (RuntimeError, EOFError, zipfile.BadZipFile, UnpicklingError, OSError) as error:
        raise InputError(f"The checkpoint {checkpoint} is damaged: {advice}") from error
    if not isinstance(state, dict) or state.keys() != {"module", "optimizer", "settings", "epochs"}:
        raise InputError(f"{checkpoint} is not a checkpoint of permfc: {advice}")
    if state["settings"] != settings:
        found = state["settings"]
        differing = [f"{name} {found.get(name)!r} instead of {value!r}" for name, value in settings.items() if found.get(name) != value]
        raise InputError(f"The checkpoint {checkpoint} is of a training with {', '.join(differing)}: {advice}")
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return state["epochs"]


@contextmanager
def one_thread() -> Iterator[None]:
    """One thread for torch: sums are added in an order that does not depend on the machine's cores, and small steps do not wait for busy ones."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def predictions(module: nn.Module, x: Tensor, batch: int = 2000) -> Tensor:
    """The class with the largest result of each sample, int64 [n], in ``eval`` mode."""
    module.eval()
    with torch.no_grad():
        return torch.cat([module(part).argmax(1) for part in x.split(batch)])

"""What became of each fully connected layer of a model, and what the engine did for it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Work:
    """What the engine did for a layer.

    Members
    -------
    runs : int
        Inputs that it computed.
    bytes : int
        Read from the engine's memory.
    cycles : int or None
        Of the engine's clock; None from the golden model, which has none.
    source : str
        ``counted`` by the engine, or ``predicted``.
    """

    runs: int
    bytes: int
    cycles: int | None
    source: str

    def __add__(self, other: Work) -> Work:
        cycles = None if self.cycles is None or other.cycles is None else self.cycles + other.cycles
        return Work(self.runs + other.runs, self.bytes + other.bytes, cycles, self.source)


@dataclass(frozen=True)
class LayerReport:
    """A layer of the engine, or a fully connected module that stayed in torch.

    Members
    -------
    name : str
    modules : tuple of str
        All modules that it stands for: those with the same input are one layer, those with the same weights one matrix.
    shape : (outputs, inputs)
    reason : str
        Why it stayed in torch; empty if it is offloaded.
    image_bytes : int
        Everything that its image holds.
    kinds : dict of str to int
        Inputs by the kind of their class.
    error : float
        Root mean square of the change of its results, over that of the results, on rows that calibration did not use.
    """

    name: str
    modules: tuple[str, ...]
    shape: tuple[int, int]
    reason: str = ""
    image_bytes: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    error: float = 0.0

    @property
    def offloaded(self) -> bool:
        """Whether it runs on the engine."""
        return not self.reason

    @property
    def weights(self) -> int:
        """Value of the number of weights."""
        return self.shape[0] * self.shape[1]

    @property
    def bits(self) -> float:
        """Value of the bits a weight of its image; 0 if it stayed in torch."""
        return 8 * self.image_bytes / self.weights

    def as_dict(self) -> dict[str, Any]:
        """The members by name, ready for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, members: dict[str, Any]) -> LayerReport:
        """What ``as_dict`` gave."""
        return cls(**{**members, "modules": tuple(members["modules"]), "shape": tuple(members["shape"])})


@dataclass(frozen=True, repr=False)
class Layers(Sequence[LayerReport]):
    """All fully connected layers of a model; printed, it is a table.

    Members
    -------
    reports : tuple of LayerReport
    parameters : int
        All numbers of the model in float, before anything was exchanged.
    """

    reports: tuple[LayerReport, ...]
    parameters: int

    def __getitem__(self, index: Any) -> Any:
        return self.reports[index]

    def __len__(self) -> int:
        return len(self.reports)

    def __iter__(self) -> Iterator[LayerReport]:
        return iter(self.reports)

    @property
    def offloaded(self) -> tuple[LayerReport, ...]:
        """Value of the layers on the engine."""
        return tuple(report for report in self.reports if report.offloaded)

    @property
    def weights(self) -> int:
        """Value of the weights on the engine."""
        return sum(report.weights for report in self.offloaded)

    @property
    def share(self) -> float:
        """Value of the part of all fully connected weights that is on the engine, 0 to 1."""
        return self.weights / sum(report.weights for report in self.reports)

    @property
    def image_bytes(self) -> int:
        """Value of the bytes of all images."""
        return sum(report.image_bytes for report in self.offloaded)

    @property
    def bits(self) -> float:
        """Value of the bits a weight, everything in the images included."""
        return 8 * self.image_bytes / self.weights

    def __repr__(self) -> str:
        rows = [("layer", "shape", "bits", "bytes", "error", "kinds")] + [_row(report) for report in self.reports]
        widths = [max(len(row[column]) for row in rows) for column in range(5)]
        lines = ["  ".join([row[0].ljust(widths[0]), *(row[column].rjust(widths[column]) for column in range(1, 5)), row[5]]) for row in rows]
        return "\n".join([*lines, self.summary])

    @property
    def summary(self) -> str:
        """Value of the totals in one sentence."""
        return (f"{len(self.offloaded)} of {len(self)} layers are on the engine: {self.share:.1%} of the fully connected weights, "
                f"{self.weights / self.parameters:.1%} of the {self.parameters:,} parameters; {self.image_bytes:,} bytes, "
                f"{self.bits:.2f} bits a weight")


def _row(report: LayerReport) -> tuple[str, ...]:
    shape = f"{report.shape[0]}x{report.shape[1]}"
    if not report.offloaded:
        return report.name, shape, "-", "-", "-", f"in torch: {report.reason}"
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(report.kinds.items()))
    return report.name, shape, f"{report.bits:.2f}", f"{report.image_bytes:,}", f"{report.error:.2%}", kinds

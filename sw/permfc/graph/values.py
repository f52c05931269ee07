"""Inputs and outputs of a whole network: what they are called, and arrays of the types and shapes that they must have."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..errors import InputError

BATCH = 64  # samples that calibration computes at once, which bounds the memory that activations take
_KINDS = {"float": np.float32, "double": np.float64, "float16": np.float16, "bool": np.bool_, "string": np.object_,
          **{f"{sign}int{bits}": np.dtype(f"{sign}int{bits}").type for sign in ("", "u") for bits in (8, 16, 32, 64)}}

Feeds = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Value:
    """An input or output of a network, as onnxruntime describes it.

    Members
    -------
    name : str
    type : str
        Such as ``tensor(float)``.
    shape : list of int, str or None
        A name, or None, where a dimension may have any size.
    """

    name: str
    type: str
    shape: list[int | str | None]

    def checked(self, value: object) -> object:
        """``value`` as the network takes it; InputError if it is of another kind or shape. What is no tensor is left as it is."""
        kind = _KINDS.get(self.type.removeprefix("tensor(").removesuffix(")"))
        if kind is None:
            return value
        try:
            array = np.asarray(value)
        except ValueError as error:  # rows of different lengths
            raise InputError(f"Input {self.name!r} is no array: {error}") from error
        if self.shape and (array.ndim != len(self.shape) or any(
                isinstance(wanted, int) and wanted != found for wanted, found in zip(self.shape, array.shape, strict=False))):
            raise InputError(f"Input {self.name!r} must have the shape {self._shape_text()}, not {list(array.shape)}")
        if array.dtype != kind and not np.can_cast(array.dtype, kind, "same_kind"):
            raise InputError(f"Input {self.name!r} must be {np.dtype(kind)}, not {array.dtype}")
        if array.dtype.kind in "iu" and array.size and np.dtype(kind).kind in "iu":
            limits = np.iinfo(kind)
            if not limits.min <= array.min() <= array.max() <= limits.max:
                raise InputError(f"Input {self.name!r} must be {limits.dtype}, {limits.min}..{limits.max}, not {array.min()}..{array.max()}")
        return array.astype(kind, copy=False)

    def _shape_text(self) -> str:
        return "[" + ", ".join(str(size) if size is not None else "any" for size in self.shape) + "]"


def checked_feeds(values: Sequence[Value], feeds: Mapping[str, object]) -> dict[str, np.ndarray]:
    """All inputs of a network by name; InputError if one is missing, unknown or wrong."""
    names = [value.name for value in values]
    if not isinstance(feeds, Mapping):
        raise InputError(f"Inputs must be a mapping of names to arrays, here {', '.join(names)}, not {type(feeds).__name__}")
    unknown, missing = [str(name) for name in feeds if name not in names], [name for name in names if name not in feeds]
    if unknown or missing:
        wrong = [f"there is no {', '.join(unknown)}"] if unknown else []
        wrong += [f"{', '.join(missing)} {'are' if missing[1:] else 'is'} missing"] if missing else []
        raise InputError(f"The network takes the inputs {', '.join(names)}: {', and '.join(wrong)}")
    return {value.name: value.checked(feeds[value.name]) for value in values}


def batches(values: Sequence[Value], data: np.ndarray | Feeds | Iterable[Feeds], most: int | None = BATCH) -> Iterator[dict[str, np.ndarray]]:
    """Inputs in parts that are run at once.

    Parameters
    ----------
    values : sequence of Value
        The network's inputs.
    data : array, mapping of names to arrays, or iterable of such mappings
        An array is that of the only input. Arrays with equal first dimensions are cut into parts of the size that the network was
        exported for, or of ``most`` samples if that is any; an iterable's mappings are run as they are.
    most : int or None
        None: samples are only cut where the network was exported for a fixed number.

    Raises
    ------
    InputError
        If they are not what the network takes.
    """
    if isinstance(data, np.ndarray):
        if len(values) != 1:
            raise InputError(f"The network takes the inputs {', '.join(value.name for value in values)}: give an array for each by its name")
        data = {values[0].name: data}
    if not isinstance(data, Mapping):
        if not isinstance(data, Iterable):
            raise InputError(f"Inputs must be an array, a mapping of names to arrays or an iterable of such mappings, not {type(data).__name__}")
        yield from (checked_feeds(values, feeds) for feeds in data)
        return
    data = {name: np.asarray(array) for name, array in data.items()}
    size = _part_size(values, data, most or 0)
    count = max((len(array) for array in data.values()), default=0) if size else 1
    if not count:
        raise InputError("There is no sample in these inputs: give one or more")
    for start in range(0, count, size or 1):
        part = {name: array[start:start + size] for name, array in data.items()} if size else data
        yield checked_feeds(values, _filled(part, size) if size and _is_fixed(values) else part)


def _is_fixed(values: Sequence[Value]) -> bool:
    return all(value.shape and isinstance(value.shape[0], int) for value in values)


def _part_size(values: Sequence[Value], data: Feeds, most: int) -> int:
    """How many samples are run at once; 0 if the inputs are no samples along one first dimension and must stay together."""
    counts = {len(array) if np.ndim(array) else -1 for array in data.values()}
    sizes = {value.shape[0] if value.shape else 0 for value in values}
    if len(counts) != 1 or -1 in counts:
        return 0
    if _is_fixed(values):
        return int(sizes.pop()) if len(sizes) == 1 else 0
    return 0 if any(isinstance(size, int) for size in sizes) else most


def _filled(part: Feeds, size: int) -> dict[str, np.ndarray]:
    """A last part with its last sample repeated, since the network was exported for that many and no other."""
    return {name: np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)]) if len(array) < size else array
            for name, array in part.items()}


def relative_error(found: Iterable[np.ndarray], wanted: Iterable[np.ndarray]) -> float:
    """Root mean square of the differences of all real-valued results over that of the results wanted; 0 if there are none.

    Bytes are such results in steps, as a quantised network gives them.
    """
    difference = power = 0.0
    for one, other in zip(found, wanted, strict=True):
        if isinstance(other, np.ndarray) and _is_real(other):
            finite = np.isfinite(other)
            difference += float(np.square(one[finite].astype(np.float64) - other[finite].astype(np.float64)).sum())
            power += float(np.square(other[finite], dtype=np.float64).sum())
    return float(np.sqrt(difference / power)) if power else float(np.sqrt(difference))


def share_equal(found: Iterable[np.ndarray], wanted: Iterable[np.ndarray]) -> float:
    """Share of all results that are no real numbers, such as labels, that are equal; 1 if there are none."""
    pairs = [(np.asarray(one), np.asarray(other)) for one, other in zip(found, wanted, strict=True)
             if isinstance(other, np.ndarray) and not _is_real(other)]
    total = sum(other.size for _, other in pairs)
    return sum(int(np.count_nonzero(one == other)) for one, other in pairs) / total if total else 1.0


def _is_real(values: np.ndarray) -> bool:
    """Whether values are numbers that may be a little off, and no labels."""
    return values.dtype.kind == "f" or values.dtype in (np.int8, np.uint8)

"""Weights in HDF5 files as Keras writes them; nothing but plain arrays inside the file itself is read."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import ModelError
from .packages import required

if TYPE_CHECKING:
    import h5py

_CONTAINERS = ("layers", "_layer_checkpoint_dependencies")  # Keras 3, and the .keras files of Keras 2.12
_PATIENCE = 60  # seconds that reading may take, besides one for each 10 MB
_PLAIN, _RATIO = 1 << 20, 100  # bytes that need no justification, and how far a compressed array may expand


class Hdf5:
    """An HDF5 file, from ``content`` if that is given, as what is inside an archive."""

    def __init__(self, path: Path, content: bytes | None = None) -> None:
        self.path = path
        self._h5py = required("h5py", "keras", path)
        survive(path, content)
        try:
            self.root = self._h5py.File(path if content is None else BytesIO(content), "r")
        except (OSError, ValueError, RuntimeError) as error:
            raise ModelError(
                f"Model {path} is not a readable HDF5 file: copy it again, or save it again with Keras"
            ) from error
        self._budget = _PLAIN + _RATIO * (path.stat().st_size if content is None else len(content))

    def group(self, parent: h5py.Group, name: str) -> h5py.Group | None:
        """The group ``name``, which may have slashes; None if there is none in this very file."""
        found = self._inside(parent, name)
        return found if isinstance(found, self._h5py.Group) else None

    def _inside(self, parent: h5py.Group, name: str) -> object:
        """A member that no link fetches from elsewhere."""
        for part in name.split("/"):
            if not isinstance(parent, self._h5py.Group) or not isinstance(
                parent.get(part, getlink=True), self._h5py.HardLink
            ):
                return None
            parent = parent[part]
        return parent

    def array(self, group: h5py.Group, name: str, shape: Sequence[int], label: str) -> np.ndarray:
        """A dataset of the given shape as float32, with a name for errors."""
        found = self._inside(group, name)
        if not isinstance(found, self._h5py.Dataset):
            raise ModelError(f"{self.path} has no {label}: save model and weights again")
        if found.shape != tuple(shape):
            raise ModelError(
                f"{label[0].upper()}{label[1:]} in {self.path} has shape {list(found.shape or ())}, "
                f"but the model's description needs "
                f"{list(shape)}: give the weights that belong to this model"
            )
        if found.dtype.kind not in "fiu" or found.is_virtual or found.external:
            raise ModelError(
                f"{label[0].upper()}{label[1:]} in {self.path} is not a plain array of numbers, but "
                f"{found.dtype}: save it as float32"
            )
        self._check_size(found, label)
        return found[()].astype(np.float32)

    def _check_size(self, dataset: h5py.Dataset, label: str) -> None:
        self._budget -= dataset.nbytes
        if self._budget < 0 or (
            dataset.nbytes > _PLAIN and dataset.nbytes > _RATIO * dataset.id.get_storage_size()
        ):
            raise ModelError(
                f"{self.path} has not the {dataset.nbytes} bytes of {label}: it is damaged, copy it again"
            )


def survive(path: Path, content: bytes | None) -> None:
    """Have a process of its own read the file first; ModelError if that crashes or does not end."""
    command = [
        sys.executable,
        str(Path(__file__).with_name("hdf5_trial.py")),
        *([] if content is not None else [str(path)]),
    ]
    size = path.stat().st_size
    try:
        ended = (
            subprocess.run(
                command,
                input=content or b"",
                capture_output=True,
                timeout=_PATIENCE + size / 10e6,
                check=False,
            ).returncode
            == 0
        )
    except subprocess.TimeoutExpired:
        ended = False
    if not ended:
        raise ModelError(
            f"Model {path} is not a readable HDF5 file, HDF5's own library fails on it: copy it "
            f"again, or save it again with Keras"
        )


class NumberedWeights:
    """Weights of Keras 3: a group for each layer, after its class, in which variables are counted.

    Parameters
    ----------
    file : Hdf5
    group : h5py.Group
        Of the model.
    layers : pairs of names and classes of the model's layers, in its order
    """

    def __init__(self, file: Hdf5, group: h5py.Group, layers: Sequence[tuple[str, str]]) -> None:
        self._file = file
        containers = [found for name in _CONTAINERS if (found := file.group(group, name)) is not None]
        self._groups = self._by_name(containers[0], layers) if containers else {}
        self._inner: dict[str, NumberedWeights] = {}

    def _by_name(self, container: h5py.Group, layers: Sequence[tuple[str, str]]) -> dict[str, h5py.Group]:
        """The group of each layer: the one that names it, or in older files the one at its place among
        those of its class."""
        counts: dict[str, int] = {}
        found, named = {}, self._named(container)
        for name, kind in layers:
            key, count = _snake_case(kind), counts.get(kind, 0)
            counts[kind] = count + 1
            group = named.get(name) or self._file.group(container, f"{key}_{count}" if count else key)
            if group is not None:
                found[name] = group
        return found

    def _named(self, container: h5py.Group) -> dict[str, h5py.Group]:
        groups = [group for key in container if (group := self._file.group(container, key)) is not None]
        variables = [(self._file.group(group, "vars"), group) for group in groups]
        return {
            _text(holder.attrs["name"]): group
            for holder, group in variables
            if holder is not None and "name" in holder.attrs
        }

    def read(self, layer: str, variables: dict[str, Sequence[int]]) -> list[np.ndarray]:
        """The variables of a layer, given with their shapes in Keras's order."""
        group = self._groups.get(layer)
        holder = None if group is None else self._file.group(group, "vars")
        if holder is None:
            raise ModelError(
                f"{self._file.path} has no weights of layer {layer!r}: save model and weights again"
            )
        if len(holder) != len(variables):
            raise ModelError(
                f"{self._file.path} has {len(holder)} arrays for layer {layer!r}, whose description "
                f"needs {len(variables)} "
                f"({', '.join(variables)}): give the weights that belong to this model"
            )
        return [
            self._file.array(holder, str(index), shape, f"{name} of layer {layer!r}")
            for index, (name, shape) in enumerate(variables.items())
        ]

    def inner(self, model: str, layers: Sequence[tuple[str, str]]) -> NumberedWeights:
        """The weights of a model that is a layer of this one."""
        if model not in self._groups:
            raise ModelError(
                f"{self._file.path} has no weights of layer {model!r}: save model and weights again"
            )
        if model not in self._inner:
            self._inner[model] = NumberedWeights(self._file, self._groups[model], layers)
        return self._inner[model]


class NamedWeights:
    """Weights of Keras 2 and of the .h5 files of Keras 3: a group for each layer, whose attribute names
    its arrays.

    ``prefix`` are the names of the models within which the layers lie, in the group of the outermost one.
    """

    def __init__(self, file: Hdf5, group: h5py.Group, prefix: tuple[str, ...] = ()) -> None:
        self._file, self._group, self._prefix = file, group, prefix

    def read(self, layer: str, variables: dict[str, Sequence[int]]) -> list[np.ndarray]:
        """The variables of a layer, given with their shapes."""
        owner = self._prefix[0] if self._prefix else layer
        group = self._file.group(self._group, owner)
        if group is None:
            raise ModelError(
                f"{self._file.path} has no weights of layer {layer!r}: save model and weights again"
            )
        names = [_text(name) for name in _split_attribute(group, "weight_names")]
        return [
            self._file.array(
                group, self._choose(names, layer, variable), shape, f"{variable} of layer {layer!r}"
            )
            for variable, shape in variables.items()
        ]

    def _choose(self, names: list[str], layer: str, variable: str) -> str:
        """The name of a variable's array, as in dense/kernel:0 or model/dense/kernel."""
        found = [name for name in names if name.rpartition("/")[2].partition(":")[0] == variable]
        if self._prefix:  # the group is that of the outermost model, with the arrays of all its layers
            found = [name for name in found if layer in name.split("/")[:-1]]
        for model in self._prefix:
            found = [name for name in found if model in name.split("/")[:-1]] if len(found) > 1 else found
        if len(found) != 1:
            raise ModelError(
                f"{self._file.path} has {len(found) or 'no'} arrays named {variable} for layer {layer!r}: "
                "save model and weights again"
            )
        return found[0]

    def inner(self, model: str, layers: Sequence[tuple[str, str]]) -> NamedWeights:
        """The weights of a model that is a layer of this one."""
        return NamedWeights(self._file, self._group, (*self._prefix, model))


def weights_of(file: Hdf5, layers: Sequence[tuple[str, str]]) -> NumberedWeights | NamedWeights:
    """The weights in a file, in whichever of Keras's two layouts."""
    outer = file.group(file.root, "model_weights")
    group = file.root if outer is None else outer
    if "layer_names" in group.attrs or "layer_names0" in group.attrs:
        return NamedWeights(file, group)
    return NumberedWeights(file, group, layers)


def _split_attribute(group: h5py.Group, name: str) -> list:
    """A list in an attribute, which Keras splits into numbered ones where HDF5's headers are too small."""
    if name in group.attrs:
        return list(group.attrs[name])
    count = 0
    while f"{name}{count}" in group.attrs:
        count += 1
    return [item for index in range(count) for item in group.attrs[f"{name}{index}"]]


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _snake_case(name: str) -> str:
    """As Keras names groups: LeakyReLU gives leaky_re_lu."""
    name = re.sub(r"(.)([A-Z][a-z]+)", r"\1_\2", re.sub(r"\W+", "", name))
    return re.sub(r"([a-z])([A-Z])", r"\1_\2", name).lower()

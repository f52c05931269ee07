"""Labelled data and trained float networks from a folder of the user's: the readers that training and the benchmark share.

The folder is the argument, or the environment variable PERMFC_DATA. It holds ``mnist/`` and ``fashion/`` (the four gzipped IDX files of
each), ``clinc150/clinc150_minilm_f16.npz``, ``usps/usps.npz``, ``efflite0/imagenet1000_feats.npz`` and ``trained/<name>.npz``.
"""

from __future__ import annotations

import gzip
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .array_files import read_npz
from .errors import InputError

VARIABLE = "PERMFC_DATA"
_IMAGES, _LABELS = 0x803, 0x801  # IDX magic numbers: unsigned bytes in 3 and 1 dimensions


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples to train with and samples to measure accuracy with.

    Members
    -------
    name : str
    train, test : float32 [n, features]
        As a network takes them: pixels 0 to 1, embeddings as they are.
    train_labels, test_labels : int64 [n]
    """

    name: str
    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray

    @property
    def classes(self) -> int:
        """Value of the number of different labels."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    def calibration(self, samples: int) -> np.ndarray:
        """Samples at even places of the training data, which may be sorted by label: float32 [samples, features]."""
        return self.train[np.linspace(0, len(self.train) - 1, samples).astype(np.int64)]


@dataclass(frozen=True, eq=False)
class EfficientNetHead:
    """What stands before the last layer of EfficientNet-lite0 for 1,000 images, and that layer.

    Members
    -------
    x : float32 [1000, 1280]
    labels : int64 [1000]
    weight : float32 [1000, 1280]
    bias : float32 [1000]
    """

    x: np.ndarray
    labels: np.ndarray
    weight: np.ndarray
    bias: np.ndarray


def data_folder(folder: str | os.PathLike[str] | None = None) -> Path:
    """The folder of data sets: ``folder``, or what PERMFC_DATA names.

    Raises
    ------
    InputError
        If neither is given, or it is no folder.
    """
    chosen = folder or os.environ.get(VARIABLE)
    if not chosen:
        raise InputError(f"No data folder: pass --data DIR or set {VARIABLE}")
    if not Path(chosen).is_dir():
        raise InputError(f"{chosen} is not a folder: pass --data DIR or set {VARIABLE} to where the data sets are")
    return Path(chosen)


def mnist(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """MNIST, 60,000 and 10,000 digits of 784 pixels. Raises InputError naming every file that is missing, or the damaged one."""
    return _idx_images("mnist", folder)


def fashion(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Fashion-MNIST, 60,000 and 10,000 images of 784 pixels. Raises InputError as ``mnist`` does."""
    return _idx_images("fashion", folder)


def clinc150(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """Sentence embeddings of CLINC150, 15,000 and 4,500 of 384 numbers in 150 classes. Raises InputError as ``mnist`` does."""
    arrays = _read_npz(data_folder(folder) / "clinc150" / "clinc150_minilm_f16.npz", ("X_train", "y_train", "X_test", "y_test"))
    return _dataset("clinc150", *arrays)


def usps(folder: str | os.PathLike[str] | None = None) -> Dataset:
    """USPS, 7,291 and 2,007 digits of 256 pixels. Raises InputError as ``mnist`` does."""
    return _dataset("usps", *_read_npz(data_folder(folder) / "usps" / "usps.npz", ("x_train", "y_train", "x_test", "y_test")))


def efflite0(folder: str | os.PathLike[str] | None = None) -> EfficientNetHead:
    """Features of 1,000 images and the 1000 x 1280 classifier of EfficientNet-lite0. Raises InputError as ``mnist`` does."""
    x, labels, weight, bias = _read_npz(data_folder(folder) / "efflite0" / "imagenet1000_feats.npz", ("X", "y", "fc_w", "fc_b"))
    return EfficientNetHead(x.astype(np.float32), labels.astype(np.int64), weight, bias)


def trained_network(name: str, folder: str | os.PathLike[str] | None = None) -> dict[str, np.ndarray]:
    """The arrays of ``trained/<name>.npz``: float32 ``<n>_weight`` [outputs, inputs] and ``<n>_bias``, layers in order. Raises InputError."""
    path = data_folder(folder) / "trained" / f"{name}.npz"
    return read_arrays(path)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a ``.npz`` file.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    _require([path])
    return read_npz(path)


def _read_npz(path: Path, names: tuple[str, ...]) -> list[np.ndarray]:
    arrays = read_arrays(path)
    absent = [name for name in names if name not in arrays]
    if absent:
        raise InputError(f"{path} lacks the arrays {', '.join(absent)}: copy it again")
    return [arrays[name] for name in names]


def _dataset(name: str, train: np.ndarray, train_labels: np.ndarray, test: np.ndarray, test_labels: np.ndarray) -> Dataset:
    return Dataset(name, train.astype(np.float32), train_labels.astype(np.int64), test.astype(np.float32), test_labels.astype(np.int64))


def _require(paths: list[Path]) -> None:
    missing = [str(path) for path in paths if not path.is_file()]
    if missing:
        raise InputError(f"Missing {', '.join(missing)}: pass --data DIR or set {VARIABLE} to the folder that has them")


def _idx_images(name: str, folder: str | os.PathLike[str] | None) -> Dataset:
    base = data_folder(folder) / name
    paths = {part: (base / f"{part}-images-idx3-ubyte.gz", base / f"{part}-labels-idx1-ubyte.gz") for part in ("train", "t10k")}
    _require([path for pair in paths.values() for path in pair])
    arrays: list[np.ndarray] = []
    for images_path, labels_path in paths.values():
        images, labels = _read_idx(images_path, _IMAGES), _read_idx(labels_path, _LABELS)
        if len(images) != len(labels):
            raise InputError(f"{images_path} has {len(images)} images but {labels_path} {len(labels)} labels: copy both again")
        arrays += [images.reshape(len(images), -1).astype(np.float32) / 255, labels]
    return _dataset(name, *arrays)


def _read_idx(path: Path, magic: int) -> np.ndarray:
    """The bytes of a gzipped IDX file as an array: a big-endian magic number, the dimensions, then the data."""
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} is damaged, copy it again: {error}") from error
    dimensions = magic & 0xFF
    header = np.frombuffer(content[:4 * (1 + dimensions)], dtype=">u4").astype(np.int64)
    if len(header) != 1 + dimensions or header[0] != magic or len(content) != header[1:].prod() + 4 * (1 + dimensions):
        raise InputError(f"{path} is damaged, copy it again: it is no IDX file of {dimensions} dimensions with all its data")
    return np.frombuffer(content, dtype=np.uint8, offset=4 * (1 + dimensions)).reshape(header[1:])

"""Data readers: right arrays, and errors that name the file."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from permfc import datasets
from permfc.errors import InputError


def write_idx(path: Path, array: np.ndarray) -> None:
    header = np.array([0x800 + array.ndim, *array.shape], dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + array.astype(np.uint8).tobytes()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder with a tiny MNIST."""
    generator = np.random.default_rng(0)
    (tmp_path / "mnist").mkdir()
    for part, samples in (("train", 6), ("t10k", 4)):
        write_idx(tmp_path / "mnist" / f"{part}-images-idx3-ubyte.gz", generator.integers(0, 256, (samples, 28, 28)))
        write_idx(tmp_path / "mnist" / f"{part}-labels-idx1-ubyte.gz", np.arange(samples))
    return tmp_path


def test_reads_idx(folder: Path) -> None:
    data = datasets.mnist(folder)
    expected = np.random.default_rng(0).integers(0, 256, (6, 28, 28)).reshape(6, 784)
    assert data.train.dtype == np.float32 and data.test.shape == (4, 784)
    np.testing.assert_allclose(data.train, expected / 255, rtol=1e-6)
    assert data.train_labels.tolist() == [0, 1, 2, 3, 4, 5] and data.classes == 6


def test_folder_from_environment(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(datasets.VARIABLE, str(folder))
    assert datasets.mnist().train.shape == (6, 784)
    monkeypatch.delenv(datasets.VARIABLE)
    with pytest.raises(InputError, match="No data folder: pass --data DIR or set PERMFC_DATA"):
        datasets.mnist()
    with pytest.raises(InputError, match="nowhere is not a folder"):
        datasets.mnist("nowhere")


def test_missing_files_are_all_named(folder: Path) -> None:
    (folder / "mnist" / "train-labels-idx1-ubyte.gz").unlink()
    (folder / "mnist" / "t10k-images-idx3-ubyte.gz").unlink()
    with pytest.raises(InputError, match="Missing .*train-labels-idx1-ubyte.gz, .*t10k-images-idx3-ubyte.gz: pass --data"):
        datasets.mnist(folder)
    with pytest.raises(InputError, match="Missing .*clinc150_minilm_f16.npz"):
        datasets.clinc150(folder)


DAMAGE = [lambda content: content[:-9], lambda content: b"no gzip", lambda content: gzip.compress(gzip.decompress(content)[:-1])]


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_idx_is_named(folder: Path, damage) -> None:
    path = folder / "mnist" / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match="t10k-images-idx3-ubyte.gz is damaged, copy it again"):
        datasets.mnist(folder)


def test_unequal_samples(folder: Path) -> None:
    write_idx(folder / "mnist" / "t10k-labels-idx1-ubyte.gz", np.arange(3))
    with pytest.raises(InputError, match="has 4 images but .* 3 labels"):
        datasets.mnist(folder)


def test_npz(folder: Path) -> None:
    (folder / "usps").mkdir()
    arrays = {"x_train": np.ones((3, 256), np.float32), "y_train": np.arange(3, dtype=np.uint8), "x_test": np.zeros((2, 256), np.float32)}
    np.savez(folder / "usps" / "usps.npz", **arrays)
    with pytest.raises(InputError, match="usps.npz lacks the arrays y_test"):
        datasets.usps(folder)
    np.savez(folder / "usps" / "usps.npz", **arrays, y_test=np.arange(2, dtype=np.uint8))
    assert datasets.usps(folder).test.shape == (2, 256)
    content = (folder / "usps" / "usps.npz").read_bytes()
    (folder / "usps" / "usps.npz").write_bytes(content[:len(content) // 2])
    with pytest.raises(InputError, match="usps.npz is damaged"):
        datasets.usps(folder)

"""Files of arrays: what numpy.save writes comes back, and whatever else is there is refused in a sentence."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from permfc.array_files import parse_npy, read_npy, read_npz
from permfc.errors import InputError

X = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


def saved(array: np.ndarray, **options: object) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(array), **options)
    return stream.getvalue()


def header(text: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + len(text).to_bytes(2, "little") + text.encode() + data


@pytest.mark.parametrize(
    "array",
    [
        X,
        np.asfortranarray(X),
        X.astype(">f8"),
        X.astype(np.int8),
        X > 4,
        np.float16(3),
        np.zeros((0, 5)),
        np.zeros((3, 0), np.int64),
    ],
    ids=["C", "Fortran", "big endian", "int8", "bool", "scalar", "no rows", "no columns"],
)
def test_arrays_come_back(array):
    back = parse_npy(saved(array), "x.npy")
    assert (
        back.dtype == np.asarray(array).dtype.newbyteorder("=")
        and back.shape == np.shape(array)
        and back.flags.writeable
    )
    np.testing.assert_array_equal(back, array)


def test_both_versions_of_the_header():
    np.testing.assert_array_equal(parse_npy(saved(X, version=(2, 0)), "x"), X)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", r"^x\.npy is not an array that numpy\.save wrote: its header is damaged"),
        (saved(X)[:-1], r"it has 95 bytes for float32 \[2, 3, 4\]; save it again$"),
        (saved(X) + b"\0", r"it has 97 bytes for float32"),
        (saved(np.array([{}], dtype=object)), r"holds object, not plain numbers: save it as float32$"),
        (saved(np.zeros(2, dtype="c8")), r"holds complex64, not plain numbers"),
        (saved(np.zeros(2, dtype="i4,f4")), r"not plain numbers"),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,)}"),
            r"it has 0 bytes for float32 \[1000000000000\]",
        ),
        (
            header("{'descr': '<f4', 'fortran_order': False, 'shape': (-2, -2)}", bytes(16)),
            r"16 bytes for float32 \[-2, -2\]",
        ),
        (
            header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': (0, {10**30})}}"),
            r"is not an array that numpy\.save wrote, ",
        ),
        (
            header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': {(1,) * 70}}}", bytes(4)),
            r"is not an array that numpy\.save wrote, ",
        ),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': ((((((("), r"its header is damaged"),
        (header("(" * 5000), r"its header is damaged"),
        (
            header("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}"),
            r"its header is damaged",
        ),
        (
            header("{'descr': '<U0', 'fortran_order': False, 'shape': (9999,)}"),
            r"is not an array that numpy\.save wrote",
        ),
    ],
)
def test_unusable_content(content, text):
    with pytest.raises(InputError, match=text):
        parse_npy(content, "x.npy")


def test_text_is_no_input(tmp_path):
    np.save(tmp_path / "x.npy", np.array(["a"]))
    with pytest.raises(InputError, match=r"x\.npy holds <U1, not plain numbers: save it as float32"):
        read_npy(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", chars=np.array(["a"]))
    assert read_npz(tmp_path / "x.npz")["chars"].tolist() == ["a"]


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"Cannot read .*none\.npy: No such file"):
        read_npy(tmp_path / "none.npy")
    np.savez(tmp_path / "x.npz", x=X)
    with pytest.raises(
        InputError, match=r"x\.npz holds several arrays; save the one to use with numpy\.save"
    ):
        read_npy(tmp_path / "x.npz")


@given(
    st.integers(0, 10**6),
    st.lists(st.tuples(st.integers(0, 200), st.integers(0, 255)), min_size=1, max_size=4),
    st.booleans(),
)
@settings(max_examples=200, deadline=None)
def test_damaged_files_are_refused_or_plain(cut, changes, shorter):
    content = bytearray(saved(X))
    for position, value in changes:
        content[position % len(content)] = value
    content = bytes(content[: cut % len(content)] if shorter else content)
    try:
        array = parse_npy(content, "x.npy")
    except InputError:
        return
    assert array.nbytes <= len(content)


def test_archives(tmp_path):
    path = tmp_path / "x.npz"
    np.savez_compressed(path, b=X, a=np.zeros((300, 300)))
    arrays = read_npz(path)
    assert list(arrays) == ["b", "a"]
    np.testing.assert_array_equal(arrays["b"], X)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(InputError, match=r"x\.npz is damaged, copy it again: File is not a zip file"):
        read_npz(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("bomb.npy", bytes(10**6))
    with pytest.raises(InputError, match=r"is damaged, copy it again: bomb\.npy would take 1000000 bytes"):
        read_npz(path)
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(InputError, match=r"x\.npy in .*x\.npz holds object, not plain numbers"):
        read_npz(path)


@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
@settings(max_examples=100, deadline=None)
def test_damaged_archives_are_refused_or_plain(tmp_path_factory, changes):
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    np.savez_compressed(path, x=X, y=X.astype(np.int8))
    content = bytearray(path.read_bytes())
    for position, value in changes:
        content[position % len(content)] = value
    path.write_bytes(content)
    try:
        arrays = read_npz(path)
    except InputError:
        return
    assert sum(array.nbytes for array in arrays.values()) <= 1040 * len(content)

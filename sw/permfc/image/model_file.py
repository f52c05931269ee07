"""The compressed model on disk: a ``.safetensors`` file that does not depend on any device (docs/format.md, "Model file")."""

from __future__ import annotations

import json
import os
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import safetensors.numpy

from ..errors import FormatError, ModelError
from ..files import read_file, write_file
from ..format import MAGIC, MAX_LEVELS
from ..network import InputSteps, Kind, Layer, Network, Segments, block_rows
from ..network.huffman import code_lengths
from ..network.segments import check_sparse_code
from .codec import NIBBLE_LENGTHS, code_aux, decode, encode_class, feature_words, join_nibbles, sparse_code, sparse_table

MODEL_VERSION = 2
METADATA_KEY = "permfc"
BYTE = 8  # segments are padded to bytes, not to the words of any bus

_KINDS = (Kind.PREFIX, Kind.DENSE8, Kind.EMPTY, Kind.SPARSE)  # by their numbers in the file


def save(network: Network, path: str | os.PathLike[str]) -> None:
    """Write a network as a model file; the file appears under its name only when it is complete.

    Raises
    ------
    FormatError
        If the file cannot be written.
    """
    write_file(path, to_bytes(network))


def load(path: str | os.PathLike[str]) -> Network:
    """Read a model file.

    Raises
    ------
    FormatError
        If the file cannot be read, is not a model file, is truncated, damaged, or of another version.
    """
    return from_bytes(read_file(path), str(path))


def to_bytes(network: Network) -> bytes:
    """The bytes of a network's model file; equal networks give equal bytes."""
    tensors: dict[str, np.ndarray] = {
        "crc32": np.zeros(1, dtype=np.uint32),
        "input_class": network.input_class,
        "output_scale": network.output_scale,
    }
    for number, layer in enumerate(network.layers):
        tensors |= {f"layers.{number}.{name}": np.ascontiguousarray(tensor) for name, tensor in _layer_tensors(layer).items()}
    metadata = {"version": MODEL_VERSION, "input_scale": network.input_steps.scale, "layers": [_layer_metadata(layer) for layer in network.layers]}
    # All metadata under one key: safetensors writes several keys in random order.
    content = bytearray(safetensors.numpy.save(tensors, {METADATA_KEY: json.dumps(metadata)}))
    content[_Header.read(content, "Model file").crc_field] = zlib.crc32(content).to_bytes(4, "little")
    return bytes(content)


def _layer_metadata(layer: Layer) -> dict[str, Any]:
    return {
        "features": int(layer.features),
        "outputs": int(layer.outputs),
        "block_outputs": int(layer.block_outputs),
        "shift": int(layer.shift),
        "relu": bool(layer.relu),
        "raw": bool(layer.raw),
    }


def _layer_tensors(layer: Layer) -> dict[str, np.ndarray]:
    shape = len(layer.blocks), len(layer.classes), MAX_LEVELS
    levels, counts = np.zeros(shape, dtype=np.int8), np.zeros(shape, dtype=np.uint16)
    rice, sizes = np.zeros(shape[:2], dtype=np.uint8), np.zeros(shape[:2], dtype=np.uint16)
    coded = []
    for block, classes in enumerate(layer.blocks):
        for number, segments in enumerate(classes):
            levels[block, number, :segments.levels.size] = segments.levels
            counts[block, number, :segments.counts.size] = segments.counts
            rice[block, number], sizes[block, number] = segments.rice, feature_words(segments, BYTE)
            coded.append(encode_class(segments, BYTE).reshape(-1))
    return {
        "kinds": np.array([_KINDS.index(segments.kind) for segments in layer.classes], dtype=np.uint8),
        "ends": np.array([segments.end for segments in layer.classes], dtype=np.uint16),
        "levels": levels,
        "counts": counts,
        "rice": rice,
        "bytes": sizes,
        "segments": np.concatenate(coded),
        "bias": layer.bias,
        "mul": layer.mul,
    }


def from_bytes(content: bytes, name: str = "Model file") -> Network:
    """The network of a model file's bytes; ``name`` begins the messages of a FormatError."""
    header = _Header.read(content, name)
    if header.crc(content) != header.stored_crc(content):
        raise FormatError(f"{name} is damaged: its CRC-32 is {header.crc(content):#010x}, it says {header.stored_crc(content):#010x}")
    try:
        tensors = safetensors.numpy.load(content)
        layers = tuple(_layer(fields, tensors, f"layers.{number}.") for number, fields in enumerate(header.metadata["layers"]))
        return Network(layers, InputSteps(header.metadata["input_scale"]), tensors["input_class"], tensors["output_scale"])
    except KeyError as error:
        raise FormatError(f"{name} is incomplete: it has no {error.args[0]}") from error
    except (ModelError, FormatError, TypeError, ValueError, IndexError, safetensors.SafetensorError) as error:
        raise FormatError(f"{name} is damaged: {error}") from error


@dataclass(frozen=True)
class _Header:
    """The header of a safetensors file, checked before its contents are trusted.

    Members
    -------
    metadata : dict
    crc_field : slice
        Bytes of the file that hold its CRC-32.
    """

    metadata: dict[str, Any]
    crc_field: slice

    @classmethod
    def read(cls, content: bytes | bytearray, name: str) -> _Header:
        if content[:4] == MAGIC.to_bytes(4, "little"):
            raise FormatError(f"{name} is an image: give the model file (.safetensors) that it was packed from")
        start = 8 + int.from_bytes(content[:8], "little")
        if len(content) < start:
            raise FormatError(f"{name} is truncated or not a safetensors file: it has {len(content)} bytes, its header would end at {start}")
        try:
            header = json.loads(bytes(content[8:start]))
            end = start + max(entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__")
        except (ValueError, TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
            raise FormatError(f"{name} is damaged or not a safetensors file: its header is not readable") from error
        if len(content) != end:
            problem = "truncated" if len(content) < end else "damaged"
            raise FormatError(f"{name} is {problem}: it has {len(content)} bytes, its header says {end}")
        try:
            metadata = json.loads(header["__metadata__"][METADATA_KEY])
            version = metadata["version"]
            crc_start = start + int(header["crc32"]["data_offsets"][0])
        except (ValueError, TypeError, KeyError) as error:
            raise FormatError(f"{name} is not a permfc model file: compress a trained network with `permfc compress` first") from error
        if version != MODEL_VERSION:
            raise FormatError(f"{name} has format version {version!r}, this program reads version {MODEL_VERSION}: compress the network again")
        return cls(metadata, slice(crc_start, crc_start + 4))

    def stored_crc(self, content: bytes) -> int:
        return int.from_bytes(content[self.crc_field], "little")

    def crc(self, content: bytes) -> int:
        """CRC-32 of the file with the stored one taken as zero."""
        before, after = content[:self.crc_field.start], content[self.crc_field.stop:]
        return zlib.crc32(after, zlib.crc32(bytes(4), zlib.crc32(before)))


def _layer(fields: dict[str, Any], tensors: dict[str, np.ndarray], prefix: str) -> Layer:
    outputs, block_outputs = fields["outputs"], fields["block_outputs"]
    kinds = [_KINDS[kind] for kind in tensors[prefix + "kinds"]]
    ends = tensors[prefix + "ends"].tolist()
    coded, offset = tensors[prefix + "segments"], 0
    blocks = []
    for block, part in enumerate(block_rows(outputs, block_outputs)):
        rows, classes = part.stop - part.start, []
        for number, (kind, first, end) in enumerate(zip(kinds, [0, *ends[:-1]], ends, strict=True)):
            code = {name: tensors[prefix + name][block, number] for name in ("levels", "counts", "rice")}
            size = int(tensors[prefix + "bytes"][block, number])
            stored = coded[offset:offset + (end - first) * size].reshape(end - first, size)
            segments = _read_class(stored, kind, first, rows, **code)
            if feature_words(segments, BYTE) != size:
                raise FormatError(f"{prefix}bytes of block {block}, class {number} is {size} instead of {feature_words(segments, BYTE)}")
            classes.append(segments)
            offset += stored.size
        blocks.append(tuple(classes))
    if offset != coded.size:
        raise FormatError(f"{prefix}segments has {coded.size} bytes, its classes take {offset}")
    named = {name: tensors[prefix + name] for name in ("bias", "mul")}
    return Layer(blocks=tuple(blocks), **named, **fields)


def _read_class(coded: np.ndarray, kind: Kind, first: int, outputs: int, levels: np.ndarray, counts: np.ndarray, rice: np.uint8) -> Segments:
    """The class with the segments ``coded``, uint8 [n, bytes]."""
    if kind is Kind.EMPTY:
        return Segments.empty(first, len(coded), outputs)
    if kind is Kind.DENSE8:
        halves = np.split(coded, 2, axis=1)
        return Segments.dense8(first, join_nibbles(*(decode(half, code_aux(NIBBLE_LENGTHS), outputs) for half in halves)))
    if kind is Kind.SPARSE:
        levels = levels[:np.count_nonzero(levels)].copy()
        check_sparse_code(levels, rice)
        table = sparse_table(levels, int(rice))
        return Segments.sparse(first, levels, sparse_code(table)[1][decode(coded, table["aux"], outputs)], int(rice))
    levels, counts = levels[:np.count_nonzero(counts)].copy(), counts[:np.count_nonzero(counts)].astype(np.int64)
    indices = decode(coded, code_aux(code_lengths(counts)), outputs)
    return Segments(kind, first, first + len(coded), outputs, levels, counts, indices)

"""The compressed model on disk: a ``.safetensors`` file that does not depend on any device (docs/format.md, "Model file")."""

from __future__ import annotations

import json
import os
import zlib
from typing import Any

import numpy as np
import safetensors.numpy

from ..errors import FormatError, ModelError
from ..files import read_file, write_file
from ..format import MAX_LEVELS
from ..network import MAX_SIZE, InputSteps, Kind, Layer, Network, Segments, block_rows
from ..network.huffman import code_lengths
from ..network.output_scale import join_scale, split_scale
from ..network.segments import check_array, check_integer, check_sparse_code
from .codec import NIBBLE_LENGTHS, code_aux, decode, encode_class, feature_words, join_nibbles, sparse_code, sparse_table
from .model_header import METADATA_KEY, MODEL_VERSION, ModelHeader

BYTE = 8  # segments are padded to bytes, not to the words of any bus

_SIZES = ("features", "outputs", "block_outputs", "shift")
_SWITCHES = ("relu", "raw")
_VECTORS = {"kinds": np.uint8, "ends": np.uint16, "segments": np.uint8}
_TABLES = {"levels": (np.int8, MAX_LEVELS), "counts": (np.uint16, MAX_LEVELS), "rice": (np.uint8,), "bytes": (np.uint16,)}
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
    steps = network.input_steps
    exponent, scale = split_scale(network.output_scale)
    optional: dict[str, np.ndarray | None] = {"exponents": steps.exponents, "zeros": steps.zeros}
    tensors = {"crc32": np.zeros(1, dtype=np.uint32), "input_class": network.input_class, "output_scale": scale}
    for number, layer in enumerate(network.layers):
        optional[f"layers.{number}.table"] = layer.table
        tensors |= {f"layers.{number}.{name}": np.ascontiguousarray(tensor) for name, tensor in _layer_tensors(layer).items()}
    tensors |= {name: tensor for name, tensor in optional.items() if tensor is not None}
    metadata = {
        "version": MODEL_VERSION,
        "input_scale": steps.scale,
        "output_exponent": exponent,
        "layers": [_layer_metadata(layer) for layer in network.layers],
    }
    # All metadata under one key: safetensors writes several keys in random order.
    content = bytearray(safetensors.numpy.save(tensors, {METADATA_KEY: json.dumps(metadata)}))
    content[ModelHeader.read(content, "Model file").crc_field] = zlib.crc32(content).to_bytes(4, "little")
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
    header = ModelHeader.read(content, name)
    if header.crc(content) != header.stored_crc(content):
        raise FormatError(f"{name} is damaged: its CRC-32 is {header.crc(content):#010x}, it says {header.stored_crc(content):#010x}")
    try:
        tensors = safetensors.numpy.load(content)
        layers = tuple(_layer(fields, tensors, f"layers.{number}.") for number, fields in enumerate(header.metadata["layers"]))
        steps = InputSteps(_input_scale(header.metadata["input_scale"]), tensors.get("exponents"), tensors.get("zeros"))
        return Network(layers, steps, tensors["input_class"], _output_scale(header.metadata["output_exponent"], tensors["output_scale"]))
    except KeyError as error:
        raise FormatError(f"{name} is incomplete: it has no {error.args[0]}") from error
    except (ModelError, FormatError, TypeError, ValueError, IndexError, safetensors.SafetensorError) as error:
        raise FormatError(f"{name} is damaged: {error}") from error


def _input_scale(value: Any) -> float:
    if not isinstance(value, float):
        raise FormatError(f"input_scale must be a floating-point number, not {str(value)[:20]}")
    return value


def _output_scale(exponent: Any, halves: np.ndarray) -> np.ndarray:
    check_integer("output_exponent", exponent, -128, 127)
    check_array("output_scale", halves, np.float16, (halves.size,))
    return join_scale(exponent, halves)


def _check_fields(fields: dict[str, Any], prefix: str) -> None:
    """Raise ModelError or FormatError unless the metadata of a layer have the types and sizes of any layer, before they size anything."""
    for name in _SIZES:
        check_integer(prefix + name, fields[name], 1, MAX_SIZE)
    for name in _SWITCHES:
        if not isinstance(fields[name], bool):
            raise FormatError(f"{prefix}{name} must be true or false, not {str(fields[name])[:20]!r}")
    for name in set(fields) - {*_SIZES, *_SWITCHES}:
        raise FormatError(f"{prefix[:-1]} must have {', '.join((*_SIZES, *_SWITCHES))} and nothing else, not also {name[:20]}")


def _checked_tensors(tensors: dict[str, np.ndarray], prefix: str, blocks: int) -> dict[str, np.ndarray]:
    """The tensors that describe a layer's classes; their shapes prove that the file is as long as blocks and classes are many."""
    own = {name: tensors[prefix + name] for name in (*_VECTORS, *_TABLES)}
    for name, dtype in _VECTORS.items():
        check_array(prefix + name, own[name], dtype, (own[name].size,))
    for name, (dtype, *entries) in _TABLES.items():
        check_array(prefix + name, own[name], dtype, (blocks, own["kinds"].size, *entries))
    return own


def _layer(fields: dict[str, Any], tensors: dict[str, np.ndarray], prefix: str) -> Layer:
    _check_fields(fields, prefix)
    parts = block_rows(fields["outputs"], fields["block_outputs"])
    own = _checked_tensors(tensors, prefix, len(parts))
    kinds, ends, coded = [_KINDS[kind] for kind in own["kinds"].tolist()], own["ends"].tolist(), own["segments"]
    blocks, offset = [], 0
    for block, part in enumerate(parts):
        rows, classes = part.stop - part.start, []
        for number, (kind, first, end) in enumerate(zip(kinds, [0, *ends[:-1]], ends, strict=True)):
            *code, size = (own[name][block, number] for name in _TABLES)
            stored = coded[offset:offset + (end - first) * int(size)].reshape(end - first, size)
            segments = _read_class(stored, kind, first, rows, *code)
            if feature_words(segments, BYTE) != size:
                raise FormatError(f"{prefix}bytes of block {block}, class {number} is {size} instead of {feature_words(segments, BYTE)}")
            classes.append(segments)
            offset += stored.size
        blocks.append(tuple(classes))
    if offset != coded.size:
        raise FormatError(f"{prefix}segments has {coded.size} bytes, its classes take {offset}")
    named = {name: tensors[prefix + name] for name in ("bias", "mul")}
    return Layer(blocks=tuple(blocks), table=tensors.get(prefix + "table"), **named, **fields)


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

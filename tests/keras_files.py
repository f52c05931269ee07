"""Small Keras files in exactly the layouts that Keras 2 and 3 write, made without Keras, and what their graphs give."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
import onnx
import onnxruntime

from permfc.importers.keras_file import keras_to_onnx

Variables = Mapping[str, Mapping[str, np.ndarray]]  # of each layer by name, in Keras's order


def layer(kind: str, name: str, **config: object) -> dict:
    """A layer as Keras 3 describes it."""
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, "trainable": True, "dtype": "float32"} | config,
        "registered_name": None,
        "name": name,
    }


def source(name: str, *shape: int | None, **config: object) -> dict:
    """An input layer."""
    return layer("InputLayer", name, batch_shape=[None, *shape], sparse=False, ragged=False) | {
        "inbound_nodes": []
    }


def sequential(*layers: dict, name: str = "sequential") -> dict:
    return {
        "module": "keras",
        "class_name": "Sequential",
        "config": {"name": name, "layers": list(layers)},
        "registered_name": None,
    }


def functional(layers: list[dict], inputs: object, outputs: object, name: str = "functional") -> dict:
    config = {"name": name, "layers": layers, "input_layers": inputs, "output_layers": outputs}
    return {
        "module": "keras.src.models.functional",
        "class_name": "Functional",
        "config": config,
        "registered_name": "Functional",
    }


def called(entry: dict, *calls: list[tuple], **options: object) -> dict:
    """A layer of a functional model with the results (layer, call, index) that each call takes, as Keras
    3 writes them."""
    return entry | {"inbound_nodes": [{"args": [_tensors(call)], "kwargs": options} for call in calls]}


def _tensors(call: list[tuple]) -> object:
    tensors = [
        {
            "class_name": "__keras_tensor__",
            "config": {"shape": [None], "dtype": "float32", "keras_history": list(history)},
        }
        for history in call
    ]
    return tensors[0] if len(tensors) == 1 else tensors


def called_2(entry: dict, *calls: list[tuple]) -> dict:
    """The same as Keras 2 writes it."""
    plain = {key: value for key, value in entry.items() if key not in ("module", "registered_name")}
    return plain | {"inbound_nodes": [[[*history, {}] for history in call] for call in calls]}


def numbered(group: h5py.Group, model: dict, variables: Variables) -> None:
    """Weights as Keras 3 writes them."""
    counts: dict[str, int] = {}
    container = group.create_group("layers")
    for entry in model["config"]["layers"]:
        kind = {
            "Dense": "dense",
            "BatchNormalization": "batch_normalization",
            "PReLU": "p_re_lu",
            "Sequential": "sequential",
            "Functional": "functional",
        }.get(entry["class_name"], entry["class_name"].lower())
        counts[kind] = counts.get(kind, -1) + 1
        inner = container.create_group(f"{kind}_{counts[kind]}" if counts[kind] else kind)
        name = entry["config"]["name"]
        if "layers" in entry["config"]:
            numbered(inner, entry, variables)
        holder = inner.create_group("vars")
        holder.attrs["name"] = name
        for index, array in enumerate(variables.get(name, {}).values()):
            holder[str(index)] = array


def named(group: h5py.Group, model: dict, variables: Variables, ending: str = "") -> None:
    """Weights as Keras 2 (with the ending ``:0``) and the .h5 files of Keras 3 hold them."""
    entries = model["config"]["layers"]
    group.attrs["layer_names"] = np.array([entry["config"]["name"].encode() for entry in entries])
    for entry in entries:
        inner = group.create_group(entry["config"]["name"])
        leaves = [leaf["config"]["name"] for leaf in entry["config"].get("layers", [entry])]
        arrays = {
            f"{leaf}/{variable}{ending}": array
            for leaf in leaves
            for variable, array in variables.get(leaf, {}).items()
        }
        inner.attrs["weight_names"] = np.array([key.encode() for key in arrays]) if arrays else np.zeros(0)
        for key, array in arrays.items():
            inner[key] = array


def write_keras(
    path: Path, model: dict, variables: Variables, version: str = "3.15.1", **replaced: bytes
) -> Path:
    """A ``.keras`` archive; ``replaced`` are members given as they are."""
    stream = io.BytesIO()
    with h5py.File(stream, "w") as file:
        numbered(file, model, variables)
    members = {
        "metadata.json": json.dumps({"keras_version": version, "date_saved": "2026-01-01@00:00:00"}).encode(),
        "config.json": json.dumps(model).encode(),
        "model.weights.h5": stream.getvalue(),
    } | replaced
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def write_h5(path: Path, model: dict, variables: Variables, version: str = "3.15.1") -> Path:
    """A whole model in HDF5."""
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"] = version
        file.attrs["model_config"] = json.dumps(model)
        named(file.create_group("model_weights"), model, variables, "" if version[0] == "3" else ":0")
    return path


def write_pair(
    folder: Path, name: str, model: dict, variables: Variables, version: int = 2
) -> tuple[Path, Path]:
    """A description and its weights."""
    told = model if version == 3 else model | {"keras_version": "2.2.4", "backend": "tensorflow"}
    (folder / f"{name}.json").write_text(json.dumps(told), encoding="utf-8")
    weights = folder / f"{name}{'.weights.h5' if version == 3 else '_weights.h5'}"
    with h5py.File(weights, "w") as file:
        if version == 3:
            numbered(file, model, variables)
        else:
            named(file, model, variables, ":0")
    return folder / f"{name}.json", weights


def run(path, *inputs) -> list[np.ndarray]:
    """The results of a file's graph, which must be whole."""
    model = keras_to_onnx(path)
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, dict(zip([value.name for value in session.get_inputs()], inputs, strict=True)))


def softmax(x):
    raised = np.exp(x - x.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)

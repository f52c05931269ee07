"""The graph that a Keras model's description tells: chains and functional models, also as layers of
others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import NamedTuple, NoReturn

from ..errors import ModelError
from .keras_layer import CURE, KerasLayer
from .keras_layers import translate
from .keras_weights import NamedWeights, NumberedWeights
from .onnx_builder import OnnxBuilder, Tensor

MODELS = ("Sequential", "Functional", "Model")
_OPERATIONS = (
    "Add",
    "Subtract",
    "Multiply",
    "Maximum",
    "Minimum",
)  # of keras.ops, that are as the layers of these names
_ORIGINS = ("keras", "tf_keras", "tensorflow", "builtins")

Weights = NumberedWeights | NamedWeights


class Reference(NamedTuple):
    """A result: of which layer, of which of its calls, and which one of that call's results."""

    layer: str
    call: int
    index: int


@dataclass(frozen=True)
class Entry:
    """A layer of a description: its name, class, configuration, and the results that each of its calls
    takes."""

    name: str
    kind: str
    config: dict
    calls: tuple[tuple[Reference, ...], ...]


class Description:
    """A model's description, checked for what is not Keras's own.

    Members
    -------
    file : str
        Where it is from.
    sequential : bool
    entries : tuple of Entry
    """

    def __init__(self, model: object, file: str) -> None:
        self.file = file
        self._inner: dict[str, Description] = {}
        if not isinstance(model, dict) or model.get("class_name") not in MODELS or _is_custom(model):
            kind = model.get("class_name") if isinstance(model, dict) else model
            raise ModelError(
                f"{file} describes a model of class {kind!r}, not one of {', '.join(MODELS)}: {CURE}"
            )
        self.sequential = model["class_name"] == "Sequential"
        config = model.get("config")
        self.config = (
            {"layers": config} if isinstance(config, list) else config
        )  # Keras before 2.2.3 writes a bare list
        layers = self.config.get("layers") if isinstance(self.config, dict) else None
        if not isinstance(layers, list) or not layers:
            self.damaged("it has no layers")
        entries = [self._entry(layer) for layer in layers]
        self._shifted_ends, shifted = _shifted(entries, layers, self.config)
        self.entries = tuple(
            replace(entry, calls=tuple(_shift(call, shifted) for call in entry.calls)) for entry in entries
        )
        if len({entry.name for entry in self.entries}) < len(self.entries):
            self.damaged("two of its layers have the same name")

    def inner(self, entry: Entry) -> Description:
        """The description of a layer that is a model."""
        if entry.name not in self._inner:
            self._inner[entry.name] = Description(entry.config, self.file)
        return self._inner[entry.name]

    @property
    def layers(self) -> list[tuple[str, str]]:
        """Value of the names and classes of the layers."""
        return [(entry.name, entry.kind) for entry in self.entries]

    def damaged(self, what: str) -> NoReturn:
        raise ModelError(
            f"The description of the model in {self.file} is damaged, {what}: save the model again with Keras"
        )

    def _entry(self, layer: object) -> Entry:
        config = layer.get("config") if isinstance(layer, dict) else None
        if not isinstance(config, dict) or not isinstance(layer.get("class_name"), str):
            self.damaged("one of its layers has no class or configuration")
        kind, name = layer["class_name"], layer.get("name", config.get("name"))
        if not isinstance(name, str) or not name:
            self.damaged(f"a layer of class {kind} has no name")
        if kind == "Lambda":
            raise ModelError(
                f"Layer {name!r} of {self.file} is a Lambda layer, whose Python code is never "
                f"executed: {CURE}"
            )
        if _is_custom(layer):
            raise ModelError(
                f"Layer {name!r} of {self.file} is of class {kind}, which is not Keras's own: {CURE}"
            )
        if kind in MODELS:
            config = layer  # the whole description of an inner model
        return Entry(name, kind, config, tuple(self._calls(name, layer.get("inbound_nodes") or [])))

    def _calls(self, name: str, nodes: object) -> Iterator[tuple[Reference, ...]]:
        for node in (
            nodes if isinstance(nodes, list) else self.damaged(f"layer {name!r} has no list of inputs")
        ):
            arguments, options = (
                (node.get("args"), node.get("kwargs")) if isinstance(node, dict) else (node, {})
            )
            references = tuple(_references(arguments))
            extra = [options, *_options_of(arguments)]
            strange = next(
                (
                    f"{key}={value!r}"[:60]
                    for part in extra
                    for key, value in (part or {}).items()
                    if not (value is None or (key == "training" and value is False))
                ),
                None,
            )
            if strange or (isinstance(node, dict) and _leaves(arguments) != len(references)):
                raise ModelError(
                    f"Layer {name!r} of {self.file} is called with "
                    f"{strange or 'something that is no tensor'}: {CURE}"
                )
            yield references

    def ends(self, key: str) -> list[Reference]:
        """The results that are the model's inputs or outputs."""
        found = _shift(_references(self.config.get(key)), self._shifted_ends)
        return list(found) or self.damaged(f"it has no {key}")


def _shifted(entries: Sequence[Entry], layers: Sequence[dict], config: dict) -> tuple[set[str], set[str]]:
    """The inner models whose calls count from 1, in the model's results and in what layers take: call 0
    was the one that made them.

    Keras 2 counts so in both places where the model knew its inputs early, Keras 3 in the results only,
    for all but Sequential models.
    """
    models = [entry for entry in entries if entry.kind in MODELS]
    if any(isinstance(node, dict) for layer in layers for node in layer.get("inbound_nodes") or []):
        return {entry.name for entry in models if entry.kind != "Sequential"}, set()
    last: dict[str, int] = {}
    for reference in (
        *(ref for entry in entries for call in entry.calls for ref in call),
        *_references(config.get("output_layers")),
    ):
        last[reference.layer] = max(last.get(reference.layer, 0), reference.call)
    both = {entry.name for entry in models if last.get(entry.name) == len(entry.calls)}
    return both, both


def _shift(references: Iterable[Reference], shifted: set[str]) -> tuple[Reference, ...]:
    """References whose calls count from 0."""
    return tuple(
        reference._replace(call=reference.call - 1) if reference.layer in shifted else reference
        for reference in references
    )


def _is_custom(layer: dict) -> bool:
    """Whether a class comes from elsewhere than Keras, or is an operation that is no layer."""
    module, registered = str(layer.get("module") or "keras"), str(layer.get("registered_name") or "")
    operation = ".ops." in module and layer.get("class_name") not in _OPERATIONS
    return module.split(".")[0] not in _ORIGINS or ">" in registered or operation


def _is_reference(value: object) -> bool:
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(isinstance(item, int) for item in value[1:3])
    )


def _references(value: object) -> Iterator[Reference]:
    """The results named in arguments of either version of Keras, in order; dictionaries by their keys,
    as Keras takes them."""
    if _is_reference(value):
        yield Reference(*value[:3])
    elif isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        yield from _references(value["config"]["keras_history"])
    elif isinstance(value, (list, dict)):
        for item in value if isinstance(value, list) else (value[key] for key in sorted(value)):
            yield from _references(item)


def _options_of(value: object) -> Iterator[dict]:
    """What Keras 2 writes behind each reference."""
    if _is_reference(value):
        yield from value[3:]
    elif isinstance(value, list):
        for item in value:
            yield from _options_of(item)


def _leaves(value: object) -> int:
    """How many values there are in arguments."""
    if isinstance(value, dict) and value.get("class_name") == "__keras_tensor__":
        return 1
    if isinstance(value, (list, dict)):
        return sum(_leaves(item) for item in (value if isinstance(value, list) else value.values()))
    return 1


@dataclass(frozen=True)
class Translator:
    """What all layers of a file share on their way to ONNX.

    Members
    -------
    file : str
        Where they are from.
    version : int
        Of Keras.
    builder : OnnxBuilder
    """

    file: str
    version: int
    builder: OnnxBuilder

    def run(
        self, model: Description, weights: Weights, inputs: Sequence[Tensor], prefix: str = ""
    ) -> list[Tensor]:
        """The results of a model for the given inputs."""
        if model.sequential:
            return self._chain(model, weights, inputs, prefix)
        return self._functional(model, weights, inputs, prefix)

    def _chain(
        self, model: Description, weights: Weights, inputs: Sequence[Tensor], prefix: str
    ) -> list[Tensor]:
        tensors = list(inputs)
        for entry in model.entries:
            if entry.kind != "InputLayer":
                tensors = self._call(model, entry, weights, tensors, prefix)
        return tensors

    def _functional(
        self, model: Description, weights: Weights, inputs: Sequence[Tensor], prefix: str
    ) -> list[Tensor]:
        results = _given(model, inputs)
        entries = {entry.name: entry for entry in model.entries}
        for name, call in _order(model):
            if (name, call) not in results:
                entry = entries[name]
                taken = [_pick(model, results, reference) for reference in entry.calls[call]]
                results[name, call] = self._call(model, entry, weights, taken, prefix)
        return [_pick(model, results, reference) for reference in model.ends("output_layers")]

    def _call(
        self, parent: Description, entry: Entry, weights: Weights, inputs: list[Tensor], prefix: str
    ) -> list[Tensor]:
        """The results of one layer, which may be a model."""
        if entry.kind not in MODELS:
            layer = KerasLayer(
                entry.name,
                entry.kind,
                entry.config,
                prefix + entry.name,
                self.file,
                self.version,
                self.builder,
                weights,
            )
            return [translate(layer, inputs)]
        model = parent.inner(entry)
        return self.run(model, weights.inner(entry.name, model.layers), inputs, f"{prefix}{entry.name}/")


def _given(model: Description, inputs: Sequence[Tensor]) -> dict[tuple[str, int], list[Tensor]]:
    """The inputs as results of the input layers."""
    sources = model.ends("input_layers")
    if len(sources) != len(inputs):
        model.damaged(f"an inner model takes {len(sources)} tensors but gets {len(inputs)}")
    return {(source.layer, source.call): [tensor] for source, tensor in zip(sources, inputs, strict=True)}


def _pick(model: Description, results: dict[tuple[str, int], list[Tensor]], reference: Reference) -> Tensor:
    found = results.get((reference.layer, reference.call), [])
    return (
        found[reference.index]
        if 0 <= reference.index < len(found)
        else model.damaged(f"layer {reference.layer!r} has no such result")
    )


def _order(model: Description) -> list[tuple[str, int]]:
    """The calls of all layers, each behind those whose results it takes."""
    needs = {
        (entry.name, index): [(reference.layer, reference.call) for reference in call]
        for entry in model.entries
        for index, call in enumerate(entry.calls)
    }
    known = {*needs, *((source.layer, source.call) for source in model.ends("input_layers"))}
    lost = next((source for sources in needs.values() for source in sources if source not in known), None)
    if lost:
        model.damaged(f"it takes results of call {lost[1]} of layer {lost[0]!r}, which there is not")
    try:
        return [call for call in TopologicalSorter(needs).static_order() if call in needs]
    except CycleError:
        model.damaged("its layers depend on one another in a circle")

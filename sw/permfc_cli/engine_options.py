"""The options that choose an engine: ``--device`` and one option for each parameter of EngineConfig."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from permfc.config import EngineConfig
from permfc_boards.devices import DEVICES, FpgaDevice, device

_PANEL = "Engine"
_HELP = {
    "lanes": "Features decoded side by side.",
    "bus_bits": "Width of the memory bus.",
    "block_outputs": "Most outputs in one output block.",
    "features": "Most inputs or outputs of a layer.",
    "levels": "Most levels of a common sequence, 8 or 16.",
    "outstanding": "Most memory reads in flight.",
    "accumulator_bits": "Width of an accumulator.",
    "tables": "Whether layers can have functions other than ReLU and clamps.",
}


@dataclasses.dataclass(frozen=True)
class EngineChoice:
    """What the user said about the engine.

    Members
    -------
    device_name : str or None
    parameters : dict of str to int
        The parameters of EngineConfig that were given.
    """

    device_name: str | None
    parameters: dict[str, int]

    @property
    def device(self) -> FpgaDevice | None:
        """Value of the named device."""
        return device(self.device_name) if self.device_name is not None else None

    def config(self, **defaults: int) -> EngineConfig:
        """The engine: the device's, or that of EngineConfig changed by ``defaults``, changed by what the user gave."""
        base = self.device.config if self.device else EngineConfig(**defaults)
        return dataclasses.replace(base, **self.parameters)


def takes_engine(command: Callable[..., None]) -> Callable[..., None]:
    """Replace the parameter ``engine: EngineChoice`` of a subcommand by the options that make one."""
    signature = inspect.signature(command, eval_str=True)
    types = {field.name: type(field.default) for field in dataclasses.fields(EngineConfig)}
    names = list(types)
    device_help = f"Engine preset: {', '.join(DEVICES)}."
    options = {"device": Annotated[str | None, typer.Option(help=device_help, rich_help_panel=_PANEL)]}
    for name in names:
        options[name] = Annotated[types[name] | None, typer.Option(help=_HELP[name], rich_help_panel=_PANEL)]

    @functools.wraps(command)
    def wrapper(**values: Any) -> None:
        given = {name: values.pop(name) for name in names}
        choice = EngineChoice(values.pop("device"), {name: value for name, value in given.items() if value is not None})
        command(**values, engine=choice)

    own = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for name, parameter in signature.parameters.items() if name != "engine"]
    added = [inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind) for name, kind in options.items()]
    wrapper.__signature__ = signature.replace(parameters=own + added)
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in own + added}
    return wrapper

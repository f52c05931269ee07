"""Part files: JSON whose every field is checked, with quantities written as a number and its unit ("20 ns")."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from .part import DramPart, DramTiming, FlashPart, Part, Rail, field_names

_UNITS = {
    "ns": {"ps": 1e-3, "ns": 1.0, "us": 1e3, "ms": 1e6},
    "mA": {"uA": 1e-3, "mA": 1.0, "A": 1e3},
    "V": {"V": 1.0},
    "pJ": {"pJ": 1.0},
    "MiB": {"KiB": 2**10, "MiB": 2**20},
}
# Counts that have only a few lawful values, by kind of memory.
_DRAM_RATES = {"sdr": 1, "ddr3": 2, "ddr4": 2, "lpddr3": 2, "lpddr4": 2}
_QUAD_READ = {"width": 4, "data_rate": 1, "command_clocks": 12}  # 0xEB: 6 clocks of address, 2 of mode, 4 dummy clocks
_NON_ZERO_TIMES = ("tck", "trcd", "trp", "tras", "trc", "trrd", "trfc", "trefi")


def part_names() -> list[str]:
    """The names of the parts that come with permfc."""
    entries = resources.files(__package__).joinpath("parts").iterdir()
    return sorted(entry.name.removesuffix(".json") for entry in entries if entry.name.endswith(".json"))


def load_part(part: str | os.PathLike[str]) -> Part:
    """Load a part by name, or from a JSON file of one's own.

    Parameters
    ----------
    part : str or path
        One of ``part_names()``, or the path of a file ending in ``.json``.

    Returns
    -------
    Part

    Raises
    ------
    ConfigError
        If there is no such part, or a field is missing, unknown, without its unit, or impossible; the message names file and field.
    """
    name = os.fspath(part)
    if not name.endswith(".json"):
        if name not in part_names():
            raise ConfigError(f"There is no part {name!r}: choose one of {', '.join(part_names())}, or give a .json file")
        text = resources.files(__package__).joinpath("parts", f"{name}.json").read_text(encoding="utf-8")
        return _Fields(f"{name}.json", "", _parse(name, text)).part()
    try:
        text = Path(name).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"Cannot read part file {name}: {error}") from error
    return _Fields(name, "", _parse(name, text)).part()


def _parse(name: str, text: str) -> Any:
    try:
        return json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ConfigError(f"Part file {name} is not JSON: {error}") from error


class _Fields:
    """The fields of one JSON object, which know where they stand."""

    def __init__(self, file: str, where: str, content: Any) -> None:
        self._file, self._where, self._content = file, where, content
        if not isinstance(content, dict):
            raise ConfigError(f"{file}: {where.rstrip('.') or 'the file'} must be an object of named fields, not {content!r}")

    def error(self, field: str, rule: str) -> ConfigError:
        return ConfigError(f"{self._file}: {self._where}{field} {rule}, not {self._content.get(field)!r}")

    def only(self, names: tuple[str, ...]) -> None:
        for name in names:
            if name not in self._content:
                raise ConfigError(f"{self._file}: {self._where}{name} is missing")
        for name in self._content:
            if name not in names:
                raise ConfigError(f"{self._file}: {self._where}{name} is not a field: known are {', '.join(names)}")

    def nested(self, field: str) -> _Fields:
        return _Fields(self._file, f"{self._where}{field}.", self._content[field])

    def text(self, field: str) -> str:
        if not isinstance(self._content[field], str) or not self._content[field].strip():
            raise self.error(field, "must be a text")
        return self._content[field]

    def count(self, field: str) -> int:
        value = self._content[field]
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise self.error(field, "must be a positive integer")
        return value

    def power_of_two(self, field: str) -> int:
        value = self.count(field)
        if value & (value - 1):
            raise self.error(field, "must be a power of two")
        return value

    def quantity(self, field: str, unit: str, positive: bool = False) -> float:
        """The value of a field such as "20 ns", in ``unit``."""
        match = re.fullmatch(r"([0-9.eE+-]+) ([A-Za-z]+)", str(self._content[field]))
        scale = _UNITS[unit].get(match[2]) if match else None
        if scale is None:
            raise self.error(field, f"must be a number with a unit ({', '.join(_UNITS[unit])})")
        try:
            value = float(match[1]) * scale
        except ValueError:
            raise self.error(field, "must start with a number") from None
        if not math.isfinite(value) or value < 0 or (positive and value == 0):
            raise self.error(field, "must be more than zero" if positive else "must not be negative")
        return value

    def each(self, field: str, read: Callable[[_Fields, str], Any]) -> dict[str, Any]:
        """All fields of the object ``field``, which must not be empty."""
        inner = self.nested(field)
        if not inner._content:
            raise self.error(field, "must not be empty")
        return {name: read(inner, name) for name in inner._content}

    def part(self) -> Part:
        if "kind" not in self._content:
            raise ConfigError(f"{self._file}: kind is missing")
        if self._content["kind"] == "qspi":
            return self.flash()
        if self._content["kind"] in list(_DRAM_RATES):  # a list, so that anything may stand there
            return self.dram()
        raise self.error("kind", f"must be one of {', '.join([*_DRAM_RATES, 'qspi'])}")

    def dram(self) -> DramPart:
        self.only(field_names(DramPart))
        if self.count("data_rate") != _DRAM_RATES[self.text("kind")]:
            raise self.error("data_rate", f"of {self.text('kind')} must be {_DRAM_RATES[self.text('kind')]}")
        sizes = {name: self.power_of_two(name) for name in ("width", "banks", "rows", "columns", "burst_length")}
        rails = self.each("rails", _Fields.rail)
        return DramPart(
            name=self.text("name"),
            kind=self.text("kind"),
            data_rate=self.count("data_rate"),
            timing=self.nested("timing").timing(),
            rails=tuple(rails.values()),
            io_pj_per_bit=self.quantity("io_pj_per_bit", "pJ"),
            sources=self.each("sources", _Fields.text),
            **sizes,
        )

    def timing(self) -> DramTiming:
        names = field_names(DramTiming)
        self.only(names)
        times = {name: self.quantity(name, "ns", name in _NON_ZERO_TIMES) for name in names if name != "cas_tck"}
        for shorter, longer in (("tras", "trc"), ("trfc", "trefi")):
            if times[shorter] > times[longer]:
                raise self.error(longer, f"must not be shorter than {shorter}")
        latencies = self.each("cas_tck", _Fields.latency)
        return DramTiming(cas_tck=dict(latencies.values()), **times)

    def latency(self, field: str) -> tuple[int, float]:
        if not field.isdecimal() or int(field) < 1:
            raise ConfigError(f"{self._file}: {self._where}{field} must be named by a CAS latency in clocks, such as \"3\"")
        return int(field), self.quantity(field, "ns", positive=True)

    def rail(self, field: str) -> Rail:
        inner = self.nested(field)
        names = field_names(Rail)[1:]
        inner.only(names)
        currents = {name: inner.quantity(name, "mA") for name in names if name != "volts"}
        for name, base in (("idd2n", "idd2p"), ("idd3n", "idd2n"), ("idd0", "idd3n"), ("idd4r", "idd3n"), ("idd4w", "idd3n"), ("idd5", "idd3n")):
            if currents[name] < currents[base]:
                raise inner.error(name, f"must not be less than {base}: a command adds to the background")
        return Rail(name=field, volts=inner.quantity("volts", "V", positive=True), **currents)

    def read_current(self, field: str) -> tuple[float, float]:
        match = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?) MHz", field)
        if not match or float(match[1]) == 0:
            raise ConfigError(f"{self._file}: {self._where}{field} must be named by a clock such as \"50 MHz\"")
        return float(match[1]), self.quantity(field, "mA", positive=True)

    def flash(self) -> FlashPart:
        self.only(field_names(FlashPart))
        for name, value in _QUAD_READ.items():
            if self.count(name) != value:
                raise self.error(name, f"of qspi must be {value}")
        size = self.quantity("size", "MiB", positive=True)
        if size != int(size):
            raise self.error("size", "must be whole bytes")
        return FlashPart(
            name=self.text("name"),
            kind=self.text("kind"),
            size=int(size),
            **_QUAD_READ,
            tck=self.quantity("tck", "ns", positive=True),
            txp=self.quantity("txp", "ns"),
            volts=self.quantity("volts", "V", positive=True),
            read=dict(self.each("read", _Fields.read_current).values()),
            standby=self.quantity("standby", "mA"),
            power_down=self.quantity("power_down", "mA"),
            io_pj_per_bit=self.quantity("io_pj_per_bit", "pJ"),
            sources=self.each("sources", _Fields.text),
        )

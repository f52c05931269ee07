"""Part files field by field, presets, and timing in clocks."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path

import pytest

from permfc.errors import ConfigError
from permfc.memory import MEMORY_NAMES, DramPart, Memory, load_part, memory, part_names


def changed(path: Path, name: str, change: Callable[[dict], None]) -> Path:
    """A copy of a shipped part file, changed."""
    content = json.loads(resources.files("permfc.memory").joinpath("parts", f"{name}.json").read_text())
    change(content)
    path = path / "part.json"
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("name", part_names())
def test_every_shipped_part_loads_and_states_its_sources(name: str) -> None:
    part = load_part(name)
    assert part.name == name
    assert {"timing", "currents", "io"} <= part.sources.keys()


def test_sizes_and_peaks() -> None:
    assert memory("sdr-100").capacity == 32 * 2**20
    assert memory("sdr-100").peak_bytes_per_second == 200e6
    assert memory("ddr3-300").peak_bytes_per_second == 600e6
    assert memory("ddr4-2400").bus_bits == 16
    assert memory("ddr4-2400").peak_bytes_per_second == 4800e6
    assert memory("qspi-48").peak_bytes_per_second == 24e6
    assert [name for name in MEMORY_NAMES if memory(name).is_counted] == ["sdr-100", "sdr-133", "sdr-x32-100", "qspi-48"]


def test_timing_in_clocks() -> None:
    timing = load_part("MT48LC16M16A2-75").timing
    assert [timing.cycles(name, 100e6) for name in ("trcd", "trp", "tras", "trc", "trfc")] == [2, 2, 5, 7, 7]
    assert timing.cycles("trefi", 100e6) == 781  # 7.8125 us is a maximum
    assert [timing.cas_latency(clock) for clock in (25e6, 100e6, 133e6)] == [2, 2, 3]
    with pytest.raises(ConfigError, match="No CAS latency of this part works at 166 MHz: use 133.333 MHz or less"):
        timing.cas_latency(166e6)


def test_unknown_names_list_the_known() -> None:
    with pytest.raises(ConfigError, match="There is no memory 'sdr': choose one of sdr-100, .*, axi"):
        memory("sdr")
    with pytest.raises(ConfigError, match="There is no part 'MT48': choose one of .*MT48LC16M16A2-75.*, or give a .json file"):
        load_part("MT48")


def test_clocks_that_a_part_cannot_have() -> None:
    part = load_part("MT48LC16M16A2-75")
    with pytest.raises(ConfigError, match="The clock of memory mine must be more than 0 Hz, not 0"):
        Memory("mine", part, 0)
    with pytest.raises(ConfigError, match="MT48LC16M16A2-75 runs at 133.3 MHz at most, not at 166 MHz"):
        Memory("mine", part, 166e6)
    with pytest.raises(ConfigError, match="Memory mine needs at least one device, not 0"):
        Memory("mine", part, 100e6, 0)


def test_what_does_not_fit_says_by_how_much() -> None:
    memory("sdr-100").check_holds(32 * 2**20)
    memory("axi").check_holds(2**40)
    with pytest.raises(ConfigError, match="33554433 bytes are 1 more than memory sdr-100 holds"):
        memory("sdr-100").check_holds(32 * 2**20 + 1)


def set_field(*path: str, to: object) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        for name in path[:-1]:
            content = content[name]
        content[path[-1]] = to

    return change


def drop_field(*path: str) -> Callable[[dict], None]:
    def change(content: dict) -> None:
        for name in path[:-1]:
            content = content[name]
        del content[path[-1]]

    return change


@pytest.mark.parametrize(("change", "message"), [
    (drop_field("kind"), "kind is missing"),
    (set_field("kind", to="edo"), "kind must be one of sdr, ddr3, ddr4, lpddr3, lpddr4, qspi, not 'edo'"),
    (drop_field("banks"), "banks is missing"),
    (set_field("colour", to="green"), "colour is not a field: known are name, kind"),
    (set_field("banks", to=3), "banks must be a power of two, not 3"),
    (set_field("width", to="16"), "width must be a positive integer, not '16'"),
    (set_field("data_rate", to=2), "data_rate of sdr must be 1, not 2"),
    (drop_field("timing", "trcd"), "timing.trcd is missing"),
    (set_field("timing", "trcd", to=20), r"timing.trcd must be a number with a unit \(ps, ns, us, ms\), not 20"),
    (set_field("timing", "trcd", to="20 mA"), r"timing.trcd must be a number with a unit \(ps, ns, us, ms\), not '20 mA'"),
    (set_field("timing", "trcd", to="2.0.0 ns"), "timing.trcd must start with a number, not '2.0.0 ns'"),
    (set_field("timing", "tck", to="0 ns"), "timing.tck must be more than zero, not '0 ns'"),
    (set_field("timing", "twr", to="-1 ns"), "timing.twr must not be negative, not '-1 ns'"),
    (set_field("timing", "cas_tck", to={}), "timing.cas_tck must not be empty"),
    (set_field("timing", "cas_tck", to={"two": "10 ns"}), 'timing.cas_tck.two must be named by a CAS latency in clocks, such as "3"'),
    (set_field("rails", to={}), "rails must not be empty"),
    (set_field("rails", "vdd", to=3.3), "rails.vdd must be an object of named fields, not 3.3"),
    (drop_field("rails", "vdd", "idd4r"), "rails.vdd.idd4r is missing"),
    (set_field("rails", "vdd", "volts", to="0 V"), "rails.vdd.volts must be more than zero, not '0 V'"),
    (set_field("kind", to=["sdr"]), r"kind must be one of sdr, .*, not \['sdr'\]"),
    (set_field("timing", "trc", to="30 ns"), "timing.trc must not be shorter than tras, not '30 ns'"),
    (set_field("timing", "trefi", to="60 ns"), "timing.trefi must not be shorter than trfc, not '60 ns'"),
    (set_field("rails", "vdd", "idd0", to="1 mA"), "rails.vdd.idd0 must not be less than idd3n: .*, not '1 mA'"),
    (set_field("rails", "vdd", "idd2p", to="0.1 A"), "rails.vdd.idd2n must not be less than idd2p: .*, not '40 mA'"),
    (set_field("sources", "io", to=""), "sources.io must be a text, not ''"),
])
def test_a_wrong_field_is_named(tmp_path: Path, change: Callable[[dict], None], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_part(changed(tmp_path, "MT48LC16M16A2-75", change))
    assert "part.json: " in str(caught.value)


@pytest.mark.parametrize(("change", "message"), [
    (set_field("read", to={"fast": "20 mA"}), 'read.fast must be named by a clock such as "50 MHz"'),
    (set_field("read", to={"50 MHz": "20 V"}), "read.50 MHz must be a number with a unit"),
    (set_field("size", to="16 MB"), r"size must be a number with a unit \(KiB, MiB\), not '16 MB'"),
    (set_field("read", to={"1.2.3 MHz": "20 mA"}), 'read.1.2.3 MHz must be named by a clock such as "50 MHz"'),
    (set_field("read", to={"0 MHz": "20 mA"}), 'read.0 MHz must be named by a clock such as "50 MHz"'),
    (set_field("size", to="0.0001 KiB"), "size must be whole bytes, not '0.0001 KiB'"),
    (set_field("width", to=8), "width of qspi must be 4, not 8"),
    (set_field("data_rate", to=2), "data_rate of qspi must be 1, not 2"),
    (set_field("command_clocks", to=14), "command_clocks of qspi must be 12, not 14"),
    (drop_field("standby"), "standby is missing"),
])
def test_a_wrong_field_of_a_flash_is_named(tmp_path: Path, change: Callable[[dict], None], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_part(changed(tmp_path, "W25Q128JV", change))


def test_files_that_are_no_parts(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Cannot read part file .*absent.json"):
        load_part(tmp_path / "absent.json")
    for text in ("{", "[" * 100_000):
        (tmp_path / "broken.json").write_text(text)
        with pytest.raises(ConfigError, match="Part file .*broken.json is not JSON"):
            load_part(tmp_path / "broken.json")
    (tmp_path / "list.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"list.json: the file must be an object of named fields, not \[\]"):
        load_part(tmp_path / "list.json")


def test_units_are_converted(tmp_path: Path) -> None:
    def change(content: dict) -> None:
        content["timing"]["trcd"] = "20000 ps"
        content["rails"]["vdd"]["idd0"] = "0.125 A"

    part = load_part(changed(tmp_path, "MT48LC16M16A2-75", change))
    assert isinstance(part, DramPart)
    assert part.timing.trcd == pytest.approx(20)
    assert part.rails[0].idd0 == pytest.approx(125)

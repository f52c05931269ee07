"""The FPGA devices that permfc knows, each with the engine that fits it."""

from __future__ import annotations

from dataclasses import dataclass

from permfc.config import EngineConfig
from permfc.errors import ConfigError


@dataclass(frozen=True)
class FpgaDevice:
    """One FPGA: how the tools name it, and the engine built for it unless the user says otherwise.

    Members
    -------
    name : str
        What the command line calls it.
    part : str
        The vendor's name with package and speed grade.
    family : str
        ``"ecp5"`` or ``"ice40"``; selects ``synth_<family>`` and ``nextpnr-<family>``.
    nextpnr_arguments : tuple of str
        Device, package and speed grade for nextpnr.
    synthesis_options : str
        Options of yosys' ``synth_<family>``.
    target_mhz : float
        Clock frequency that place and route aims for, in MHz.
    config : EngineConfig
        The default engine.
    """

    name: str
    part: str
    family: str
    nextpnr_arguments: tuple[str, ...]
    synthesis_options: str
    target_mhz: float
    config: EngineConfig


DEVICES = {
    device.name: device
    for device in (
        FpgaDevice(
            name="ecp5-85k",
            part="LFE5U-85F-6BG756",
            family="ecp5",
            nextpnr_arguments=("--85k", "--package", "CABGA756", "--speed", "6"),
            synthesis_options="-nowidelut",  # smaller and no slower: a wide LUT takes two or four LUT4s
            target_mhz=100.0,
            config=EngineConfig(lanes=16, bus_bits=32),
        ),
        FpgaDevice(
            name="ecp5-25k",
            part="LFE5U-25F-6BG381",
            family="ecp5",
            nextpnr_arguments=("--25k", "--package", "CABGA381", "--speed", "6"),
            synthesis_options="-nowidelut",  # smaller and no slower: a wide LUT takes two or four LUT4s
            target_mhz=100.0,
            config=EngineConfig(lanes=16, bus_bits=32),
        ),
        FpgaDevice(
            name="up5k",
            part="ICE40UP5K-SG48",
            family="ice40",
            nextpnr_arguments=("--up5k", "--package", "sg48"),
            synthesis_options="-dsp -spram -abc9 -dff -device u",
            target_mhz=24.0,
            # 5,280 logic cells, 30 block RAMs of 4 kbit and four of 256 kbit, which hold the activations.
            config=EngineConfig(lanes=2, bus_bits=16, block_outputs=512, features=4096, levels=8, accumulator_bits=24, outstanding=2),
        ),
    )
}


def device(name: str) -> FpgaDevice:
    """The device called ``name``.

    Raises
    ------
    ConfigError
        If there is none; the message lists those there are.
    """
    try:
        return DEVICES[name]
    except KeyError:
        raise ConfigError(f"Device {name!r} is unknown; choose one of {', '.join(DEVICES)}") from None

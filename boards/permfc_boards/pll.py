"""PLL settings of ECP5 and iCE40 for a wanted clock, searched over what the vendor's tables allow."""

from __future__ import annotations

from dataclasses import dataclass

from permfc.errors import ConfigError

MHZ = 1e6


@dataclass(frozen=True)
class Ecp5Pll:
    """EHXPLLL with its feedback from CLKOP (Lattice FPGA-TN-02200, ECP5 sysCLOCK): clock = input * feedback_div / input_div.

    Members
    -------
    input_div, feedback_div, output_div : int
        CLKI_DIV, CLKFB_DIV and CLKOP_DIV.
    """

    input_div: int
    feedback_div: int
    output_div: int


@dataclass(frozen=True)
class Ice40Pll:
    """SB_PLL40 with simple feedback (Lattice FPGA-TN-02052, iCE40 sysCLOCK PLL): clock = input * (divf + 1) / (2**divq * (divr + 1)).

    Members
    -------
    divr, divf, divq, filter_range : int
    """

    divr: int
    divf: int
    divq: int
    filter_range: int


def ecp5_pll(input_hz: float, clock_hz: float) -> Ecp5Pll:
    """Settings that give exactly ``clock_hz``, with the oscillator (400 to 800 MHz) near the middle of its range.

    Raises
    ------
    ConfigError
        If there are none.
    """
    # The phase detector needs 10 MHz (ECP5 family data sheet FPGA-DS-02012, sysCLOCK PLL timing).
    for input_div in range(1, int(input_hz // (10 * MHZ)) + 1):
        for feedback_div in range(1, 81):
            if input_hz * feedback_div == clock_hz * input_div:
                output_div = max(1, round(600 * MHZ / clock_hz))
                if 400 * MHZ <= clock_hz * output_div <= 800 * MHZ:
                    return Ecp5Pll(input_div, feedback_div, output_div)
    raise _impossible("an ECP5", input_hz, clock_hz, input_hz)


def ice40_pll(input_hz: float, clock_hz: float) -> Ice40Pll:
    """Settings that give exactly ``clock_hz``, with the oscillator in 533 to 1,066 MHz and the phase detector in 10 to 133 MHz.

    Raises
    ------
    ConfigError
        If there are none.
    """
    for divr in range(16):
        detector = input_hz / (divr + 1)
        for divq in range(1, 7):
            divf = round(clock_hz * (1 << divq) / detector) - 1
            oscillator = detector * (divf + 1)
            in_range = divf < 128 and 10 * MHZ <= detector <= 133 * MHZ and 533 * MHZ <= oscillator <= 1066 * MHZ
            if in_range and oscillator == clock_hz * (1 << divq):
                return Ice40Pll(divr, divf, divq, _filter_range(detector))
    raise _impossible("an iCE40", input_hz, clock_hz, input_hz / 4)


def _impossible(family: str, input_hz: float, clock_hz: float, step_hz: float) -> ConfigError:
    problem = f"No setting of {family} PLL makes {clock_hz / MHZ:g} MHz of {input_hz / MHZ:g} MHz"
    return ConfigError(f"{problem}; choose a multiple of {step_hz / MHZ:g} MHz")


def _filter_range(detector_hz: float) -> int:
    """FILTER_RANGE for a phase detector frequency, as Lattice's PLL tool sets it."""
    limits_mhz = (17, 26, 44, 66, 101)
    return 1 + sum(detector_hz >= limit * MHZ for limit in limits_mhz)

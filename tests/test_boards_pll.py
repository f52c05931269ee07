"""PLL settings against the vendor's equations and limits."""

from __future__ import annotations

import pytest

from permfc.errors import ConfigError
from permfc_boards.pll import Ice40Pll, ecp5_pll, ice40_pll


@pytest.mark.parametrize(("input_mhz", "clock_mhz"), [(25, 100), (25, 75), (25, 50), (12, 60), (48, 120), (100, 62.5)])
def test_ecp5_clock_and_oscillator(input_mhz: float, clock_mhz: float) -> None:
    pll = ecp5_pll(input_mhz * 1e6, clock_mhz * 1e6)
    assert input_mhz * pll.feedback_div / pll.input_div == clock_mhz
    assert 400 <= clock_mhz * pll.output_div <= 800
    assert input_mhz / pll.input_div >= 10


@pytest.mark.parametrize(("input_mhz", "clock_mhz"), [(12, 24), (12, 30), (12, 48), (100, 25)])
def test_ice40_clock_and_oscillator(input_mhz: float, clock_mhz: float) -> None:
    pll = ice40_pll(input_mhz * 1e6, clock_mhz * 1e6)
    detector = input_mhz / (pll.divr + 1)
    oscillator = detector * (pll.divf + 1)
    assert oscillator / 2**pll.divq == clock_mhz
    assert 533 <= oscillator <= 1066 and 10 <= detector <= 133


def test_ice40_settings_of_the_vendors_tool() -> None:
    """icepll -i 12 -o 48 prints these."""
    assert ice40_pll(12e6, 48e6) == Ice40Pll(divr=0, divf=63, divq=4, filter_range=1)


def test_impossible_clocks_name_a_step() -> None:
    with pytest.raises(ConfigError, match="No setting of an ECP5 PLL makes 60 MHz of 25 MHz; choose a multiple of 25 MHz"):
        ecp5_pll(25e6, 60e6)
    with pytest.raises(ConfigError, match="No setting of an iCE40 PLL makes 24.1 MHz of 12 MHz; choose a multiple of 3 MHz"):
        ice40_pll(12e6, 24.1e6)

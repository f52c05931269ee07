"""A complete board in simulation: its top's Verilog, its memory at the pins, its serial line on a pseudo-terminal."""

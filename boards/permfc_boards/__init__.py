"""FPGA devices: engine presets, and synthesis with place and route."""

"""The engine in simulation: a Verilated model behind the same `Device` interface as a board."""

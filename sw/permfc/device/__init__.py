"""Engines as a host sees them: the contract of a device, boards on a serial line, and how one is opened."""

"""Whole networks: which parts run on the engine, and what runs the rest on the host."""

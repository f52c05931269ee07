"""The host link of docs/protocol.md in gates, and the engine behind it as one module for board tops."""

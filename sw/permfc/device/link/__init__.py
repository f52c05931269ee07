"""The link between a host and a board: what both ends know (docs/protocol.md)."""

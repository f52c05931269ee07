"""``permfc report``: one self-contained page about a network on an engine and a memory."""

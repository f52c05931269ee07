"""The boards that permfc knows. Each is a file that makes a :class:`permfc_boards.board.Board`; a line here gives it a name."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from permfc.errors import ConfigError

if TYPE_CHECKING:
    from .board import Board

# name: module and variable; imported when asked for, since a description needs amaranth-boards.
_BOARDS = {
    "ulx3s-85f": ("ulx3s", "ULX3S_85F"),
    "ulx3s-25f": ("ulx3s", "ULX3S_25F"),
    "icebreaker": ("icebreaker", "ICEBREAKER"),
    "icesugar-pro": ("icesugar_pro", "ICESUGAR_PRO"),
}

BOARD_NAMES = tuple(_BOARDS)


def board(name: str) -> Board:
    """The board of a name.

    Raises
    ------
    ConfigError
        If there is none; the names are listed.
    """
    if name not in _BOARDS:
        raise ConfigError(f"Board {name!r} is unknown; choose one of {', '.join(BOARD_NAMES)}")
    module, variable = _BOARDS[name]
    return getattr(import_module(f".{module}", __package__), variable)

"""How every benchmark runs: a user's mistake ends with one sentence and status 2."""

from __future__ import annotations

import sys
from collections.abc import Callable

from permfc.errors import PermfcError


def run_program(main: Callable[[], None]) -> None:
    """Call ``main``; print what a PermfcError says instead of a traceback."""
    try:
        main()
    except PermfcError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)

"""Names of layers as a user may write them: one name, or a pattern of many."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase


def named(names: Iterable[str], patterns: Iterable[str]) -> bool:
    """Whether something that goes by any of ``names`` is meant by a name or pattern, such as ``encoder.*.query``.

    A name means what is called so, even where it has the signs of a pattern.
    """
    names = list(names)
    return any(pattern in names or ("*" in pattern or "?" in pattern or "[" in pattern) and any(fnmatchcase(name, pattern) for name in names)
               for pattern in patterns)

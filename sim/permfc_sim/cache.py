"""Where built things are kept, and simulators that are built once."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """``$XDG_CACHE_HOME/permfc``, else ``~/.cache/permfc``."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "permfc"


def kept_library(key: str, name: str, build: Callable[[Path, Path], None]) -> Path:
    """Path of the shared library ``name`` in the cache's folder ``key``; ``build(library, work)`` makes it when it is not there.

    ``work`` is a folder for what is not kept, ``library`` lies in the one that is. That one is renamed when it is finished, so that a library
    in the cache is always whole.
    """
    kept = cache_folder() / key / name
    if kept.is_file():
        return kept
    cache_folder().mkdir(parents=True, exist_ok=True)
    with (cache_folder() / f"{key}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process may be building the same library: wait for it
        if not kept.is_file():
            with tempfile.TemporaryDirectory(prefix="build-", dir=cache_folder()) as work:
                finished = Path(work) / "finished"
                finished.mkdir()
                build(finished / name, Path(work))
                finished.rename(kept.parent)
    return kept

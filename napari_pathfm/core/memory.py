"""Give memory back to the system that the C library keeps for later."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache


def give_back() -> None:
    """Hand back what is free; does nothing where the C library has no way to.

    glibc keeps a heap for each of several threads, and jobs come and go in threads of their own:
    after a few large edits hundreds of MiB would be kept for nobody. Takes some ms, in which other
    threads go on.
    """
    trim = _trim()
    if trim is not None:
        trim(0)


@cache
def _trim() -> Callable[[int], int] | None:
    if not sys.platform.startswith("linux"):
        return None
    return getattr(ctypes.CDLL(None), "malloc_trim", None)

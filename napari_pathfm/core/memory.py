"""Give memory back to the system that the C library keeps for later."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache

LARGE_BYTES = 16 * 1024**2
"""What a network needs for a few tiles, or for a click, is smaller: it would be slower with fresh
memory (a click by half)."""

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_MMAP_MAX = -1, -3, -4
"""Of ``malloc.h``."""


def give_back() -> None:
    """Hand back what is free; does nothing where the C library has no way to.

    glibc keeps a heap for each of several threads, and jobs come and go in threads of their own:
    after a few large edits hundreds of MiB would be kept for nobody. Takes some ms, in which other
    threads go on.
    """
    trim = _c_library("malloc_trim")
    if trim is not None:
        trim(0)


def hand_back_at_once() -> None:
    """Let large arrays go back to the system as soon as nobody uses them, from now on.

    glibc does so at first, but holds the larger ones back, too, once it has seen them come and go:
    pictures of some 20 MB do that all the time in a window, in several threads.
    """
    option = _c_library("mallopt")
    if option is not None:
        option(M_MMAP_THRESHOLD, LARGE_BYTES)


def keep_all() -> None:
    """Keep what becomes free for what comes next: for a program that only trains.

    Arrays of some 30 MB that come and go hundreds of times a second are slow with fresh memory.
    """
    option = _c_library("mallopt")
    if option is not None:
        option(M_MMAP_MAX, 0)
        option(M_TRIM_THRESHOLD, 2**31 - 1)


@cache
def _c_library(name: str) -> Callable[..., int] | None:
    return getattr(ctypes.CDLL(None), name, None) if sys.platform.startswith("linux") else None

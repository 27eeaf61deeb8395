"""How the program's own threads share the cores with the window."""

from __future__ import annotations

import os
import sys
import threading

MAX_READERS = 8
"""More decoding threads than this only wait for each other."""


def cores() -> int:
    """Number of cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def reader_threads() -> int:
    """How many threads decode at the same time: one a core, at most :data:`MAX_READERS`."""
    return min(cores(), MAX_READERS)


def be_polite() -> None:
    """Lower the priority of the calling thread, so that the window's thread comes first.

    On Linux a nice value belongs to a thread and is inherited by those that it starts (the OpenMP
    pool of a network, say). Elsewhere it belongs to the process, so nothing is done.
    """
    if sys.platform == "linux":
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)

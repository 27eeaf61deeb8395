"""How the program's own threads share the cores with the window."""

from __future__ import annotations

import os
import sys
import threading

MAX_READERS = 8
"""More decoding threads than this only wait for each other."""


_sharing = 1


def share_cores(processes: int) -> None:
    """Use only this process's part of the cores; before the first thread that decodes starts."""
    global _sharing
    _sharing = processes


def cores() -> int:
    """Number of cores that this process may use."""
    there = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, there // _sharing)


def reader_threads() -> int:
    """How many threads decode at the same time: one a core, at most :data:`MAX_READERS`."""
    return min(cores(), MAX_READERS)


def be_polite() -> None:
    """Lower the priority of the calling thread, so that the window's thread comes first.

    On Linux a nice value belongs to a thread and is inherited by those that it starts (the OpenMP
    pool of a network, say). Elsewhere it belongs to the process, so nothing is done.
    """
    if sys.platform == "linux":
        thread = threading.get_native_id()
        lowered = max(10, os.getpriority(os.PRIO_PROCESS, thread))  # only root may raise it again
        os.setpriority(os.PRIO_PROCESS, thread, lowered)

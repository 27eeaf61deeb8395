from __future__ import annotations

import subprocess
import sys

import pytest

# A process of its own: what others have allocated would be given back, too.
RESIDENT = """
import os
import numpy as np
from napari_pathfm.core.memory import give_back, hand_back_at_once

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

"""

SMALL = """
kept, freed = [], []
for _ in range(3000):  # small ones, so that they come from the heap, with something between
    freed.append(np.ones(60_000, np.uint8))
    kept.append(np.ones(100, np.uint8))
del freed
before = resident()
give_back()
print(before - resident())
"""

LARGE = """
def come_and_go():
    kept, freed = [], [np.ones(20 << 20, np.uint8) for _ in range(2)]
    del freed[1]  # glibc has seen how large they are
    for _ in range(8):
        freed.append(np.ones(15 << 20, np.uint8))
        kept.append(np.ones(200_000, np.uint8))  # or the heap would end before them
    before = resident()
    del freed
    return before - resident()

come_and_go()

hand_back_at_once()
print(come_and_go())
"""


pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps it")


def freed_by(program: str) -> int:
    """Bytes that a process of its own says it has given back."""
    command = [sys.executable, "-c", RESIDENT + program]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return int(done.stdout)


def test_memory_that_nobody_uses_goes_back_to_the_system() -> None:
    assert freed_by(SMALL) > 100 << 20


def test_large_arrays_go_back_when_nobody_uses_them() -> None:
    # A system that takes memory back by itself leaves less to be freed, now and then.
    assert any(freed_by(LARGE) > 100 << 20 for _ in range(5))

from __future__ import annotations

import subprocess
import sys

import pytest

# A process of its own: what others have allocated would be given back, too.
RESIDENT = """
import os
import numpy as np
from napari_pathfm.core.memory import give_back, hand_back_at_once, keep_all

def pages(column):
    with open("/proc/self/statm") as file:
        return int(file.read().split()[column]) * os.sysconf("SC_PAGESIZE")

def mapped():  # a system that takes memory back by itself changes what is resident, not this
    return pages(0)

def resident():
    return pages(1)

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
        freed.append(np.ones(18 << 20, np.uint8))
        kept.append(np.ones(200_000, np.uint8))  # or the heap would end before them
    before = mapped()
    del freed
    return before - mapped()

come_and_go()
print(come_and_go())
"""

AT_ONCE = """
hand_back_at_once()  # first of all: what the heap has once got is used again
"""

KEPT = """
keep_all()
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
    assert freed_by(AT_ONCE + LARGE) > 100 << 20


def test_a_program_that_trains_keeps_what_it_had() -> None:
    assert freed_by(KEPT + LARGE) < 10 << 20

from __future__ import annotations

import subprocess
import sys

import pytest

# A process of its own: what others have allocated would be given back, too.
PROGRAM = """
import os
import numpy as np
from napari_pathfm.core.memory import give_back

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")

kept, freed = [], []
for _ in range(3000):  # small ones, so that they come from the heap, with something between
    freed.append(np.ones(60_000, np.uint8))
    kept.append(np.ones(100, np.uint8))
del freed
before = resident()
give_back()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc keeps it so")
def test_memory_that_nobody_uses_goes_back_to_the_system() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, stdout=subprocess.PIPE, text=True
    )
    assert int(done.stdout) > 100 << 20

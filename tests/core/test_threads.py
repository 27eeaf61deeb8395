"""The program's threads make room for the window, and for others where the user wants that."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from napari_pathfm.core.threads import be_polite


def nice_of_a_polite_thread() -> int:
    found: list[int] = []

    def work() -> None:
        be_polite()
        found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    return found[0]


@pytest.mark.skipif(
    sys.platform != "linux", reason="a nice value belongs to a thread on Linux only"
)
def test_politeness_is_a_threads_own_and_never_less_than_it_was() -> None:
    before = os.getpriority(os.PRIO_PROCESS, 0)
    assert nice_of_a_polite_thread() == max(before, 10)
    assert os.getpriority(os.PRIO_PROCESS, 0) == before
    program = (
        "import os; os.nice(19 - os.getpriority(os.PRIO_PROCESS, 0));"
        "from tests.core.test_threads import nice_of_a_polite_thread as nice; print(nice())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.strip() == "19"

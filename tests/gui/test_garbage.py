from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from qtpy.QtWidgets import QWidget

from napari_pathfm.core.jobs import Job, Progress
from napari_pathfm.gui import garbage
from napari_pathfm.gui.runner import Runner

Wait = Callable[..., None]


def closed_widget(seen: list[int]) -> None:
    """Leave a widget that only the garbage collector can reach; it tells in which thread it did."""
    widget = QWidget()
    widget.itself = widget  # type: ignore[attr-defined]
    weakref.finalize(widget, lambda: seen.append(threading.get_ident()))


def busy(count: int) -> Job[int]:
    """Allocate so much that Python would collect here."""
    kept: list[list[int]] = []
    for number in range(count):
        kept.append([number])
        if number % 10_000 == 0:
            yield Progress(number, count)
    return len(kept)


def _ignore(*_: object) -> None:
    """Take a result."""


def test_widgets_die_on_the_gui_thread(
    qtbot: Any, wait: Wait, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(garbage, "STILL_SECONDS", 0.0)
    monkeypatch.setattr(garbage, "FULL_SECONDS", 2.0)  # in full takes a second in a long run
    runner = Runner()
    done: list[int] = []
    seen: list[int] = []
    kept: list[list[int]] = []
    closed_widget(seen)
    runner.start(busy(400_000), "Allocating", done.append)
    wait(lambda: done == [400_000], 120)

    def collected() -> bool:
        kept.extend([number] for number in range(1000))
        return bool(seen)

    wait(collected, 120)
    assert seen == [threading.get_ident()]


def test_a_job_that_is_over_holds_nothing_of_the_window(qtbot: Any, wait: Wait) -> None:
    runner = Runner()
    widget = QWidget()
    gone = weakref.ref(widget)
    job = runner.start(busy(1), "Short", partial(_ignore, widget))
    del widget
    wait(lambda: not runner.running)
    gc.collect()
    assert job.cancelled is False
    assert gone() is None

"""All window tests share one QApplication and are marked `gui`."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from .stage import Stage
from .window import Window


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.gui)


@pytest.fixture
def wait(qtbot: Any) -> Callable[[Callable[[], bool]], None]:
    """Wait in the event loop until something is true."""

    def until(condition: Callable[[], bool], seconds: float = 30) -> None:
        qtbot.waitUntil(condition, timeout=int(seconds * 1000))

    return until


@pytest.fixture(autouse=True)
def libraries_are_no_garbage() -> None:
    """napari collects at each layer that goes: only what a test made is looked at then."""
    gc.freeze()


@pytest.fixture
def stage(make_napari_viewer: Any, tmp_path: Path, qtbot: Any) -> Iterator[Stage]:
    """A window over a small slide, with an edit window and real mouse events."""
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1200, 800)
    qtbot.wait(50)
    made = Stage(viewer, tmp_path / "project")
    yield made
    made.close()
    gc.unfreeze()  # napari looks whether the viewer is garbage now


@pytest.fixture
def window(make_napari_viewer: Any, tmp_path: Path, qtbot: Any) -> Iterator[Window]:
    """A window as a user has it: the dock with its steps, and all messages."""
    gc.unfreeze()
    gc.collect()  # what is left of the window before: a crash belongs here, not anywhere later
    gc.freeze()
    viewer = make_napari_viewer(show=True)
    viewer.window.resize(1400, 900)
    qtbot.wait(50)
    made = Window(viewer, tmp_path)
    yield made
    made.place.close()
    gc.unfreeze()

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_pathfm.gui.gallery import Gallery
from napari_pathfm.gui.runner import Runner
from napari_pathfm.session import Session

from .explored import PlainSlide, explored

Wait = Callable[[Callable[[], bool]], None]


@pytest.fixture
def session() -> Session:
    return explored()[0]


@pytest.fixture
def gallery(qtbot: Any, session: Session) -> Generator[Gallery, None, None]:
    runner = Runner()
    made = Gallery(session, runner)
    qtbot.addWidget(made)
    made.resize(320, 300)
    made.show()
    yield made
    runner.shutdown()


def grey(gallery: Gallery, row: int) -> int:
    image = gallery.item(row).icon().pixmap(40, 40).toImage()
    return image.pixelColor(20, 20).red()


def test_shows_thumbnails_in_order(gallery: Gallery, wait: Wait) -> None:
    gallery.show_tiles(np.array([70, 3, 99]), ["0.9", "0.8", "0.7"])
    assert gallery.tiles() == [70, 3, 99]
    wait(lambda: grey(gallery, 1) == 3)
    assert [grey(gallery, row) for row in range(3)] == [70, 3, 99]
    assert gallery.item(0).text() == "0.9"


def test_reads_off_the_gui_thread(gallery: Gallery, session: Session, wait: Wait) -> None:
    threads: list[threading.Thread] = []
    slide = session.slide
    assert isinstance(slide, PlainSlide)
    read = slide.tile
    slide.tile = lambda *args: (threads.append(threading.current_thread()), read(*args))[1]  # type: ignore[method-assign]
    gallery.show_tiles(np.array([5]), ["1"])
    wait(lambda: grey(gallery, 0) == 5)
    assert threading.main_thread() not in threads


def test_only_the_last_request_counts(gallery: Gallery, wait: Wait) -> None:
    gallery.show_tiles(np.arange(90), ["x"] * 90)
    gallery.show_tiles(np.array([42]), ["1"])
    wait(lambda: not gallery._runner.running)
    assert gallery.tiles() == [42]
    assert grey(gallery, 0) == 42


def test_a_click_selects_and_jumps(
    qtbot: Any, gallery: Gallery, session: Session, wait: Wait
) -> None:
    gallery.show_tiles(np.array([7, 8]), ["a", "b"])
    place = gallery.visualItemRect(gallery.item(1)).center()
    with qtbot.waitSignal(gallery.jump) as caught:
        qtbot.mouseClick(gallery.viewport(), Qt.MouseButton.LeftButton, pos=place)
    assert caught.args == [8]
    assert session.selection.tiles.tolist() == [8]


def test_works_by_keyboard(qtbot: Any, gallery: Gallery, session: Session) -> None:
    gallery.show_tiles(np.array([7, 8, 9]), ["a", "b", "c"])
    gallery.setCurrentRow(0)
    qtbot.keyClick(gallery, Qt.Key.Key_Right)
    with qtbot.waitSignal(gallery.jump) as caught:
        qtbot.keyClick(gallery, Qt.Key.Key_Return)
    assert caught.args == [8]


def test_thumbnails_reflow(qtbot: Any, gallery: Gallery, wait: Wait) -> None:
    gallery.show_tiles(np.arange(12), ["x"] * 12)

    def columns() -> int:
        return len({gallery.visualItemRect(gallery.item(row)).x() for row in range(12)})

    wait(lambda: columns() == 3)
    gallery.resize(560, 300)
    wait(lambda: columns() == 6)


def test_another_grid_empties_it(gallery: Gallery, session: Session) -> None:
    gallery.show_tiles(np.array([7]), ["a"])
    session.set_grid(None)
    assert gallery.tiles() == []

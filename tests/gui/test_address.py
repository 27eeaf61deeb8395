"""Slides that lie on a server are opened from the window."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path

import pytest
from qtpy.QtCore import QMimeData, QUrl

from napari_pathfm.gui.dock import _files
from napari_pathfm.io.backends.remote import RemotePath
from napari_pathfm.io.project import default_project

from ..io.test_remote import Files
from .window import Window


@pytest.fixture
def address(synthetic: Path) -> Iterator[str]:
    handler = partial(Files, folder=synthetic.parent, sent=[])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/{synthetic.name}"
    server.shutdown()
    server.server_close()
    thread.join(10)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """What the user types when asked for an address."""

    def types(text: str) -> None:
        monkeypatch.setattr(
            "napari_pathfm.gui.slide_panel.QInputDialog.getText", lambda *_: (text, True)
        )

    return types


def test_an_address_opens_and_is_kept_at_home(
    window: Window,
    address: str,
    typed: Callable[[str], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    typed(f" {address} ")
    window.dock.slide.address_button.click()
    window.driver.wait(lambda: window.session.annotations is not None, "the slide", 60)
    assert str(window.session.slide.path) == address
    assert window.session.project.folder == tmp_path / "pathfm" / "synthetic.pathfm"


def test_what_is_no_address_is_told(window: Window, typed: Callable[[str], None]) -> None:
    typed("slide.svs")
    window.dock.slide.address_button.click()
    window.heard("begins with https://")
    assert not window.session.slides


def test_addresses_are_dropped_like_files(tmp_path: Path) -> None:
    dropped = QMimeData()
    urls = ["https://a.org/b/c.svs", "mailto:a@b.org"]
    dropped.setUrls([*map(QUrl, urls), QUrl.fromLocalFile(str(tmp_path / "d.tif"))])
    places = _files(dropped)
    assert [str(place) for place in places] == [urls[0], str(tmp_path / "d.tif")]
    assert isinstance(places[0], RemotePath)


def test_the_folder_of_an_address_has_a_usual_name() -> None:
    folder = default_project("https://a.org/b/slide 1.svs?token=a&b=c")
    assert folder.parent == Path.home() / "pathfm"
    assert not set(folder.name) & set("?&=/ ")
    assert default_project("/a/b.svs") == Path("/a/b.pathfm")

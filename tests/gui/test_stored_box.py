"""Embeddings of the slide that is shown: chosen among those of the project, or imported."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pytestqt.qtbot import QtBot

from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.gui.runner import Runner
from napari_pathfm.gui.stored_box import StoredBox
from napari_pathfm.io.project import Project
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.io.store import FeatureStore
from napari_pathfm.session import Session

from ..io.features import KEY, trident_attributes, vectors_of, write_h5


class Desk:
    """A session with a slide and a project, and the box."""

    def __init__(self, qtbot: QtBot, slide: SlideReader, project: Project) -> None:
        self.qtbot, self.slide, self.project = qtbot, slide, project
        self.session, self.runner = Session(), Runner()
        self.session.project = project
        self.box = StoredBox(self.session, self.runner)
        qtbot.addWidget(self.box)

    def rest(self) -> None:
        self.qtbot.waitUntil(lambda: not self.runner.running, timeout=60_000)

    def show(self) -> None:
        self.session.show_slide(self.slide)
        self.rest()

    def embedded(self, tile_px: int, leave_out: int = 0, stain: str = "") -> TileGrid:
        """Embeddings that were computed here."""
        grid = make_grid(self.slide.id, self.slide.levels, self.slide.mpp, TileSpec(tile_px, 2.0))
        key = replace(KEY.normalised(stain), precision="float32")
        store = FeatureStore(self.project.slide_store(self.slide.id), key, grid)
        tiles = np.arange(len(grid) - leave_out)
        with store.lock():
            store.append(tiles, vectors_of(len(tiles)))
        return grid

    @property
    def offered(self) -> list[str]:
        return [self.box.choice.itemText(n) for n in range(self.box.choice.count())]


@pytest.fixture
def desk(qtbot: QtBot, synthetic: Path, tmp_path: Path) -> Iterator[Desk]:
    with open_slide(synthetic) as slide, Project.open(tmp_path / "project") as project:
        made = Desk(qtbot, slide, project)
        yield made
        made.runner.shutdown()


def test_embeddings_of_an_earlier_day_open_with_their_tiles(desk: Desk) -> None:
    small, large = desk.embedded(128, leave_out=3), desk.embedded(224, stain="macenko to 1a")
    desk.show()
    assert desk.offered == [
        f"uni, {len(small) - 3:,} of {len(small):,} tiles, 128 px at 2 µm/px",
        f"uni, {len(large):,} tiles, 224 px at 2 µm/px, macenko to 1a",
    ]
    desk.box.choice.setCurrentIndex(1)
    desk.box.open_button.click()
    desk.rest()
    session = desk.session
    assert session.grid is not None
    assert session.embeddings is not None
    assert session.grid.hash == session.embeddings.grid_hash == large.hash
    np.testing.assert_array_equal(session.embeddings.vectors, vectors_of(len(large)))
    desk.box.look()
    desk.rest()
    assert desk.box.choice.currentIndex() == 1  # what is shown stays chosen


def test_nothing_to_choose_and_nothing_to_import_into(desk: Desk) -> None:
    assert desk.box.import_button.isHidden()
    desk.show()
    assert desk.offered == []
    assert desk.box.open_button.isHidden()
    assert not desk.box.import_button.isHidden()
    desk.box.open()
    assert desk.session.embeddings is None


def test_features_of_another_program_are_imported_and_shown(desk: Desk, tmp_path: Path) -> None:
    own = desk.embedded(224)
    desk.show()
    corners = np.array([[0, 0], [512, 0], [0, 512]], np.int64)
    file = write_h5(
        tmp_path / "case.h5",
        features=(vectors_of(3, 1024), {"encoder": "uni_v1"}),
        coords=(corners, trident_attributes(desk.slide)),
    )
    desk.box.take_file(file)
    desk.qtbot.waitUntil(lambda: desk.session.embeddings is not None, timeout=60_000)
    desk.rest()
    made = desk.session.embeddings
    assert made is not None
    assert made.key.imported
    np.testing.assert_array_equal(made.vectors, vectors_of(3, 1024))
    assert desk.offered[0].startswith(f"uni, {len(own):,} tiles")
    assert desk.offered[1] == "uni, 3 tiles, 256 px at 1 µm/px, uni_v1 of TRIDENT"
    assert desk.box.choice.currentIndex() == 1
    file.write_bytes(b"no HDF5")
    desk.box.take_file(file)
    desk.rest()
    assert desk.session.embeddings is made

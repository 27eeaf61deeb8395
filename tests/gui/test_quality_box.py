"""Quality of tiles and stains, in the window."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.analysis.stain_normalise import typical
from napari_pathfm.core.quality import TileQuality
from napari_pathfm.gui.overlays import LEFT_OUT
from napari_pathfm.gui.quality_box import NOTHING
from napari_pathfm.io.quality import load_quality, save_quality

from .window import Window


@pytest.fixture
def opened(window: Window, synthetic: Path, tmp_path: Path) -> Window:
    window.open(synthetic, tmp_path / "project")
    window.find_tiles()
    return window


def test_tiles_that_are_not_good_enough_are_shown_and_left_out(opened: Window) -> None:
    session, box, layers = opened.session, opened.dock.slide.quality, opened.viewer.layers
    whole = session.grid
    assert whole is not None
    count = len(whole)
    blur = np.linspace(0.9, 2.0, count, dtype=np.float32)
    known = TileQuality(whole.hash, np.ones(count, np.float32), blur, np.zeros(count, np.float32))
    save_quality(session.project.slide_store(session.slide.id), known)
    assert not box.apply_button.isVisibleTo(box)

    box.measure_button.click()
    opened.driver.wait(lambda: box.apply_button.isVisibleTo(box), "the measures", 60)
    good = int((blur <= 1.3).sum())
    assert 0 < good < count
    assert f"{good} of {count} tiles stay" in box.result.text()
    assert len(session.left_out) == count - good
    assert LEFT_OUT in layers
    assert session.grid is whole

    box.show_box.textActivated.emit("blur")
    assert np.nanmax(layers["blur"].data) == pytest.approx(2.0)
    assert box.show_box.currentText() == "blur"

    box.max_blur.setValue(1.6)
    more = int((blur <= 1.6).sum())
    box.apply_button.click()
    assert len(session.grid) == more
    assert session.scores is not None
    assert len(session.scores) == more
    assert len(session.left_out) == count - more
    assert not box.apply_button.isEnabled()

    box.max_blur.setValue(5)  # all of them again
    assert LEFT_OUT not in layers
    box.apply_button.click()
    assert session.grid.hash == whole.hash

    session.scores = None
    assert "blur" not in layers
    assert box.show_box.currentText() == NOTHING
    opened.find_tiles(1.0)
    opened.driver.wait(lambda: session.grid.hash != whole.hash, "other tiles", 60)
    assert not box.apply_button.isVisibleTo(box)


def test_measures_are_kept_in_the_project(opened: Window) -> None:
    session, box = opened.session, opened.dock.slide.quality
    box.measure_button.click()
    opened.driver.wait(lambda: box.apply_button.isVisibleTo(box), "the measures", 60)
    kept = load_quality(session.project.slide_store(session.slide.id), session.grid.hash)
    assert kept is not None
    assert len(kept) == len(session.grid)
    assert (kept.tissue >= 0.5).all()


def test_normalised_embeddings_say_so(opened: Window) -> None:
    panel, session = opened.dock.embed, opened.session
    assert panel.stain.value() is None
    panel.stain.setValue("reinhard")
    panel.embed_button.click()
    opened.driver.wait(lambda: session.embeddings is not None, "the embeddings", 120)
    assert session.embeddings.key.stain == typical("reinhard").name
    assert "stain reinhard" in panel.state.text()

"""Tiles are sorted into classes by their names: heatmaps, and labels in one step."""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qtpy.QtCore import Qt

from napari_pathfm.core.embeddings import Embeddings
from napari_pathfm.gui.explore_panel import ExplorePanel
from napari_pathfm.gui.runner import Runner
from napari_pathfm.gui.zero_shot_box import classes_of
from napari_pathfm.io.project import Project
from napari_pathfm.session import Session

from ..worded import clip
from .explored import CLASSES, PlainSlide, explored

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def runner(qtbot: Any) -> Generator[Runner, None, None]:
    made = Runner()
    yield made
    made.shutdown()


def worded() -> Session:
    """A session with tiles of which every other one lies at the first class's name."""
    session, _ = explored()
    assert session.grid is not None
    encoder: Any = clip()
    tumor, stroma = encoder.embed_text(["tumor", "stroma"])
    tiles = np.arange(len(session.grid))
    vectors = np.where((tiles % 2 == 0)[:, None], tumor - stroma, stroma - tumor)
    session.set_embeddings(Embeddings(encoder.key, session.grid.hash, tiles, vectors))
    return session


def panel_of(qtbot: Any, session: Session, runner: Runner) -> ExplorePanel:
    panel = ExplorePanel(session, runner, lambda name: lambda: {"clip": clip()}[name])
    qtbot.addWidget(panel)
    panel.resize(340, 700)
    panel.show()
    return panel


def test_names_are_read() -> None:
    assert classes_of(" tumor| carcinoma , stroma,, |fat") == {
        "tumor": ["tumor", "carcinoma"],
        "stroma": ["stroma"],
        "fat": ["fat"],
    }
    assert classes_of(" ") == {}


def test_heatmaps_and_labels_that_can_be_taken_back(
    qtbot: Any, runner: Runner, wait: Callable[..., None], tmp_path: Path
) -> None:
    session = worded()
    panel = panel_of(qtbot, session, runner)
    grid, box = session.grid, panel.zero_shot
    assert grid is not None
    assert not box.label_button.isVisible()
    with Project.open(tmp_path / "p") as project:
        project.add_slide(PlainSlide())  # type: ignore[arg-type]
        project.set_classes(CLASSES)
        session.project = project
        project.set_labels(grid.slide_id, grid.hash, {1: 1})
        session.labels = np.where(np.arange(len(grid)) == 1, 1, 0).astype(np.uint8)
        qtbot.mouseClick(box.button, LEFT)  # the project's classes
        wait(lambda: session.scores is not None, seconds=120)
        assert [box.shown.itemText(i) for i in range(2)] == ["tumor: 50 tiles", "stroma: 50 tiles"]
        assert "“tumor”" in session.scores.text  # type: ignore[union-attr]
        assert set(session.scores.best(50) % 2) == {0}  # type: ignore[union-attr]
        box.shown.setCurrentIndex(1)
        box.show_class()
        assert set(session.scores.best(50) % 2) == {1}  # type: ignore[union-attr]
        assert session.labels.sum() == 1, "proposed only"
        qtbot.mouseClick(box.label_button, LEFT)
        expected = np.where(np.arange(len(grid)) % 2, 2, 1)
        expected[1] = 1  # what somebody has labelled stays
        np.testing.assert_array_equal(session.labels, expected)
        assert len(project.labels(grid.slide_id, grid.hash)) == len(grid)
        session.labels = np.where(np.arange(len(grid)) == 4, 2, session.labels).astype(np.uint8)
        qtbot.mouseClick(box.back_button, LEFT)
        assert np.flatnonzero(session.labels).tolist() == [1, 4], "corrected since: it stays"
        assert not box.back_button.isVisible()
        session.project = None


def test_a_class_that_the_project_lacks_is_said(
    qtbot: Any, runner: Runner, wait: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("napari.utils.notifications.show_warning", told.append)
    session = worded()
    panel = panel_of(qtbot, session, runner)
    box = panel.zero_shot
    qtbot.keyClicks(box.line, "stroma")
    assert not box.button.isEnabled(), "one alone is not told apart"
    qtbot.keyClicks(box.line, ", glass|background")
    qtbot.keyClick(box.line, Qt.Key.Key_Return)
    wait(lambda: box.shown.count() == 2, seconds=120)
    qtbot.mouseClick(box.label_button, LEFT)
    assert any("no class 'glass'" in each for each in told)
    assert session.labels is not None
    assert set(session.labels) <= {0, 2}
    session.set_embeddings(None)
    assert not box.label_button.isVisible()


def test_an_encoder_without_words_says_what_to_do(qtbot: Any, runner: Runner) -> None:
    panel = panel_of(qtbot, explored()[0], runner)
    box = panel.zero_shot
    assert not box.button.isEnabled()
    assert "plip" in box.button.toolTip()

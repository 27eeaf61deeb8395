from __future__ import annotations

from typing import Any

import numpy as np
from qtpy.QtCore import Qt

from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.gui import notify
from napari_pathfm.gui.label_box import LabelBox
from napari_pathfm.io.project import ProjectError

from .explored import explored

LEFT = Qt.MouseButton.LeftButton


class KeptLabels:
    """The part of a project that keeps labels."""

    read_only = False

    def __init__(self) -> None:
        self.calls: list[tuple[str, str, dict[int, int]]] = []

    def set_labels(self, slide_id: str, grid_hash: str, labels: dict[int, int]) -> None:
        self.calls.append((slide_id, grid_hash, labels))


def test_labels_the_selection_and_keeps_it(qtbot: Any) -> None:
    kept = KeptLabels()
    session, _ = explored(project=kept)
    box = LabelBox(session)
    qtbot.addWidget(box)
    assert box.class_box.currentText() == "tumor"
    before = session.labels
    session.select(np.array([4, 5]))
    box.class_box.setCurrentText("stroma")
    qtbot.mouseClick(box.button, LEFT)
    assert session.labels is not None
    assert session.labels is not before
    assert np.flatnonzero(session.labels == 2).tolist() == [4, 5]
    assert session.grid is not None
    assert kept.calls == [("slide", session.grid.hash, {4: 2, 5: 2})]
    box.class_box.setCurrentText("no label")
    qtbot.mouseClick(box.button, LEFT)
    assert not session.labels.any()


class FullDisk(KeptLabels):
    def set_labels(self, slide_id: str, grid_hash: str, labels: dict[int, int]) -> None:
        raise ProjectError("no space is left; free some and label again")


def test_what_cannot_be_kept_is_not_shown_as_labelled(qtbot: Any, monkeypatch: Any) -> None:
    said: list[str] = []
    monkeypatch.setattr(notify, "fail", lambda what, error: said.append(str(error)))
    session, _ = explored(project=FullDisk())
    box = LabelBox(session)
    qtbot.addWidget(box)
    session.select(np.array([4]))
    qtbot.mouseClick(box.button, LEFT)
    assert session.labels is not None
    assert not session.labels.any()
    assert "free some" in said[0]


def test_follows_the_classes_and_keeps_the_choice(qtbot: Any) -> None:
    session, _ = explored()
    box = LabelBox(session)
    qtbot.addWidget(box)
    assert not box.button.isEnabled()
    box.class_box.setCurrentText("stroma")
    session.classes = (AnnotationClass(7, "fat", "#ffffff"), *session.classes)
    assert box.class_box.currentText() == "stroma"
    assert box.class_box.count() == 4

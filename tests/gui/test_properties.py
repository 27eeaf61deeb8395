"""The table of properties, and images of the glass that stay hidden until asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pathfm.gui.properties import PropertiesDialog, facts_of, open_properties
from napari_pathfm.io.reader import open_slide

from .window import Window


def test_everything_the_file_says_can_be_found(
    window: Window, synthetic: Path, tmp_path: Path
) -> None:
    window.open(synthetic, tmp_path / "project")
    dialog = open_properties(window.place)
    assert dialog is not None
    slide = window.session.slide
    rows = dict(facts_of(slide))
    assert rows["pixel size"] == f"{slide.mpp:g} µm/px"
    assert sum(name.startswith("level ") for name in rows) == len(slide.levels)
    assert slide.properties.items() <= rows.items()
    QTest.keyClicks(dialog.search, "LEVEL 1")
    table = dialog.table
    shown = [row for row in range(table.rowCount()) if not table.isRowHidden(row)]
    assert "level 1" in [table.item(row, 0).text() for row in shown]
    assert len(shown) < table.rowCount()
    dialog.close()


@pytest.mark.real
def test_the_label_is_hidden_until_asked_for(qtbot: object, material: Path) -> None:
    with open_slide(material / "slides" / "CMU-1-Small-Region.svs") as slide:
        dialog = PropertiesDialog(slide)
        dialog.show()
        assert "label" in dialog.images
        for name, image in dialog.images.items():
            button = dialog.image_buttons[name]
            assert not image.isVisible()
            assert image.pixmap().isNull()
            assert ("patient" in button.text()) == (name != "thumbnail")
        button = dialog.image_buttons["label"]
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        assert dialog.images["label"].isVisible()
        assert not dialog.images["label"].pixmap().isNull()
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)
        assert dialog.images["label"].pixmap().isNull()
        dialog.close()


def test_without_a_slide_it_says_so(window: Window) -> None:
    assert open_properties(window.place) is None
    window.heard("Open a slide")

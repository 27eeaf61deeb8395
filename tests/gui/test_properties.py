"""The table of properties, and images of the glass that stay hidden until asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
import tifffile
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest

from napari_pathfm.core.slide import SlideError
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


def test_damage_that_was_met_is_listed(qtbot: object, synthetic: Path, tmp_path: Path) -> None:
    with tifffile.TiffFile(synthetic) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[1], page.databytecounts[1]
    data = bytearray(synthetic.read_bytes())
    data[offset : offset + count] = bytes(count)
    (tmp_path / "damaged.tif").write_bytes(data)
    with open_slide(tmp_path / "damaged.tif") as slide:
        assert "cannot be read" not in dict(facts_of(slide))
        with pytest.raises(SlideError):
            slide.read(0, 0, 0, 600, 600)
        listed = dict(facts_of(slide))["cannot be read"]
    assert listed.startswith("level 0 at y 0, x 512: the segment is damaged")


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

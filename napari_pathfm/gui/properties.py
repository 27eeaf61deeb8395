"""What the file says of a slide, and its label and macro image when asked for."""

from __future__ import annotations

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtGui import QImage, QPixmap
from qtpy.QtWidgets import (
    QDialog,
    QHeaderView,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from ..core.slide import RGB, Slide, SlideError
from ..io.colours import profile_name
from ..io.reader import SlideReader
from . import notify
from .workspace import Workspace

IMAGE_PX = 260
HARMLESS = ("thumbnail",)
"""Associated images that show tissue alone, and so no more than the slide does."""

MOST_DAMAGE = 100
"""Places that are listed; a file with more of them is to be copied again."""

Row = tuple[str, str]


def facts_of(slide: Slide) -> list[Row]:
    """Name and value of everything that is known of a slide, ours first."""
    height, width = slide.levels[0].shape
    mpp = f"{slide.mpp:g} µm/px" if slide.mpp else "not known"
    rows = [("file", str(slide.path)), ("size", f"{width:,} × {height:,} px")]
    rows += [("pixel size", mpp), ("fingerprint", slide.id)]
    rows += [("colour profile", _profile(slide))] if isinstance(slide, SlideReader) else []
    for number, level in enumerate(slide.levels):
        (high, wide), (tile_high, tile_wide) = level.shape, level.tile_shape
        sizes = f"{wide:,} × {high:,} px, tiles {tile_wide} × {tile_high}"
        rows.append((f"level {number}", f"{sizes}, 1 : {level.downsample:.4g}"))
    return rows + _damage(slide)[:MOST_DAMAGE] + sorted(slide.properties.items())


def _profile(slide: SlideReader) -> str:
    try:
        return profile_name(slide.icc_profile)
    except SlideError as error:
        return str(error)


def _damage(slide: Slide) -> list[Row]:
    rows = []
    for (number, row, col), reason in sorted(slide.damage.items()):
        height, width = slide.levels[number].tile_shape
        place = f"level {number} at y {row * height:,}, x {col * width:,}"
        rows.append(("cannot be read", f"{place}: {reason}"))
    return rows


class PropertiesDialog(QDialog):
    """A table that can be searched and copied from; images of the glass only when asked for."""

    def __init__(self, slide: Slide, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._slide = slide
        self.setWindowTitle(f"Properties of {slide.name}")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.resize(640, 560)
        self.search = QLineEdit()
        self.search.setPlaceholderText("Search")
        self.search.setClearButtonEnabled(True)
        self.search.textChanged.connect(self._filter)
        self.table = _table(facts_of(slide))
        column = QVBoxLayout(self)
        column.addWidget(self.search)
        self.table.setMinimumHeight(200)
        column.addWidget(self.table, 1)
        self.image_buttons: dict[str, QPushButton] = {}
        self.images: dict[str, QLabel] = {}
        for name in slide.associated_images:
            self._offer(name, column)

    def _offer(self, name: str, column: QVBoxLayout) -> None:
        warning = "" if name in HARMLESS else " (may show a patient's name)"
        button = QPushButton(f"Show {name} image{warning}")
        button.setCheckable(True)
        image = QLabel()
        image.hide()
        self.image_buttons[name], self.images[name] = button, image
        button.toggled.connect(lambda shown: self._show(name, shown))
        column.addWidget(button)
        column.addWidget(image)

    def _show(self, name: str, shown: bool) -> None:
        image = self.images[name]
        image.setVisible(shown)
        if not shown:
            image.clear()
            return
        try:
            image.setPixmap(_pixmap(self._slide.associated(name)))
        except (SlideError, KeyError) as error:
            notify.fail(f"The {name} image", error)

    def _filter(self, text: str) -> None:
        wanted = text.casefold()
        for row in range(self.table.rowCount()):
            cells = (self.table.item(row, column) for column in (0, 1))
            words = " ".join(cell.text() for cell in cells if cell is not None)
            self.table.setRowHidden(row, wanted not in words.casefold())


def open_properties(place: Workspace) -> PropertiesDialog | None:
    """Show the properties of the slide that is worked on."""
    slide = place.session.slide
    if slide is None:
        notify.tell("Open a slide first.")
        return None
    dialog = PropertiesDialog(slide, place.viewer.window._qt_window)
    dialog.show()
    return dialog


def _table(rows: list[Row]) -> QTableWidget:
    table = QTableWidget(len(rows), 2)
    table.setHorizontalHeaderLabels(["property", "value"])
    table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
    table.setWordWrap(False)
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            item = QTableWidgetItem(text)
            item.setToolTip(text)
            table.setItem(number, column, item)
    header, numbers = table.horizontalHeader(), table.verticalHeader()
    if header is not None and numbers is not None:
        numbers.hide()
        header.setSectionResizeMode(0, QHeaderView.ResizeMode.ResizeToContents)
        header.setStretchLastSection(True)
    return table


def _pixmap(rgb: RGB) -> QPixmap:
    height, width = rgb.shape[:2]
    data = np.ascontiguousarray(rgb).tobytes()
    image = QImage(data, width, height, 3 * width, QImage.Format.Format_RGB888)
    keep = Qt.AspectRatioMode.KeepAspectRatio
    smooth = Qt.TransformationMode.SmoothTransformation
    return QPixmap.fromImage(image).scaled(IMAGE_PX, IMAGE_PX, keep, smooth)

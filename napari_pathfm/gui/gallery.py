"""Thumbnails of tiles, best first, that jump to their place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QSize, Qt, Signal
from qtpy.QtGui import QColor, QIcon, QImage, QPixmap
from qtpy.QtWidgets import QListView, QListWidget, QListWidgetItem, QWidget

from ..core.jobs import Job, Progress
from ..core.slide import RGB
from ..core.tiles import TileGrid
from ..session import Session
from .follow import follow
from .keys import let_keys_through
from .runner import Runner

SLOT = "gallery"
SIDE = 76
"""Side of a thumbnail on the screen."""


class TileReader(Protocol):
    """A slide that can be asked for one tile."""

    def tile(self, grid: TileGrid, number: int) -> RGB:
        """Return ``(tile_px, tile_px, 3)`` uint8."""


class Gallery(QListWidget):
    """Shows tiles of the session's grid; a click or Enter selects one and asks to jump there."""

    jump = Signal(int)
    """Number of the tile."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self.setViewMode(QListView.ViewMode.IconMode)
        self.setResizeMode(QListView.ResizeMode.Adjust)
        self.setMovement(QListView.Movement.Static)
        self.setUniformItemSizes(True)
        self.setIconSize(QSize(SIDE, SIDE))
        self.setGridSize(QSize(SIDE + 8, SIDE + 8 + self.fontMetrics().height() + 4))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setMinimumHeight(2 * self.gridSize().height() + 6)
        self.setAccessibleName("Most similar tiles")
        self.itemClicked.connect(self._on_item)
        self.itemActivated.connect(self._on_item)  # Enter
        let_keys_through(self)
        follow(self, (session.events.grid, self.clear_tiles))

    def show_tiles(self, tiles: NDArray[np.int64], captions: Sequence[str]) -> None:
        """Show tiles with a caption each; what was asked for before is dropped."""
        self.clear_tiles()
        slide, grid = self._session.slide, self._session.grid
        if slide is None or grid is None:
            return
        empty = QPixmap(SIDE, SIDE)
        empty.fill(QColor(128, 128, 128, 60))
        for tile, caption in zip(tiles, captions, strict=True):
            item = QListWidgetItem(QIcon(empty), caption)
            item.setData(Qt.ItemDataRole.UserRole, int(tile))
            item.setToolTip(f"Tile {tile}: click to go there")
            self.addItem(item)
        side = round(SIDE * self.devicePixelRatioF())
        job = read_thumbnails(slide, grid, tiles, side)
        self._runner.start(job, "Reading thumbnails", self._take, slot=SLOT)

    def clear_tiles(self) -> None:
        """Show nothing."""
        self._runner.cancel(SLOT)
        self.clear()

    def tiles(self) -> list[int]:
        """Return the numbers of the tiles that are shown, in their order."""
        return [item.data(Qt.ItemDataRole.UserRole) for item in self._items()]

    def shown(self) -> tuple[list[int], list[str]]:
        """Return the numbers of the tiles and their captions, in their order."""
        return self.tiles(), [item.text() for item in self._items()]

    def _items(self) -> list[QListWidgetItem]:
        rows = (self.item(row) for row in range(self.count()))
        return [item for item in rows if item is not None]

    def _take(self, images: list[QImage]) -> None:
        for item, image in zip(self._items(), images, strict=True):
            image.setDevicePixelRatio(self.devicePixelRatioF())
            icon = QIcon(QPixmap.fromImage(image))
            # A selected thumbnail shall keep its colours; the frame says that it is selected.
            icon.addPixmap(QPixmap.fromImage(image), QIcon.Mode.Selected)
            item.setIcon(icon)

    def _on_item(self, item: QListWidgetItem) -> None:
        tile = int(item.data(Qt.ItemDataRole.UserRole))
        self._session.select(np.array([tile]))
        self.jump.emit(tile)


def read_thumbnails(
    slide: TileReader, grid: TileGrid, tiles: NDArray[np.int64], side: int
) -> Job[list[QImage]]:
    """Read tiles and make them `side` pixels small."""
    images = []
    for done, tile in enumerate(tiles):
        yield Progress(done, len(tiles), "Reading thumbnails", "tiles")
        rgb = slide.tile(grid, int(tile))
        height, width = rgb.shape[:2]
        image = QImage(rgb.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        images.append(
            image.scaled(
                side,
                side,
                Qt.AspectRatioMode.KeepAspectRatio,
                Qt.TransformationMode.SmoothTransformation,
            ).copy()
        )
    return images

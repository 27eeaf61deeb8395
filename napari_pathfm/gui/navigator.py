"""The whole slide, small, with what the view shows of it; a click there moves the view."""

from __future__ import annotations

import numpy as np
from napari import Viewer
from qtpy.QtCore import QPointF, QRect, QRectF, QSize, Qt, QTimer, Signal
from qtpy.QtGui import (
    QColor,
    QImage,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QResizeEvent,
)
from qtpy.QtWidgets import QSizePolicy, QWidget

from ..io.loader import SegmentLoader
from .docking import open_docked
from .follow import follow
from .layers import slide_scale
from .view import to_data, visible_region
from .workspace import workspace

THUMBNAIL_PX = 512
COLOR = QColor("#d55e00")
SMOOTH = Qt.TransformationMode.SmoothTransformation

REDRAW_MS = 300
"""While the thumbnail is still being read, it is drawn this often."""
HIGHEST_PX = 200
"""The list of layers above it needs the rest."""

LEAST_PX = 6
"""The rectangle is drawn at least so large, however small a part of the slide is shown."""


class Navigator(QWidget):
    """Thumbnail of the slide and the visible rectangle.

    Only the rectangle's old and new place are painted while the view moves. The thumbnail is the
    coarse level that the window holds anyway, also while that is still being made.
    """

    _arrived = Signal()

    def __init__(self, napari_viewer: Viewer, parent: QWidget | None = None) -> None:
        # napari hands the viewer to a parameter of this name.
        super().__init__(parent)
        place = workspace(napari_viewer)
        self._viewer, self._session, self._layers = place.viewer, place.session, place.layers
        self._loader: SegmentLoader | None = None
        self._scaled: QPixmap | None = None
        self._drawn = QRect()
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.setInterval(REDRAW_MS)
        self._soon.timeout.connect(self._redraw)
        self._arrived.connect(self._on_arrived, Qt.ConnectionType.QueuedConnection)
        self.setMinimumHeight(120)
        self.setMaximumHeight(HIGHEST_PX)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.setToolTip("Click or drag to move the view")
        self.setCursor(Qt.CursorShape.CrossCursor)
        place.watch.moved.connect(self.update_view)
        follow(self, (place.session.events.slide, self._on_slide))
        self._on_slide()

    def sizeHint(self) -> QSize:
        return QSize(240, 180)

    def update_view(self) -> None:
        """Show where the view is now."""
        now = self._frame().toAlignedRect()
        if now != self._drawn:
            self.update(_around(self._drawn))
            self.update(_around(now))
            self._drawn = now

    def place(self) -> QRectF:
        """Where the thumbnail is in the widget; empty without a slide."""
        slide = self._session.slide
        if slide is None:
            return QRectF()
        height, width = slide.levels[0].shape
        scale = min(self.width() / width, self.height() / height)
        size = width * scale, height * scale
        return QRectF((self.width() - size[0]) / 2, (self.height() - size[1]) / 2, *size)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        slide, place = self._session.slide, self.place()
        if slide is None or place.isEmpty():
            return
        painter = QPainter(self)
        if self._scaled is None:
            self._scaled = self._thumbnail(place.size().toSize())
        if self._scaled is not None:
            painter.drawPixmap(place.topLeft().toPoint(), self._scaled)
        painter.setPen(QPen(COLOR, 2))
        painter.drawRect(self._frame())
        painter.end()

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        self._scaled = None
        self._drawn = self._frame().toAlignedRect()

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self._look(event.position())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self._look(event.position())

    def _look(self, point: QPointF) -> None:
        slide, place = self._session.slide, self.place()
        if slide is None or place.isEmpty():
            return
        height, width = slide.levels[0].shape
        y = np.clip((point.y() - place.y()) / place.height(), 0, 1) * height
        x = np.clip((point.x() - place.x()) / place.width(), 0, 1) * width
        y, x = to_data(np.array((y, x))) * slide_scale(slide)
        self._viewer.scene.camera.center = (0.0, float(y), float(x))

    def _frame(self) -> QRectF:
        # What is visible of the slide, in the widget.
        slide, place = self._session.slide, self.place()
        if slide is None or place.isEmpty():
            return QRectF()
        scale = place.width() / slide.levels[0].shape[1]
        y0, x0, y1, x1 = (side * scale for side in visible_region(self._viewer, slide))
        frame = QRectF(x0, y0, x1 - x0, y1 - y0).translated(place.topLeft())
        more = max(0.0, LEAST_PX - frame.width()) / 2, max(0.0, LEAST_PX - frame.height()) / 2
        frame.adjust(-more[0], -more[1], more[0], more[1])
        return frame.intersected(QRectF(self.rect()).adjusted(1, 1, -2, -2))

    def _thumbnail(self, size: QSize) -> QPixmap | None:
        slide, loader = self._session.slide, self._loader
        if slide is None or loader is None:
            return None
        rgb = loader.overview(THUMBNAIL_PX)
        height, width = rgb.shape[:2]
        image = QImage(rgb.tobytes(), width, height, 3 * width, QImage.Format.Format_RGB888)
        keep, smooth = Qt.AspectRatioMode.IgnoreAspectRatio, SMOOTH
        return QPixmap.fromImage(image.scaled(size, keep, smooth))

    def _on_slide(self) -> None:
        # psygnal holds methods weakly, so that a closed navigator hears no more.
        if self._loader is not None:
            self._loader.loaded.disconnect(self._hear, missing_ok=True)
        slide = self._session.slide
        layer = self._layers.layer(slide) if slide is not None else None
        self._loader = layer.metadata["pathfm"]["loader"] if layer is not None else None
        if self._loader is not None:
            self._loader.loaded.connect(self._hear)
        self._redraw()

    def _hear(self, level: int, row: int, col: int) -> None:
        if self._loader is not None and self._loader.pinned(level) is not None:
            self._arrived.emit()

    def _on_arrived(self) -> None:
        if not self._soon.isActive():
            self._soon.start()

    def _redraw(self) -> None:
        self._scaled = None
        self.update()


def _around(rect: QRect) -> QRect:
    return rect.adjusted(-2, -2, 2, 2)


def open_navigator(viewer: Viewer) -> Navigator:
    """Open the navigator below the layer list, or bring it to the front."""
    return open_docked(viewer, Navigator, "PathFM navigator", "left")

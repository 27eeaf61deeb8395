"""The map itself: points that can be panned, zoomed, clicked and lassoed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QRectF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QGraphicsPathItem, QWidget

from .raster import Marks, rasterize

CLICK_PX = 12
"""A click farther than this from every point hits none."""

_SMOOTH_PX = 500_000  # up to so many pixels of the screen, marks are drawn twice as large and halved


class PointCloud(pg.GraphicsObject):
    """All points as one image, drawn anew for every view."""

    def __init__(self) -> None:
        super().__init__()
        self.marks: Marks | None = None

    def set_marks(self, marks: Marks | None) -> None:
        """Draw other points."""
        self.marks = marks
        self.update()

    def boundingRect(self) -> QRectF:
        view = self.getViewBox()
        return QRectF() if view is None else QRectF(view.viewRect())

    def viewRangeChanged(self) -> None:
        self.prepareGeometryChange()
        self.update()

    def viewTransformChanged(self) -> None:
        super().viewTransformChanged()
        self.viewRangeChanged()

    def paint(self, painter: QPainter, *_: object) -> None:
        view = self.getViewBox()
        if self.marks is None or view is None:
            return
        ratio = painter.device().devicePixelRatioF()
        pixels = view.width() * view.height() * ratio**2
        unit = max(1, round(ratio)) * (2 if pixels <= _SMOOTH_PX else 1)
        shape = max(1, round(view.height() * unit)), max(1, round(view.width() * unit))
        (x0, x1), (y0, y1) = view.viewRange()
        drawn = rasterize(self.marks, (x0, y0, x1, y1), shape, unit)
        image = QImage(
            drawn.data, shape[1], shape[0], QImage.Format.Format_ARGB32_Premultiplied
        )
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(QRectF(x0, y0, x1 - x0, y1 - y0), image)


class _Box(pg.ViewBox):
    """Turns gestures into a lasso, a click, or a movement of the view."""

    def __init__(self, owner: MapView) -> None:
        super().__init__(lockAspect=True, enableMenu=False)
        self.disableAutoRange()
        self.owner = owner
        self.corners: list[tuple[float, float]] = []
        self.line = QGraphicsPathItem()
        pen = QPen(QColor("#f0e442"), 1.5)
        pen.setCosmetic(True)
        self.line.setPen(pen)
        self.line.setBrush(QColor(240, 228, 66, 40))
        self.addItem(self.line, ignoreBounds=True)

    def mouseDragEvent(self, event: Any, axis: int | None = None) -> None:
        event.accept()
        if event.button() == Qt.MouseButton.LeftButton and self.owner.lasso:
            self._draw(event)
            return
        moved = self.mapToView(event.lastPos()) - self.mapToView(event.pos())
        self.translateBy(x=moved.x(), y=moved.y())

    def _draw(self, event: Any) -> None:
        if event.isStart():
            start = self.mapToView(event.buttonDownPos())
            self.corners = [(start.x(), start.y())]
        here = self.mapToView(event.pos())
        self.corners.append((here.x(), here.y()))
        path = QPainterPath()
        if not event.isFinish():
            path.moveTo(*self.corners[0])
            for corner in self.corners[1:]:
                path.lineTo(*corner)
        elif len(self.corners) > 2:
            self.owner.lassoed.emit(np.array(self.corners), event.modifiers())
        self.line.setPath(path)

    def mouseClickEvent(self, event: Any) -> None:
        if event.button() == Qt.MouseButton.LeftButton:
            event.accept()
            at = self.mapToView(event.pos())
            self.owner.clicked.emit(at.x(), at.y(), event.modifiers())


class MapView(pg.GraphicsView):
    """Shows marks.

    Attributes
    ----------
    lasso : bool
        Whether a drag with the left button draws a lasso; other buttons always move the view.
    """

    lassoed = Signal(object, object)
    """Corners ``(K, 2)`` ``(x, y)`` on the map, and the keyboard modifiers."""
    clicked = Signal(float, float, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self.lasso = True
        self.setMinimumSize(160, 160)
        self.cloud = PointCloud()
        self.box = _Box(self)
        self.box.addItem(self.cloud, ignoreBounds=True)
        self.setCentralItem(self.box)
        self.setAccessibleName("Map of the tiles")

    def set_marks(self, marks: Marks | None) -> None:
        """Show other points; the view stays where it is."""
        self.cloud.set_marks(marks)

    def fit(self) -> None:
        """Show all points."""
        marks = self.cloud.marks
        if marks is None or not len(marks.x):
            return
        x, y = (float(marks.x.min()), float(marks.x.max())), (marks.y.min(), marks.y.max())
        wide, high = x[1] - x[0], float(y[1] - y[0])
        size = max(wide, high, 1e-6)
        self.box.setLimits(minXRange=size / 1e4, maxXRange=size * 20)
        centre = sum(x) / 2, float(y[0] + y[1]) / 2
        wide, high = max(wide, size / 10), max(high, size / 10)
        self.box.setRange(
            QRectF(centre[0] - wide / 2, centre[1] - high / 2, wide, high), padding=0.06
        )

    def nearest(self, x: float, y: float) -> int | None:
        """Index of the mark at a place of the map, ``None`` if there is none near it."""
        marks = self.cloud.marks
        if marks is None or not len(marks.x):
            return None
        across, down = self.box.viewPixelSize()
        distance: NDArray[np.float32] = ((marks.x - x) / across) ** 2 + ((marks.y - y) / down) ** 2
        best = int(distance.argmin())
        return best if distance[best] <= CLICK_PX**2 else None

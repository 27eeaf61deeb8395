"""The map itself: points that can be panned, zoomed, clicked and lassoed."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from qtpy.QtCore import QPointF, QRectF, Qt, Signal
from qtpy.QtGui import QColor, QImage, QMouseEvent, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QGraphicsPathItem, QWidget

from .raster import Marks, rasterize

LASSO_COLOR = "#f0e442"
CLICK_PX = 12
"""A click farther than this from every point hits none."""

CLICK_WAY_PX = 4
"""A press that moves farther than this is a drag."""

_SMOOTH_PX = 500_000  # on a smaller area of the screen marks are drawn twice as large and halved


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
        device = painter.device()
        ratio = device.devicePixelRatioF() if device is not None else 1.0
        pixels = view.width() * view.height() * ratio**2
        unit = max(1, round(ratio)) * (2 if pixels <= _SMOOTH_PX else 1)
        shape = max(1, round(view.height() * unit)), max(1, round(view.width() * unit))
        (x0, x1), (y0, y1) = view.viewRange()
        drawn = rasterize(self.marks, (x0, y0, x1, y1), shape, unit)
        image = QImage(
            drawn.tobytes(), shape[1], shape[0], QImage.Format.Format_ARGB32_Premultiplied
        )
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
        painter.drawImage(QRectF(x0, y0, x1 - x0, y1 - y0), image)


class MapView(pg.GraphicsView):
    """Shows marks, and turns gestures into a lasso, a click, or a movement of the view.

    Attributes
    ----------
    lasso : bool
        Whether a drag with the left button draws a lasso; other buttons always move the view.
    moved : bool
        Whether the user has moved the view since all points were shown.
    """

    lassoed = Signal(object, object)
    """Corners ``(K, 2)`` ``(x, y)`` on the map, and the keyboard modifiers."""
    clicked = Signal(float, float, object)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent, background=None)
        self.lasso, self.moved = True, False
        self.setMinimumSize(160, 160)
        self.setAccessibleName("Map of the tiles")
        self.cloud = PointCloud()
        self.box = pg.ViewBox(lockAspect=True, enableMenu=False)
        self.box.disableAutoRange()
        self.box.addItem(self.cloud, ignoreBounds=True)
        self.setCentralItem(self.box)
        self.box.sigRangeChangedManually.connect(self._on_wheel)
        self._line = QGraphicsPathItem()
        pen = QPen(QColor(LASSO_COLOR), 1.5)
        pen.setCosmetic(True)
        self._line.setPen(pen)
        self.box.addItem(self._line, ignoreBounds=True)
        self._button = Qt.MouseButton.NoButton
        self._press = self._last = QPointF()  # in pixels of the widget
        self._corners: list[QPointF] = []  # on the map, so that the wheel may zoom meanwhile

    def set_marks(self, marks: Marks | None) -> None:
        """Show other points; the view stays where it is."""
        self.cloud.set_marks(marks)

    def fit(self) -> None:
        """Show all points."""
        self.moved = False
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

    def place(self, pixel: QPointF) -> QPointF:
        """Turn a place in the widget into a place on the map."""
        return self.box.mapSceneToView(self.mapToScene(pixel.toPoint()))

    # pyqtgraph's own gestures drop moves that follow each other quickly, and errors in them.

    def mousePressEvent(self, event: QMouseEvent) -> None:
        if self._button == Qt.MouseButton.NoButton:
            self._button, self._corners = event.button(), []
            self._press = self._last = event.position()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        self.mousePressEvent(event)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        if self._button == Qt.MouseButton.NoButton:
            return
        way = (event.position() - self._press).manhattanLength()
        if not self._corners:
            if way <= CLICK_WAY_PX:
                return
            self._corners.append(self.place(self._press))
        before, here = self.place(self._last), self.place(event.position())
        self._last = event.position()
        self._corners.append(here)
        if self._draws():
            path = self._line.path() if len(self._corners) > 2 else QPainterPath(self._corners[0])
            path.lineTo(here)
            self._line.setPath(path)
        else:
            self.box.translateBy(x=before.x() - here.x(), y=before.y() - here.y())
            self.moved = True

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        if event.button() != self._button:
            return
        draws, self._button = self._draws(), Qt.MouseButton.NoButton
        self._line.setPath(QPainterPath())
        if not self._corners and event.button() == Qt.MouseButton.LeftButton:
            at = self.place(event.position())
            self.clicked.emit(at.x(), at.y(), event.modifiers())
        elif draws and len(self._corners) > 2:
            corners = np.array([(corner.x(), corner.y()) for corner in self._corners])
            self.lassoed.emit(corners, event.modifiers())

    def _on_wheel(self) -> None:
        self.moved = True

    def _draws(self) -> bool:
        return self.lasso and self._button == Qt.MouseButton.LeftButton

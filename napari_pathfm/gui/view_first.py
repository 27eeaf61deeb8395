"""What the user looks at is embedded first."""

from __future__ import annotations

from napari import Viewer
from qtpy.QtCore import QObject

from ..analysis.tile_order import TileOrder
from ..core.slide import Slide
from ..core.tiles import TileGrid
from ..session import Session
from .camera import CameraWatch
from .view import visible_region


class ViewFirst(QObject):
    """Tells the order of the tiles where the view is, whenever it has moved."""

    def __init__(
        self, viewer: Viewer, session: Session, watch: CameraWatch, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        self._slide: Slide | None = None
        self._order: TileOrder | None = None
        watch.moved.connect(self._look)
        session.events.slide.connect(self._look, max_args=0)

    def order(self, slide: Slide, grid: TileGrid) -> TileOrder:
        """Return an order of a slide's tiles that follows the view from now on."""
        self._slide, self._order = slide, TileOrder(grid)
        self._look()
        return self._order

    def _look(self) -> None:
        slide = self._session.slide
        if self._order is not None and slide is not None and slide is self._slide:
            self._order.look(*visible_region(self._viewer, slide))

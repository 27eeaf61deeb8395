"""What lies over the slide: tissue and tile outlines, the selection, the heatmap."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image, Layer, Vectors
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from ..analysis.heatmap import heatmap
from ..analysis.search import TileScores
from ..core.tiles import TileGrid
from ..session import Session
from .layers import OVERLAY, slide_transform

TISSUE_COLOR = "#009e73"
GRID_COLOR = "#56b4e9"
SELECTION_COLOR = "#f0e442"
LEFT_OUT = "tiles left out"
SCREEN_WIDTH = {"tissue": 2.5, "tiles": 1.2, "selected tiles": 3.0}
"""Width of each outline in pixels of the screen."""


def tile_edges(grid: TileGrid, tiles: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
    """Outline tiles with as few lines as possible.

    Edges that neighbours share are drawn once and edges in a row become one line, so that a grid
    of 100,000 tiles is some thousand lines.

    Parameters
    ----------
    grid : TileGrid
    tiles : ndarray, optional
        Numbers of the tiles to outline; all by default.

    Returns
    -------
    ndarray
        ``(L, 2, 2)`` float64: start and direction of each line, ``(y, x)`` level-0 pixels.
    """
    origins = grid.origins if tiles is None else grid.origins[tiles]
    if not len(origins):
        return np.zeros((0, 2, 2))
    low, high = origins, np.round(origins + grid.side).astype(np.int64)
    across = _runs(np.r_[low[:, 0], high[:, 0]], np.r_[low[:, 1], low[:, 1]], grid.side)
    down = _runs(np.r_[low[:, 1], high[:, 1]], np.r_[low[:, 0], low[:, 0]], grid.side)
    lines = np.zeros((len(across) + len(down), 2, 2))
    lines[: len(across), 0], lines[: len(across), 1, 1] = across[:, :2], across[:, 2]
    lines[len(across) :, 0], lines[len(across) :, 1, 0] = down[:, 1::-1], down[:, 2]
    return lines


def _runs(at: NDArray[np.int64], start: NDArray[np.int64], side: float) -> NDArray[np.float64]:
    """Join edges of one length that follow each other: ``(L, 3)`` of position, start, length."""
    # Positions that rounding has set one pixel apart belong to one line.
    order = np.lexsort((start, at))
    at, start = at[order], start[order]
    near = np.r_[False, (np.diff(at) <= 1)]
    at = at[np.maximum.accumulate(np.where(near, 0, np.arange(len(at))))]
    order = np.lexsort((start, at))
    at, start = at[order], start[order]
    gap = start[1:] - (start[:-1] + side)
    breaks = np.r_[True, (np.diff(at) != 0) | (gap > 1.5)]
    first = np.flatnonzero(breaks)
    last = np.r_[first[1:], len(at)] - 1
    return np.stack([at[first], start[first], start[last] + side - start[first]], 1).astype(float)


def polygon_edges(polygons: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Turn closed polygons, each ``(K, 2)``, into lines ``(L, 2, 2)`` of start and direction."""
    lines = [np.stack([p, np.roll(p, -1, axis=0) - p], 1) for p in polygons if len(p) > 1]
    return np.concatenate(lines) if lines else np.zeros((0, 2, 2))


class Overlays(QObject):
    """Draws what the session holds over the slide."""

    def __init__(self, viewer: Viewer, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._viewer, self._session = viewer, session
        self._heatmap = ""  # name of the layer of scores
        self._widths = QTimer(self)
        self._widths.setSingleShot(True)
        self._widths.setInterval(120)
        self._widths.timeout.connect(self._fit_widths)
        viewer.scene.camera.events.zoom.connect(self._on_zoom)
        session.events.tissue.connect(self._on_tissue)
        session.events.grid.connect(self._on_grid)
        session.events.selection.connect(self._on_selection)
        session.events.left_out.connect(self._on_left_out)
        session.events.scores.connect(self._on_scores)

    def _on_zoom(self) -> None:
        self._widths.start()

    def _fit_widths(self) -> None:
        for layer in self._viewer.layers:
            if isinstance(layer, Vectors) and layer.name in SCREEN_WIDTH:
                layer.edge_width = self._width(layer.name)

    def _width(self, name: str) -> float:
        slide = self._session.slide
        scale = (slide.mpp or 1.0) if slide is not None else 1.0
        return SCREEN_WIDTH[name] / (self._viewer.scene.camera.zoom * scale)

    def _on_tissue(self) -> None:
        tissue = self._session.tissue
        lines = polygon_edges(tissue.outlines()) if tissue is not None else None
        self._outline("tissue", lines, TISSUE_COLOR)

    def _on_grid(self) -> None:
        grid = self._session.grid
        self._outline("tiles", tile_edges(grid) if grid is not None else None, GRID_COLOR)

    def _on_selection(self) -> None:
        grid, tiles = self._session.grid, self._session.selection.tiles
        lines = tile_edges(grid, tiles) if grid is not None and len(tiles) else None
        self._outline("selected tiles", lines, SELECTION_COLOR)

    def _outline(self, name: str, lines: NDArray[np.float64] | None, color: str) -> None:
        slide = self._session.slide
        shown = self._find(name)
        if slide is None or lines is None or not len(lines):
            if shown is not None:
                self._viewer.layers.remove(shown)
            return
        if isinstance(shown, Vectors):
            shown.data = lines
            shown.edge_width = self._width(name)
            return
        active = self._viewer.layers.selection.active
        layer = Vectors(
            lines,
            name=name,
            edge_color=color,
            edge_width=self._width(name),
            vector_style="line",
            opacity=1.0,
            metadata=OVERLAY,
            **slide_transform(slide),
        )
        self._viewer.add_layer(layer)
        self._keep_active(active)

    def _on_left_out(self) -> None:
        left_out = self._session.left_out
        self._remove(LEFT_OUT)
        if left_out is not None:
            ones = np.ones(len(left_out), np.float32)
            scores = TileScores(np.arange(len(left_out)), ones, "not good enough", LEFT_OUT)
            self._lay_over(left_out, scores, (0.0, 2.0), colormap="gray")

    def _on_scores(self) -> None:
        grid, scores = self._session.grid, self._session.scores
        if scores is None or scores.name != self._heatmap:
            self._remove(self._heatmap)
        if scores is None or grid is None or not np.isfinite(scores.values).any():
            return
        self._heatmap = scores.name
        low, high = (float(each) for each in np.nanpercentile(scores.values, (2, 100)))
        self._lay_over(grid, scores, (low, max(high, low + 1e-3)), colormap="inferno")

    def _lay_over(
        self, grid: TileGrid, scores: TileScores, limits: tuple[float, float], **style: Any
    ) -> None:
        slide, shown, drawn = self._session.slide, self._find(scores.name), heatmap(grid, scores)
        if slide is None:
            return
        if isinstance(shown, Image) and shown.data.shape == drawn.image.shape:
            # Made anew, it would take longer; and while tiles come, it stays as the user has it.
            shown.data, shown.contrast_limits = drawn.image, limits
            shown.visible |= shown.metadata["text"] != scores.text
            shown.metadata["text"] = scores.text
            return
        self._remove(scores.name)
        transform = slide_transform(slide, drawn.downsample)
        offset = np.array(drawn.origin) * (slide.mpp or 1.0)
        transform["translate"] = tuple(np.array(transform["translate"]) + offset)
        active = self._viewer.layers.selection.active
        layer = Image(
            drawn.image,
            name=scores.name,
            contrast_limits=limits,
            opacity=0.6,
            blending="translucent",
            interpolation2d="nearest",
            metadata={**OVERLAY, "text": scores.text},
            **style,
            **transform,
        )
        self._viewer.add_layer(layer)
        self._keep_active(active)

    def _remove(self, name: str) -> None:
        shown = self._find(name)
        if shown is not None:
            self._viewer.layers.remove(shown)

    def _find(self, name: str) -> Layer | None:
        return next((layer for layer in self._viewer.layers if layer.name == name), None)

    def _keep_active(self, active: Layer | None) -> None:
        # A new overlay must not take the keys away from the layer the user works on.
        if active is not None and active in self._viewer.layers:
            self._viewer.layers.selection.active = active

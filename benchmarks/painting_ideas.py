"""Two ways to paint on a mask that is too large for memory, compared in one run.

*Window*: a plain Labels layer over the visible region, filled anew when the camera rests (what
this program does). *Own layer*: a multiscale Labels layer over the whole mask whose painting is
replaced by our own. Both get the same strokes and the same pans over a mask of
100,000 x 100,000 pixels. For each: what a stamp takes (see :mod:`benchmarks.painting`), and
how late a 5 ms timer is while a hand pans.

It needs a display; without one, start it by ``.ci/window python -m benchmarks.painting_ideas``.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from napari.layers import Labels

from ._measure import main, say
from .painting import SIDE, Painter, Stamp, blank_slide, summary

OBJECTS = 2_000
PAN_SECONDS = 12.0


class LevelView:
    """A level of an annotation layer as an array of label codes, read on demand."""

    def __init__(self, store: Any, level: int) -> None:
        self._store, self._level = store, level
        self.shape, self.dtype, self.ndim = store.levels[level], np.dtype(np.int64), 2
        self.size = int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> Any:
        from napari_pathfm.gui.label_codes import code_of, encode

        (y0, y1, _), (x0, x1, _) = (
            part.indices(side) for part, side in zip(key, self.shape, strict=True)
        )
        ids = self._store.read(self._level, y0, x0, y1 - y0, x1 - x0)
        return encode(ids, lambda number: code_of(number, 1) % 1000)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self[:, :]


class OwnLayer(Labels):
    """A multiscale Labels layer that can be painted at the level that is shown."""

    def _reset_editable(self) -> None:
        self.editable = True

    def paint(self, coord: Any, new_label: int, refresh: bool = True) -> None:
        """Stamp into what is shown; the strokes would be written behind as they are now."""
        factor = self.downsample_factors[self.data_level]
        raw, view = self._slice.image.raw, self._slice.image.view
        center = np.asarray(coord) / factor - self.corner_pixels[0]
        radius = self.brush_size // 2
        low = np.maximum(np.round(center).astype(int) - radius, 0)
        high = np.minimum(np.round(center).astype(int) + radius + 1, raw.shape)
        if (low >= high).any():
            return
        rows, cols = np.ogrid[low[0] : high[0], low[1] : high[1]]
        disc = (rows - center[0]) ** 2 + (cols - center[1]) ** 2 <= (radius + 0.5) ** 2
        box = np.s_[low[0] : high[0], low[1] : high[1]]
        raw[box][disc] = new_label
        view[box][disc] = self.colormap._data_to_texture(np.array([new_label], raw.dtype))[0]
        self.events.labels_update(data=view[box], offset=low.tolist())


def measure() -> dict[str, Any]:
    """Let both ideas paint and pan."""
    with TemporaryDirectory() as folder:
        painter = Painter(blank_slide(Path(folder) / "blank.ome.zarr"), Path(folder))
        scatter(painter)
        found = {"window": both(painter)}
        painter.edits.layer.visible = False
        own = own_layer(painter)
        painter.viewer.layers.selection.active = own
        found["own_layer"] = both(painter, own)
        painter.close()
    return found


def scatter(painter: Painter) -> None:
    """Put objects all over the middle of the mask."""
    store = painter.place.session.annotations
    side = 100
    rows = round(np.sqrt(OBJECTS))
    ids = np.zeros((rows * 2 * side, rows * 2 * side), np.uint32)
    squares = np.arange(1, rows**2 + 1, dtype=np.uint32).reshape(rows, rows)
    spread = squares.repeat(side, 0).repeat(side, 1).reshape(rows, side, rows, side)
    ids.reshape(rows, 2 * side, rows, 2 * side)[:, :side, :, :side] = spread
    start = SIDE // 2 - rows * side
    store.commit(store.paint_edit(start, start, ids, ids > 0, "squares"))


def own_layer(painter: Painter) -> OwnLayer:
    """Add the other idea's layer to the viewer."""
    store, ours = painter.place.session.annotations, painter.edits.layer
    layer = OwnLayer(
        [LevelView(store, level) for level in range(len(store.levels))],
        multiscale=True,
        scale=(painter.place.session.slide.mpp,) * 2,
        units=ours.units,
        opacity=0.5,
        colormap=ours.colormap,
    )
    painter.viewer.add_layer(layer)
    layer.mode = "paint"
    return layer


def both(painter: Painter, layer: Any = None) -> dict[str, float]:
    """Stamps and pans with one of the layers."""
    from napari_pathfm.gui.driver import Panning

    stamps: list[Stamp] = []
    for downsample in (1.0, 4.0):
        for brush, step in ((40, 10), (500, 60)):
            say(f"brush {brush}, downsample {downsample:g}")
            painter.look(SIDE / 2, SIDE / 2, downsample)
            (layer or painter.edits.layer).brush_size = brush
            stamps += painter.stroke(step, 40)
            painter.written()
    scale = painter.place.session.slide.mpp
    painter.look(SIDE / 2, SIDE / 2, 2.0)
    say("panning")
    panning = Panning(painter.viewer, (SIDE / 2 * scale,) * 2, (3000 * scale, 3000 * scale))
    panning.start()
    painter.driver.idle(PAN_SECONDS)
    panning.stop()
    return {
        **summary(stamps),
        "pan_p99_ms": panning.meter.p99,
        "pan_max_ms": panning.meter.worst,
        "pan_late_ms_in_all": float(np.sum(panning.meter.late_ms)),
    }


if __name__ == "__main__":
    main("painting_ideas", measure)

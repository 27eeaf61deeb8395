"""A stroke on its way to the project: kept at most once, by whichever thread comes first."""

from __future__ import annotations

import threading

from ..analysis.save_elsewhere import UnsavedStroke
from ..core.jobs import Job, Progress
from ..io.masks import AnnotationLayer, HandStroke


class Keeping:
    """One stroke of a hand, from the screen to its edit.

    Parameters
    ----------
    layer : AnnotationLayer
    stroke : HandStroke
    """

    def __init__(self, layer: AnnotationLayer, stroke: HandStroke) -> None:
        self._layer, self._stroke = layer, stroke
        self._lock = threading.Lock()
        self._number = 0
        self._over = False

    @property
    def unsaved(self) -> UnsavedStroke:
        """The stroke, to be saved elsewhere."""
        layer = self._layer
        return UnsavedStroke(layer.slide_id, layer.name, layer.shape, self._stroke, self._kept())

    def keep_job(self) -> Job[None]:
        """Keep it now, while others are still being written before it."""
        yield Progress(0, 1, "keeping a stroke")
        self._keep()

    def write_job(self, layer: AnnotationLayer) -> Job[None]:
        """Make it an edit; a large one is kept before."""
        number = self._keep() if layer.is_large(self._stroke) else self._kept()
        yield from layer.stroke_job(self._stroke, number)
        with self._lock:
            self._over = True

    def drop_job(self) -> Job[None]:
        """Forget it: it was taken back before it was written."""
        yield Progress(0, 1, "taking a stroke back")
        with self._lock:
            self._over = True
            if self._number:
                self._layer.drop_stroke(self._number)

    def _keep(self) -> int:
        with self._lock:
            if not self._number and not self._over:
                self._number = self._layer.keep_stroke(self._stroke)
            return self._number

    def _kept(self) -> int:
        with self._lock:
            return self._number

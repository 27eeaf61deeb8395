"""Haematoxylin and eosin alone, as layers over the slide that are computed for what is shown."""

from __future__ import annotations

from typing import Any

import numpy as np
from napari import Viewer
from napari.layers import Image
from napari.utils import Colormap
from numpy.typing import NDArray
from qtpy.QtCore import QObject, QTimer

from ..analysis.unmix import unmix
from ..io.live import LevelArray
from ..session import Session
from . import notify
from .follow import follow
from .layers import SlideLayers, slide_transform

COLORS = {"haematoxylin": "#3b2a8c", "eosin": "#d6336c"}
BRIGHTEST = 200
"""Upper contrast limit to begin with; few nuclei are darker."""


class StainLevel:
    """One level of one stain as a read-only array-like ``(h, w)`` uint8.

    It answers at once with what the level has now, as that does; see :class:`LevelArray`.

    Parameters
    ----------
    level : LevelArray
    stain : str
        A key of :data:`~napari_pathfm.analysis.unmix.STAINS`.
    """

    dtype = np.dtype(np.uint8)
    ndim = 2

    def __init__(self, level: LevelArray, stain: str) -> None:
        self._level, self._stain = level, stain
        self.shape = level.shape[:2]
        self.chunks = level.chunks[:2]

    @property
    def size(self) -> int:
        """Number of values."""
        return self.shape[0] * self.shape[1]

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[:, :], dtype)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """Return what is there now; never decodes."""
        return unmix(self._level[key], self._stain)


class StainLayers(QObject):
    """Makes the layer of a stain when it is asked for, and takes it away again."""

    def __init__(
        self, viewer: Viewer, session: Session, layers: SlideLayers, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._layers = viewer, session, layers
        # napari may still be busy with adding or removing the slide's layer.
        self._soon = QTimer(self)
        self._soon.setSingleShot(True)
        self._soon.timeout.connect(self._clear)
        follow(self, (session.events.slide, self._on_slide))

    def toggle(self, stain: str) -> None:
        """Show a stain alone, or the slide again."""
        slide = self._session.slide
        image = self._layers.layer(slide) if slide is not None else None
        if slide is None or image is None:
            notify.tell("Open a slide first.")
            return
        if self._remove(stain):
            return
        active = self._viewer.layers.selection.active
        layer = Image(
            [StainLevel(level, stain) for level in image.data],
            name=stain,
            multiscale=True,
            rgb=False,
            colormap=Colormap(["white", COLORS[stain]], name=f"pathfm {stain}"),
            contrast_limits=(0, 255),  # the range of the slider
            metadata={"pathfm": {"overlay": True, "stain": stain, **_loader(image)}},
            **slide_transform(slide),
        )
        layer.contrast_limits = (0, BRIGHTEST)
        self._viewer.layers.insert(self._viewer.layers.index(image) + 1, layer)
        self._viewer.layers.selection.active = active

    def _on_slide(self) -> None:
        self._soon.start()

    def _remove(self, *stains: str) -> bool:
        shown = [one for one in self._viewer.layers if _stain(one) in stains]
        for layer in shown:
            self._viewer.layers.remove(layer)
        return bool(shown)

    def _clear(self) -> None:
        # They show the levels of the slide before, or have another scale.
        self._remove(*COLORS)


def _loader(image: Image) -> dict[str, Any]:
    return {"loader": image.metadata["pathfm"]["loader"]}


def _stain(layer: Any) -> str | None:
    stain: str | None = layer.metadata.get("pathfm", {}).get("stain")
    return stain

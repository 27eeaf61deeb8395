"""A layer that shows one candidate over a slide, before it is an object."""

from __future__ import annotations

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from numpy.typing import NDArray

from ..analysis.candidate import Candidate
from ..core.slide import Slide
from .layers import slide_scale, slide_transform

OPACITY, PREVIEW_OPACITY = 0.6, 0.35


class Scratch:
    """A Labels layer that nobody paints on; it is hidden while it shows nothing.

    Parameters
    ----------
    slide : Slide
    name : str
        Of the layer.
    color : str
        ``"#rrggbb"``, to begin with.

    Attributes
    ----------
    layer : Labels
        To be added to a viewer.
    shown : Candidate or None
        What it shows.
    """

    def __init__(self, slide: Slide, name: str, color: str) -> None:
        self._slide, self._color = slide, color
        self.layer = Labels(
            np.zeros((2, 2), np.uint8),
            name=name,
            opacity=OPACITY,
            visible=False,
            colormap=_one_color(color),
            units=slide_transform(slide)["units"],
        )
        self.layer.editable = False
        self.shown: Candidate | None = None

    def show(self, candidate: Candidate | None, color: str, preview: bool = False) -> None:
        """Show a candidate in the colour of its class to be, fainter as a preview; or nothing."""
        layer, self.shown = self.layer, candidate
        if candidate is None:
            layer.visible = False
            return
        # Each of these makes napari lay out all layers anew, so only what is new is set, and the
        # place in one.
        if color != self._color:
            self._color, layer.colormap = color, _one_color(color)
        opacity = PREVIEW_OPACITY if preview else OPACITY
        if layer.opacity != opacity:
            layer.opacity = opacity
        mask = candidate.mask.view(np.uint8)
        place = self._place(candidate)
        moved = not np.array_equal(layer.affine.affine_matrix, place)
        if layer.data.shape != mask.shape:
            layer.data = mask.copy()
        else:
            layer.data[:] = mask
            if not moved:
                layer.refresh(extent=False, thumbnail=False)
        if moved:
            layer.affine = place
        if not layer.visible:
            layer.visible = True

    def _place(self, candidate: Candidate) -> NDArray[np.float64]:
        """``(3, 3)`` matrix from pixels of a candidate to the world."""
        scale = slide_scale(self._slide)
        place = np.diag([candidate.downsample * scale, candidate.downsample * scale, 1.0])
        place[:2, 2] = np.array((candidate.y, candidate.x)) + (candidate.downsample - 1) / 2
        place[:2, 2] *= scale
        return place


def _one_color(color: str) -> DirectLabelColormap:
    return DirectLabelColormap(color_dict={None: "transparent", 0: "transparent", 1: color})

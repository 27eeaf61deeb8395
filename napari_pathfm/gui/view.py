"""What part of a slide a viewer shows, in level-0 pixels."""

from __future__ import annotations

import numpy as np
from napari import Viewer
from napari.layers import Layer
from numpy.typing import NDArray

from ..core.slide import Slide
from .layers import slide_scale

Region = tuple[float, float, float, float]

CLOSEST = 4.0
"""Pixels of the screen a level-0 pixel, at most, where an object is gone to: more shows no more."""


def view_downsample(viewer: Viewer, slide: Slide) -> float:
    """Level-0 pixels per pixel of the screen."""
    return float(1 / (viewer.scene.camera.zoom * slide_scale(slide)))


def visible_region(viewer: Viewer, slide: Slide) -> Region:
    """``(y0, x0, y1, x1)`` of the canvas, level-0 pixels; may reach over the slide's edges."""
    center = from_data(np.asarray(viewer.scene.camera.center)[-2:] / slide_scale(slide))
    half = np.asarray(viewer.canvas.size) / 2 * view_downsample(viewer, slide)
    (y0, x0), (y1, x1) = center - half, center + half
    return float(y0), float(x0), float(y1), float(x1)


def from_data(position: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn data coordinates of a layer in level-0 pixels into positions on the slide.

    napari puts the centre of the first pixel at 0; a slide's first pixel begins there.
    """
    return np.asarray(position, np.float64) + 0.5


def to_data(position: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn positions on the slide into data coordinates of a layer in level-0 pixels."""
    return np.asarray(position, np.float64) - 0.5


def on_slide(layer: Layer, slide: Slide, points: NDArray[np.floating]) -> NDArray[np.float64]:
    """Turn data coordinates of any layer into positions on the slide that it lies over.

    Parameters
    ----------
    layer : Layer
        However it is moved, scaled, turned or sheared.
    slide : Slide
    points : ndarray
        ``(K, D)`` data coordinates of a layer of D dimensions, ``y, x`` last.

    Returns
    -------
    ndarray
        ``(K, 2)`` float64 ``(y, x)``, level-0 pixels.
    """
    # Calling napari for each of a hundred thousand points would take seconds.
    origin = np.array(layer.data_to_world(np.zeros(layer.ndim)))
    axes = np.array([layer.data_to_world(axis) for axis in np.eye(layer.ndim)]) - origin
    world = np.asarray(points, np.float64) @ axes + origin
    return from_data(world[:, -2:] / slide_scale(slide))


def look_at(viewer: Viewer, slide: Slide, box: Region, share: float | None = None) -> None:
    """Move the view to the middle of a box, ``(y0, x0, y1, x1)`` in level-0 pixels.

    With a `share` the view is zoomed so that the box fills that part of it, as its reciprocal, but
    no closer than `CLOSEST`.
    """
    y0, x0, y1, x1 = box
    center = to_data(np.array(((y0 + y1) / 2, (x0 + x1) / 2))) * slide_scale(slide)
    camera = viewer.scene.camera
    camera.center = (0.0, float(center[0]), float(center[1]))
    if share is not None:
        wanted = min(viewer.canvas.size) / (share * max(y1 - y0, x1 - x0, 1))
        camera.zoom = min(wanted, CLOSEST) / slide_scale(slide)

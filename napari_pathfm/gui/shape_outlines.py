"""What the user has drawn in a Shapes layer, as outlines on the slide."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
from napari.layers import Shapes
from numpy.typing import NDArray

from ..core.slide import Slide
from ..io.interop.outline_table import OutlineBuilder, OutlineTable
from .view import on_slide

OPEN = "lines and open paths, which cover no pixel"

CHORD = 0.05
"""Level-0 pixels by which the edge of an ellipse may be off."""


def shape_outlines(
    layer: Shapes, slide: Slide, class_number: int
) -> tuple[OutlineTable, Counter[str]]:
    """Turn the shapes of a layer into outlines of one class, and count what is none.

    Polygons, rectangles and ellipses count, and paths whose ends meet. Scale, translation,
    rotation and shear of the layer are taken into account.
    """
    builder, left_out = OutlineBuilder(), Counter[str]()
    for points, kind in zip(layer.data, layer.shape_type, strict=True):
        if is_open(points, kind):
            left_out[OPEN] += 1
            continue
        corners = on_slide(layer, slide, points)
        ring = _ellipse(corners) if kind == "ellipse" else corners
        builder.add([[ring.tolist()]], class_number)
    return builder.take(), left_out


def is_open(points: NDArray[np.floating], kind: str) -> bool:
    """Whether a shape of napari is a line, or a path whose ends do not meet."""
    closed = len(points) > 3 and bool(np.allclose(points[0], points[-1]))
    return kind == "line" or (kind == "path" and not closed)


def _ellipse(corners: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points of the ellipse in a rectangle of four corners, however it is turned."""
    center = corners.mean(0)
    one, other = (corners[1] - corners[0]) / 2, (corners[3] - corners[0]) / 2
    radius = max(float(np.linalg.norm(one)), float(np.linalg.norm(other)), 1.0)
    count = max(16, math.ceil(2 * math.pi / math.acos(max(0.0, 1 - CHORD / radius)) / 2))
    angles = np.arange(count)[:, None] * 2 * np.pi / count
    points: NDArray[np.float64] = center + np.cos(angles) * one + np.sin(angles) * other
    return points

"""What lies in a layer of shapes or points, as prompts: an object each."""

from __future__ import annotations

from collections import Counter

import numpy as np
from napari.layers import Points, Shapes

from ..core.prompts import Prompts, one_each
from ..core.slide import Slide
from .shape_outlines import is_open
from .view import on_slide

OPEN = "lines and open paths"
FLAT = "smaller than a pixel"


def layer_prompts(layer: Points | Shapes, slide: Slide) -> tuple[list[Prompts], Counter[str]]:
    """Turn each shape of a layer into the box round it, each point into a click.

    Scale, translation, rotation and shear of the layer are taken into account. Points that the
    layer does not show do not count.

    Returns
    -------
    prompts : list of Prompts
        Level-0 pixels; they may lie outside the slide.
    left_out : Counter
        How many shapes are none, by the reason.
    """
    left_out = Counter[str]()
    if isinstance(layer, Points):
        data = np.asarray(layer.data, float).reshape(-1, layer.ndim)
        return one_each(on_slide(layer, slide, data[np.asarray(layer.shown)])), left_out
    shapes, boxes = layer.data, []
    corners = on_slide(layer, slide, np.concatenate([np.zeros((0, layer.ndim)), *shapes]))
    ends = np.cumsum([len(points) for points in shapes]).astype(int)
    for points, kind, part in zip(
        shapes, layer.shape_type, np.split(corners, ends)[:-1], strict=True
    ):
        low, high = part.min(0), part.max(0)
        if is_open(points, kind):
            left_out[OPEN] += 1
        elif (high - low < 1).any():
            left_out[FLAT] += 1
        else:
            boxes.append([*low, *high])
    return one_each(np.array(boxes).reshape(-1, 4)), left_out

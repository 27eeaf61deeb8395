"""An image's texture that stays while what is shown of the image changes its size.

Each step of the zoom brings pixels of another size, and vispy makes a texture of just that size.
Where the processor draws, that is fresh memory: 10 to 50 ms, several times what the upload takes.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

WASTE = 4
"""A texture with more room than so many times the pixels is made anew."""

CORNERS = np.array([[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]], np.float32)
"""Of the two triangles that vispy draws an image with, as parts of it along x and y."""


def keep_texture(node: Any) -> None:
    """Let an image of vispy use a part of a texture that is large enough.

    Parameters
    ----------
    node : vispy.visuals.ImageVisual
        With interpolation "nearest"; for any other one the texture is made to fit, since they
        look at pixels beside each other, and reckon with a texture as large as the image.
    """
    texture, resize, build = node._texture, node._texture._resize, node._build_vertex_data
    if node._grid != (1, 1):
        return

    def fit(shape: tuple[int, ...], **formats: Any) -> None:
        resize(_room(texture.shape, shape) if node.interpolation == "nearest" else shape, **formats)

    def build_and_cut() -> None:
        build()
        part = np.divide(node.size, node._texture.shape[1::-1])
        node._subdiv_texcoord.set_data((CORNERS * part).astype(np.float32))

    texture._resize, node._build_vertex_data = fit, build_and_cut


def fit_anew(node: Any) -> None:
    """Have the texture fit again, after the interpolation has changed."""
    node._need_texture_upload = node._need_vertex_update = True
    node.update()


def _room(now: tuple[int, ...], wanted: tuple[int, ...]) -> tuple[int, ...]:
    if now[2:] != wanted[2:]:
        return wanted
    grown = (*map(max, now[:2], wanted[:2]), *wanted[2:])
    return wanted if math.prod(grown) > WASTE * math.prod(wanted) else grown

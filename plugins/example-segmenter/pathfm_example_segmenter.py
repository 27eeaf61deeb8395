"""A segmenter without weights: the region round the click whose colour is like that of the click.

Colours are compared in CIELAB, where distances are about as large as they look, and a region is
what hangs together with the click: the "magic wand" of image editors.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from skimage.color import rgb2lab
from skimage.transform import resize

from napari_pathfm.core.prompts import Prompts
from napari_pathfm.models.base import ImageEmbedding, Segmentation

NAME = "example-colour-region"
TOLERANCES = (6.0, 12.0, 18.0)
"""Largest distances in CIELAB of the three answers."""
SMOOTH = 0.8
"""Standard deviation in pixels of the smoothing before colours are compared."""


def load(weights: Path | None = None, device: str | None = None) -> ColourRegion:
    """Make the segmenter; there are no weights to load, and it always runs on the processor."""
    return ColourRegion()


class ColourRegion:
    """Grows regions from clicks."""

    name, device, input_px = NAME, "cpu", 512
    answers = frozenset({"points", "box"})
    weights_id = ""  # there are none

    def encode(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        """Turn a ``(h, w, 3)`` uint8 crop into smooth CIELAB, ``(3, h, w)`` float32."""
        smooth = ndimage.gaussian_filter(rgb.astype(np.float32) / 255, (SMOOTH, SMOOTH, 0))
        colours = rgb2lab(smooth).transpose(2, 0, 1).astype(np.float32)
        return ImageEmbedding(self.name, (rgb.shape[0], rgb.shape[1]), colours)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        """Answer the prompts of N objects; earlier logits are of no use to it."""
        answers = [_answer(embedding.features, prompt) for prompt in prompts]
        masks, scores, low = (np.stack(parts) for parts in zip(*answers, strict=True))
        return Segmentation(masks, scores.astype(np.float32), low.astype(np.float32))


def _answer(
    colours: NDArray[np.float32], prompt: Prompts
) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Three masks ``(3, h, w)``, best first, their scores ``(3,)``, logits ``(3, 256, 256)``."""
    seeds = prompt.points[prompt.positive]
    if not len(seeds) and prompt.box is not None:
        seeds = prompt.box.reshape(2, 2).mean(0)[None]
    if not len(seeds):
        raise ValueError("There is no positive point yet: click on the object.")
    like = _distance(colours, seeds)
    unlike = _distance(colours, prompt.points[~prompt.positive])
    outside = _outside(prompt, like.shape)
    answers = []
    for tolerance in TOLERANCES:
        allowed = (like < tolerance) & (like < unlike) & ~outside
        parts, _ = ndimage.label(allowed)
        clicked = np.unique(parts[tuple(_pixels(seeds, like.shape))])
        mask = ndimage.binary_fill_holes(np.isin(parts, clicked[clicked > 0])) & ~outside
        sure = np.where(mask, np.abs(tolerance - like), -np.abs(tolerance - like)) / tolerance
        answers.append((mask, _score(like, mask), resize(sure, (256, 256), order=1)))
    answers.sort(key=lambda answer: -answer[1])
    masks, scores, logits = (np.stack(parts) for parts in zip(*answers, strict=True))
    return masks, scores, logits


def _pixels(points: NDArray[np.float64], shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Pixels under ``(K, 2)`` points, inside the crop: ``(2, K)``."""
    return np.clip(np.floor(points).astype(np.int64), 0, np.array(shape) - 1).T


def _distance(colours: NDArray[np.float32], points: NDArray[np.float64]) -> NDArray[np.float32]:
    """Distance of each pixel's colour to the nearest of those under the points: ``(h, w)``."""
    nearest = np.full(colours.shape[1:], np.inf, np.float32)
    for y, x in _pixels(points, nearest.shape).T:
        apart = np.linalg.norm(colours - colours[:, y, x, None, None], axis=0)
        nearest = np.minimum(nearest, apart)
    return nearest


def _outside(prompt: Prompts, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels that do not lie in the box, if there is one: ``(h, w)``."""
    outside = np.zeros(shape, bool)
    if prompt.box is not None:
        outside[:] = True
        (top, left), (bottom, right) = _pixels(prompt.box.reshape(2, 2), shape).T
        outside[top : bottom + 1, left : right + 1] = False
    return outside


def _score(distance: NDArray[np.float32], mask: NDArray[np.bool_]) -> float:
    """How clear the border is, 0 to 1: colours just outside against those just inside."""
    inside = mask & ~ndimage.binary_erosion(mask, iterations=3)
    outside = ndimage.binary_dilation(mask, iterations=3) & ~mask
    if not inside.any() or not outside.any():
        return 0.0
    near, far = float(distance[inside].mean()), float(distance[outside].mean())
    return max(0.0, (far - near) / (far + near + 1e-6))

"""Discs on tissue, and a segmenter that answers points on them, and boxes round them, exactly."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from napari_pathfm.analysis.judge_clicks import ArraySlide
from napari_pathfm.core.prompts import Prompts
from napari_pathfm.models.base import ImageEmbedding, Segmentation

Disc = tuple[float, float, float]
"""Middle ``(y, x)`` and radius."""

STROMA = (235, 190, 215)
PURPLE = (110, 50, 140)
PINK = (255, 149, 255)
GRID = 64
"""Side of the features."""


class ExactSegmenter:
    """Answers with the dark part under the point, or the one that fills most of the box.

    Its features are the colours of the crop.
    """

    device, weights_id = "cpu", ""

    def __init__(
        self, name: str = "exact", input_px: int = 256, answers: Sequence[str] = ("points",)
    ) -> None:
        self.name, self.input_px, self.answers = name, input_px, frozenset(answers)
        self.encoded = self.asked = self.decoded = 0

    def encode(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        self.encoded += 1
        places = ((np.arange(GRID) + 0.5) * len(rgb) / GRID).astype(int)
        features = rgb[np.ix_(places, places)].transpose(2, 0, 1).astype(np.float32)
        return Seeing(self.name, rgb.shape[:2], features, rgb)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        from scipy.ndimage import label

        assert isinstance(embedding, Seeing)
        self.asked += len(prompts)
        self.decoded += 1
        dark = embedding.rgb[..., 1] < 150
        parts, _ = label(dark)
        height, width = embedding.shape
        masks = np.zeros((len(prompts), 3, height, width), bool)
        for number, asked in enumerate(prompts):
            part = _part(parts, asked)
            if part:
                masks[number, 0] = parts == part
            masks[number, 1] = ~dark
        scores = np.repeat(np.array([[0.9, 0.8, 0.1]], np.float32), len(prompts), 0)
        rows, cols = ((np.arange(256) + 0.5) * side / 256 for side in (height, width))
        low = masks[:, :, rows.astype(int)][..., cols.astype(int)]
        return Segmentation(masks, scores, np.where(low, 8, -8).astype(np.float32))


def _part(parts: NDArray[np.integer], asked: Prompts) -> int:
    """Number of the part that is meant; 0 for none."""
    if asked.box is None:
        row, col = np.floor(asked.points[0]).astype(int)
        return int(parts[row, col])
    y0, x0, y1, x1 = np.round(asked.box).astype(int).clip(0)
    inside = parts[y0:y1, x0:x1]
    counts = np.bincount(inside[inside > 0], minlength=1)
    return int(counts.argmax())


class Seeing(ImageEmbedding):
    """An embedding that remembers its crop."""

    def __init__(
        self,
        model: str,
        shape: tuple[int, int],
        features: NDArray[np.float32],
        rgb: NDArray[np.uint8],
    ) -> None:
        super().__init__(model, shape, features)
        object.__setattr__(self, "rgb", rgb)

    rgb: NDArray[np.uint8]


def disc_labels(shape: tuple[int, int], discs: Sequence[Disc]) -> NDArray[np.uint32]:
    """``(h, w)`` uint32: 1 for the first disc, ..."""
    labels = np.zeros(shape, np.uint32)
    rows, cols = np.arange(shape[0])[:, None] + 0.5, np.arange(shape[1])[None] + 0.5
    for number, (y, x, radius) in enumerate(discs, 1):
        labels[(rows - y) ** 2 + (cols - x) ** 2 < radius**2] = number
    return labels


def disc_slide(
    labels: NDArray[np.uint32], colors: Sequence[tuple[int, int, int]] = ()
) -> ArraySlide:
    """Tissue with discs in their colours, purple if none are given."""
    rgb = np.full((*labels.shape, 3), STROMA, np.uint8)
    rgb[labels > 0] = PURPLE
    for number, color in enumerate(colors, 1):
        rgb[labels == number] = color
    return ArraySlide(rgb)

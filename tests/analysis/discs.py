"""A slide of dark discs, and models that know exactly what is dark: so geometry can be judged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import label

from napari_pathfm.core.prompts import Prompts
from napari_pathfm.core.slide import Level
from napari_pathfm.models.base import Answering, ExamplePair, ImageEmbedding, Segmentation

DISCS = ((500.0, 500.0, 120.0), (500.0, 1200.0, 100.0), (1300.0, 900.0, 140.0))
"""Each: y, x, radius, at 0.5 um a pixel."""

SHAPE = 2000, 1800


class Discs:
    """The slide, at any mpp: with smaller pixels, all of it has more of them."""

    properties: dict[str, str] = {}
    damage: dict[tuple[int, int, int], str] = {}
    associated_images: tuple[str, ...] = ()

    def __init__(
        self, mpp: float | None = 0.5, discs: tuple[tuple[float, float, float], ...] = DISCS
    ) -> None:
        self.mpp, self.scale = mpp, 0.5 / (mpp or 0.5)
        self.discs = np.array(discs) * self.scale
        self.id = self.name = f"discs at {mpp}"
        self.path = Path(self.name)
        height, width = (round(side * self.scale) for side in SHAPE)
        self.levels = (
            Level((height, width), 1.0, (256, 256)),
            Level((int(height / 4.006), int(width / 4.006)), 4.006, (256, 256)),
        )

    def dark(self, y: NDArray[np.floating], x: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Which of the level-0 positions in rows `y` and columns `x` are dark."""
        dark = np.zeros((len(y), len(x)), bool)
        for cy, cx, radius in self.discs:
            dark |= (y[:, None] - cy) ** 2 + (x[None] - cx) ** 2 < radius**2
        return dark

    def mask(self, y0: int, x0: int, y1: int, x1: int) -> NDArray[np.bool_]:
        """The truth in a box of level-0 pixels."""
        return self.dark(np.arange(y0, y1) + 0.5, np.arange(x0, x1) + 0.5)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> NDArray[np.uint8]:
        scale = self.levels[level].downsample
        dark = self.dark(
            (y + np.arange(height) + 0.5) * scale, (x + np.arange(width) + 0.5) * scale
        )
        return np.where(dark[..., None], np.uint8(40), np.uint8(235)).repeat(3, 2)

    def associated(self, name: str) -> NDArray[np.uint8]:
        raise KeyError(name)

    def close(self) -> None: ...


class DarkByExample:
    """Means what is as dark as the examples; in blocks, as tokens would."""

    name, device = "dark", "cpu"

    def __init__(self, block: int = 1, input_px: int = 448) -> None:
        self.block, self.input_px = block, input_px
        self.learned: list[ExamplePair] = []

    def learn(self, examples: Sequence[ExamplePair]) -> Answering:
        self.learned = list(examples)
        level = max(int(rgb[mask].max()) for rgb, mask in examples)

        def answer(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
            dark = (rgb[..., 0] <= level + 60).astype(np.float32)
            coarse = dark[self.block // 2 :: self.block, self.block // 2 :: self.block]
            blocks = coarse.repeat(self.block, 0).repeat(self.block, 1)
            return blocks[: len(rgb), : rgb.shape[1]]

        return answer


class DarkAt:
    """Segments what is dark in a box or at a point; or what is not dark, if it is to be wrong."""

    name, device, input_px, weights_id = "dark there", "cpu", 512, ""

    def __init__(self, *answers: str, wrong: bool = False) -> None:
        self.wrong, self.answers = wrong, frozenset(answers)
        self.asked: list[Prompts] = []

    def encode(self, rgb: NDArray[np.uint8]) -> ImageEmbedding:
        return ImageEmbedding(self.name, rgb.shape[:2], rgb)

    def decode(
        self,
        embedding: ImageEmbedding,
        prompts: Sequence[Prompts],
        logits: NDArray[np.float32] | None = None,
    ) -> Segmentation:
        self.asked += prompts
        dark = embedding.features[..., 0] < 128
        masks = np.stack([self._masks(dark, each) for each in prompts])
        scores = np.array([[0.9, 0.5, 0.1]] * len(prompts), np.float32)
        return Segmentation(masks, scores, np.zeros((len(prompts), 3, 256, 256), np.float32))

    def _masks(self, dark: NDArray[np.bool_], prompts: Prompts) -> NDArray[np.bool_]:
        if prompts.box is not None:
            y0, x0, y1, x1 = prompts.box
            grow, there = 0.1 * (y1 - y0), np.zeros_like(dark)
            rows, cols = (
                slice(int(max(0, a - grow)), int(b + grow)) for a, b in ((y0, y1), (x0, x1))
            )
            there[rows, cols] = dark[rows, cols]
        else:
            parts, _ = label(dark)
            ((row, col),) = np.floor(prompts.points).astype(int)
            there = parts == parts[row, col] if dark[row, col] else np.zeros_like(dark)
        return np.stack([~dark if self.wrong else there, ~dark, np.zeros_like(dark)])

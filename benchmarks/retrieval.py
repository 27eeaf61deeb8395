"""What the embeddings of the default encoder find again, by cosine to the nearest tile.

``precision_at_1``: on 400 tiles of 10 slides, how often the nearest other tile is of the same
slide. ``organ_across_slides``: on the fine tiles of 80 slides, how often the nearest tile of
**another** slide is of the same organ, among organs with two slides or more; the first rewards a
slide's own stain, the second does not. ``organ_by_chance`` is what a random tile of another slide
would give. Tiles go through the same job as those of a slide.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathfm.analysis.embed import embed
from napari_pathfm.core.jobs import run
from napari_pathfm.core.tiles import TileGrid, TilePlan, TileSpec
from napari_pathfm.models.base import Encoder
from napari_pathfm.models.catalog import DEFAULT_ENCODER, get_encoder

from ._measure import find_material, main, say

Labels = NDArray[np.str_]


class Files:
    """Tiles in image files, read like those of a slide."""

    def __init__(self, paths: list[Path]) -> None:
        self.paths = paths

    def tiles(
        self, grid: TileGrid, order: NDArray[np.integer] | None = None, batch: int = 32
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
        """Yield numbers ``(B,)`` and tiles ``(B, 256, 256, 3)`` uint8."""
        from PIL import Image

        numbers = np.arange(len(grid)) if order is None else np.asarray(order, np.int64)
        for start in range(0, len(numbers), batch):
            part = numbers[start : start + batch]
            images = [Image.open(self.paths[number]).convert("RGB") for number in part]
            yield part, np.stack([np.asarray(image) for image in images])


def measure() -> dict[str, Any]:
    """Measure both."""
    encoder = get_encoder(DEFAULT_ENCODER)
    same_slide = precision_at_1(encoder, find_material("tiles", "atlas"))
    across = organ_across_slides(encoder, find_material("pretrain"))
    return {
        "encoder": encoder.spec.name,
        "precision": encoder.key.precision,
        "precision_at_1": same_slide,
        **across,
    }


def precision_at_1(encoder: Encoder, folder: Path) -> float:
    """Fraction of tiles whose nearest other tile is of the same slide."""
    rows = read_rows(folder / "labels.csv")
    slides = np.array([row["repo"] for row in rows])
    cosines = all_cosines(encoder, [folder / row["file"] for row in rows])
    np.fill_diagonal(cosines, -2)
    return float((slides[cosines.argmax(1)] == slides).mean())


def organ_across_slides(encoder: Encoder, folder: Path) -> dict[str, float | int]:
    """Fraction of tiles whose nearest tile of another slide is of the same organ."""
    rows = [row for row in read_rows(folder / "tiles.csv") if row["tier"] == "fine"]
    organs_of = {row["slide"]: row["organ"] for row in rows}
    shared = [organ for organ in organs_of.values() if [*organs_of.values()].count(organ) > 1]
    rows = [row for row in rows if row["organ"] in shared]
    slides = np.array([row["slide"] for row in rows])
    organs = np.array([row["organ"] for row in rows])
    cosines = all_cosines(encoder, [folder / row["file"] for row in rows])
    other = slides[:, None] != slides
    cosines[~other] = -2
    same = organs[:, None] == organs
    return {
        "organ_across_slides": float((organs[cosines.argmax(1)] == organs).mean()),
        "organ_by_chance": float(((same & other).sum(1) / other.sum(1)).mean()),
        "organs": len(set(organs)),
        "slides": len(set(slides)),
        "tiles": len(rows),
    }


def read_rows(path: Path) -> list[dict[str, str]]:
    """Read a table."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def all_cosines(encoder: Encoder, paths: list[Path]) -> NDArray[np.float32]:
    """Embed files with the job, and compare each with each: ``(N, N)``."""
    say(f"embedding {len(paths)} tiles")
    spec, origins = TileSpec(256, None), np.zeros((len(paths), 2), np.int64)
    grid = TileGrid("files", spec, origins, 256.0, TilePlan(0, 256, 256))
    vectors = run(embed(Files(paths), grid, encoder)).in_grid_order().vectors
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines: NDArray[np.float32] = vectors @ vectors.T
    return cosines


if __name__ == "__main__":
    main("retrieval", measure)

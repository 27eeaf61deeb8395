"""How well segmenters do with clicks and boxes: nuclei that were held out, and synthetic glands.

Mean IoU over objects after 1, 3 and 5 simulated clicks and with a box, through the job that the
window runs, one object of an image after the other as there: the scale comes from a view at full
resolution and, from the second object of an image on, from the answer for the one before; never
from the truth. ``first_click_1`` is over the first objects alone.

Nuclei: every fifth image of the folder ``nuclei``, which ``pathfm train-click`` keeps back. Glands:
synthetic slides with other seeds than those that are trained on, seen at full resolution.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

from napari_pathfm.analysis.click_crops import LabelledImage, read_folder, synthetic_images
from napari_pathfm.analysis.judge_clicks import judge
from napari_pathfm.core.jobs import run
from napari_pathfm.models import catalog
from napari_pathfm.models.base import ModelError

from ._measure import find_material, main, say

HELD_OUT = 5
"""Every so many-th image."""

GLANDS, GLAND_SEED = 12, 900_000


def measure(names: list[str], each: int) -> dict[str, Any]:
    """Measure segmenters by their names."""
    kinds = {"nuclei": nuclei(), "glands": synthetic_images(GLANDS, seed=GLAND_SEED)}
    figures: dict[str, Any] = {}
    for name in names:
        try:
            segmenter = catalog.get_segmenter(name)
        except ModelError as error:
            say(f"{name}: {error}")
            continue
        if "points" not in segmenter.answers:
            say(f"{name} answers no points")
            continue
        for kind, images in kinds.items():
            say(f"{name}: {kind}")
            found = run(judge(segmenter, images, each))
            figures[name] = figures.get(name, {}) | {
                f"{kind}.{key}": value for key, value in found.items()
            }
    return figures


def nuclei() -> list[LabelledImage]:
    """Return the held-out images."""
    folder = find_material("nuclei", "index.csv").parent
    return sorted(read_folder(folder), key=lambda image: image.name)[::HELD_OUT]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--segmenter", action="append", help="name; the default one if absent")
    parser.add_argument("--all", action="store_true", help="every one whose weights are there")
    parser.add_argument("--each", type=int, default=15, help="objects of an image, at most")
    options, sys.argv[1:] = parser.parse_known_args()
    chosen = options.segmenter or [catalog.DEFAULT_SEGMENTER]
    if options.all:
        chosen = [*catalog.segmenters().names()]
    main("prompting", lambda: measure(chosen, options.each))

"""How many objects a minute of the user's actions finds: one click each, and many from one click.

Actions are counted, not machine time, with the keystroke-level model (Card, Moran and Newell,
Communications of the ACM 23, 1980): a click is pointing (1.1 s) and a press of the button (0.1 s),
a key 0.6 s with the glance that decides about it. An object counts as found if it has an IoU above
0.5 with one of the truth.

- `click`: for every object a click on its innermost point and a key, to keep or to clear.
- `everything`: one object like that, a key for everything in the image, and for each object that is
  wrong a click and a key to delete it.
- `more_like`: one object like that, a key for more like it, a key for each candidate that is asked
  about, accepted if it is right; after a few wrong ones in a row the rest is rejected.
- `by_example`: one object like that, a click to save it as an example, one to segment by it, by the
  patch tokens of the encoder in the box, and a click and a key for each object that is wrong.

Nuclei: every fifth image of the folder ``nuclei`` (those that ``pathfm train-click`` keeps back).
Glands and nuclei of the synthetic slide: other seeds than those that are trained on.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathfm.analysis.by_example import segment_by_example
from napari_pathfm.analysis.candidate import Candidate, commit_edit
from napari_pathfm.analysis.click_crops import LabelledImage, read_folder, synthetic_images
from napari_pathfm.analysis.everything import find_everything
from napari_pathfm.analysis.found_edit import NothingNew, found_edit
from napari_pathfm.analysis.found_objects import FoundObjects
from napari_pathfm.analysis.judge_clicks import LEAST_PX, ArraySlide
from napari_pathfm.analysis.more_like import more_like
from napari_pathfm.analysis.proposals import Wanted
from napari_pathfm.analysis.prototypes import Prototypes
from napari_pathfm.analysis.segment import segment
from napari_pathfm.analysis.simulated_clicks import first_click
from napari_pathfm.analysis.take_example import take_examples
from napari_pathfm.core.edits import CHUNK
from napari_pathfm.core.jobs import run
from napari_pathfm.core.prompts import Prompts
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.models import catalog
from napari_pathfm.models.base import ModelError, Segmenter

from ._measure import MissingMaterial, find_material, main, say

CLICK, KEY = 1.2, 0.6
"""Seconds."""

RIGHT = 0.5
"""An object is found if its IoU is above this."""

PATIENCE = 5
"""The user gives up after so many wrong candidates one after the other."""

WANTED = Wanted(1.0)
"""How sure the segmenter must be of what everything finds; the size is the example's."""

HELD_OUT = 5
SYNTHETIC, SYNTHETIC_SIDE, SEED = 4, 1536, 910_000
FEWEST = 8
"""Images with fewer objects say nothing about many."""

MANY = "everything", "more_like", "by_example"


@dataclass
class Score:
    """What one way has brought, over all images."""

    right: int = 0
    wrong: int = 0
    clicks: int = 0
    keys: int = 0
    objects: int = 0

    @property
    def seconds(self) -> float:
        """Of the user's actions."""
        return self.clicks * CLICK + self.keys * KEY

    def figures(self) -> dict[str, float]:
        """For people."""
        return {
            "per_minute": round(60 * self.right / max(self.seconds, 1e-9), 1),
            "found": round(self.right / max(self.objects, 1), 3),
            "right": self.right,
            "wrong": self.wrong,
            "clicks": self.clicks,
            "keys": self.keys,
            "objects": self.objects,
        }


@dataclass
class Truth:
    """The objects of an image, and which of them have been found."""

    labels: NDArray[np.integer]
    numbers: list[int]
    found: set[int] = field(default_factory=set)

    def take(self, y: int, x: int, mask: NDArray[np.bool_]) -> bool:
        """Whether a mask is an object that was not found before."""
        top, left = max(0, -y), max(0, -x)
        mask = mask[top : self.labels.shape[0] - y, left : self.labels.shape[1] - x]
        y, x = y + top, x + left
        below = self.labels[y : y + mask.shape[0], x : x + mask.shape[1]][mask]
        if not below.any():
            return False
        counts = np.bincount(below[below > 0])
        number = int(counts.argmax())
        union = int(mask.sum()) + int((self.labels == number).sum()) - int(counts[number])
        if counts[number] / union <= RIGHT or number in self.found:
            return False
        self.found.add(number)
        return True


def measure(
    segmenter: Segmenter, kinds: dict[str, Sequence[LabelledImage]], wanted: Wanted = WANTED
) -> dict[str, Any]:
    """Measure a segmenter on images of several kinds."""
    figures: dict[str, Any] = {"seconds_a_click": CLICK, "seconds_a_key": KEY}
    figures |= {"least_score": wanted.score, "least_stability": wanted.stability}
    for kind, images in kinds.items():
        ways = {name: Score() for name in ("click", *MANY)}
        for image in images:
            truth = truth_of(image)
            if len(truth.numbers) < FEWEST:
                continue
            play(segmenter, image, wanted, ways)
            say(f"{kind} {image.name}: " + ", ".join(f"{k} {s.figures()}" for k, s in ways.items()))
        for name, score in ways.items():
            figures[f"{kind}.{name}"] = score.figures()
    return figures


def truth_of(image: LabelledImage) -> Truth:
    """Objects that are large enough to be asked for."""
    boxes = image.boxes()
    known = [n for n, b in boxes.items() if min(b[2] - b[0], b[3] - b[1]) >= LEAST_PX]
    return Truth(image.labels, known)


def play(
    segmenter: Segmenter, image: LabelledImage, wanted: Wanted, ways: dict[str, Score]
) -> None:
    """Let a user find the objects of an image in each of the ways."""
    slide = ArraySlide(image.rgb, image.name)
    for score in ways.values():
        score.objects += len(truth_of(image).numbers)
    clicked = by_clicks(segmenter, slide, truth_of(image), ways["click"])
    example = _middle(clicked)
    if example is None:
        return  # nothing to begin with; what the others have not found counts against them
    region = (0.0, 0.0, *map(float, slide.levels[0].shape))
    for name in MANY:
        truth, score = truth_of(image), ways[name]
        score.clicks, score.keys = score.clicks + 1, score.keys + 2
        score.right += truth.take(*example.level0_mask())
        with tempfile.TemporaryDirectory() as folder, Project.open(Path(folder) / "p") as project:
            project.add_slide(slide)
            layer = AnnotationLayer.open(project, slide.id, "objects", slide.levels[0].shape)
            layer.commit(commit_edit(layer, example, 0))
            if name == "everything":
                sized = replace(wanted, size=example.size or 1.0)
                found = run(find_everything(slide, segmenter, region, sized, layer))
                delete_wrong(drawn(found, truth.labels.shape), truth, score)
            elif name == "by_example":
                score.clicks += 2
                delete_wrong(like_examples(segmenter, slide, layer), truth, score)
            else:
                likes = run(more_like(slide, segmenter, layer, list(layer.objects), region))
                ask([like.candidate for like in likes], truth, score)


def by_clicks(
    segmenter: Segmenter, slide: ArraySlide, truth: Truth, score: Score
) -> list[Candidate]:
    """Click on every object; returns the right answers."""
    right, size = [], None
    for number in truth.numbers:
        point = np.array([first_click(truth.labels == number)])
        prompts = Prompts(point, np.array([True]))
        candidate = run(segment(slide, prompts, segmenter, 1.0, size=size))
        score.clicks, score.keys = score.clicks + 1, score.keys + 1
        if truth.take(*candidate.level0_mask()):
            score.right += 1
            size = candidate.size
            right.append(candidate)
        else:
            score.wrong += 1
    return right


def drawn(found: FoundObjects, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Ids of all that was found, ``(h, w)``."""
    side = CHUNK
    height, width = (-(-length // side) * side for length in shape)
    ids = np.zeros((height, width), np.int64)
    for row, col, numbers in found:
        ids[row * side : (row + 1) * side, col * side : (col + 1) * side] = numbers
    return ids


def like_examples(
    segmenter: Segmenter, slide: ArraySlide, layer: AnnotationLayer
) -> NDArray[np.int64]:
    """Ids of what looks like the objects of a layer and is new, ``(h, w)``."""
    old = list(layer.objects)
    examples = take_examples(slide, layer, old, "marked")
    model = Prototypes(catalog.get_encoder())
    try:
        found = run(segment_by_example(slide, examples, model, None, segmenter))
        layer.commit(found_edit(layer, found))
    except NothingNew:
        pass
    ids = layer.read(0, 0, 0, *layer.shape).astype(np.int64)
    ids[np.isin(ids, old)] = 0
    return ids


def delete_wrong(ids: NDArray[np.int64], truth: Truth, score: Score) -> None:
    """Count what was found, and delete what is wrong."""
    boxes = LabelledImage(np.zeros((1, 1, 3), np.uint8), ids).boxes()
    for number, (y, x, y1, x1) in boxes.items():
        if truth.take(y, x, ids[y:y1, x:x1] == number):
            score.right += 1
        else:
            score.wrong += 1
            score.clicks, score.keys = score.clicks + 1, score.keys + 1


def ask(candidates: Sequence[Candidate], truth: Truth, score: Score) -> None:
    """Go through the queue."""
    wrong = 0
    for candidate in candidates:
        score.keys += 1
        if truth.take(*candidate.level0_mask()):
            score.right, wrong = score.right + 1, 0
        else:
            score.wrong, wrong = score.wrong + 1, wrong + 1
        if wrong == PATIENCE:
            score.keys += 1
            return


def _middle(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the one of middle size, as a user would choose a typical example."""
    known = sorted(candidates, key=lambda candidate: candidate.size or 0.0)
    return known[len(known) // 2] if known else None


def material(limit: int) -> dict[str, Sequence[LabelledImage]]:
    """Images whose objects are known."""
    folder = find_material("nuclei", "index.csv").parent
    nuclei = sorted(read_folder(folder), key=lambda image: image.name)[::HELD_OUT]
    count = min(limit, SYNTHETIC)
    return {
        "nuclei": nuclei[:limit],
        "synthetic_glands": synthetic_images(count, SYNTHETIC_SIDE, SEED),
        "synthetic_nuclei": synthetic_images(count, SYNTHETIC_SIDE // 3, SEED, glands=False),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--segmenter", default="pathfm-click", help="name")
    parser.add_argument("--weights", type=Path, help="its file; what is found if absent")
    parser.add_argument("--score", type=float, default=WANTED.score, help="least, of everything")
    parser.add_argument("--stability", type=float, default=WANTED.stability, help="least of it")
    parser.add_argument("--images", type=int, default=100, help="of a kind, at most")
    options, sys.argv[1:] = parser.parse_known_args()

    def run_it() -> dict[str, Any]:
        """Load the segmenter and measure it."""
        try:
            segmenter = catalog.get_segmenter(options.segmenter, weights=options.weights)
        except ModelError as error:
            raise MissingMaterial(str(error)) from error
        wanted = replace(WANTED, score=options.score, stability=options.stability)
        kinds = material(options.images)
        return {"segmenter": options.segmenter} | measure(segmenter, kinds, wanted)

    main("more", run_it)

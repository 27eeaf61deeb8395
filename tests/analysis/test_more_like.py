from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.candidate import commit_edit
from napari_pathfm.analysis.crop import Crop
from napari_pathfm.analysis.judge_clicks import ArraySlide
from napari_pathfm.analysis.likeness import covered, feature_map
from napari_pathfm.analysis.more_like import Like, more_like
from napari_pathfm.core.jobs import run
from napari_pathfm.core.prompts import MaskPrompt
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project
from napari_pathfm.models.base import ImageEmbedding

from ..exact_segmenter import PINK, PURPLE, ExactSegmenter, disc_labels, disc_slide

SHAPE = (600, 800)
WHOLE = (0.0, 0.0, 600.0, 800.0)
DISCS = [
    (100.0, 100.0, 20.0),
    (100.0, 400.0, 21.0),
    (300.0, 210.0, 19.0),
    (455.0, 450.0, 20.0),
    (300.0, 500.0, 20.0),
    (520.0, 700.0, 21.0),
    (500.0, 100.0, 7.0),
]
COLORS = [PURPLE, PURPLE, PURPLE, PURPLE, PINK, PINK, PURPLE]
"""Three that are like the first, two of another colour and a small one."""


@pytest.fixture
def labels() -> NDArray[np.uint32]:
    return disc_labels(SHAPE, DISCS)


@pytest.fixture
def slide(labels: NDArray[np.uint32]) -> ArraySlide:
    return disc_slide(labels, COLORS)


@pytest.fixture
def layer(tmp_path: Path, slide: ArraySlide) -> Iterator[AnnotationLayer]:
    with Project.open(tmp_path / "project") as project:
        project.add_slide(slide)
        yield AnnotationLayer.open(project, slide.id, "nuclei", SHAPE)


def draw(layer: AnnotationLayer, labels: NDArray[np.uint32], disc: int) -> int:
    number = layer.new_id()
    layer.commit(layer.paint_edit(0, 0, np.where(labels == disc, number, 0), labels == disc, "x"))
    return number


def middles(found: list[Like]) -> list[tuple[int, int]]:
    boxes = [like.candidate.box for like in found]
    assert all(box is not None for box in boxes)
    return sorted((round((b[0] + b[2]) / 2), round((b[1] + b[3]) / 2)) for b in boxes if b)


def test_those_of_the_same_looks_and_size_are_found_once_and_whole(
    slide: ArraySlide, layer: AnnotationLayer, labels: NDArray[np.uint32]
) -> None:
    first = draw(layer, labels, 1)
    found = run(more_like(slide, ExactSegmenter(), layer, [first], WHOLE))
    assert middles(found) == [(100, 400), (300, 210), (455, 450)]
    for like in found:
        y, x, mask = like.candidate.level0_mask()
        number = labels[
            int(like.candidate.prompts.points[0, 0]), int(like.candidate.prompts.points[0, 1])
        ]
        assert (mask == (labels[y : y + mask.shape[0], x : x + mask.shape[1]] == number)).all()
        assert like.likeness > 0.9
    assert len(layer.objects) == 1, "nothing is changed"


def test_the_other_colour_is_found_from_its_own_example(
    slide: ArraySlide, layer: AnnotationLayer, labels: NDArray[np.uint32]
) -> None:
    pink = draw(layer, labels, 5)
    assert middles(run(more_like(slide, ExactSegmenter(), layer, [pink], WHOLE))) == [(520, 700)]
    purple = draw(layer, labels, 1)
    found = run(more_like(slide, ExactSegmenter(), layer, [pink, purple], WHOLE))
    assert middles(found) == [(100, 400), (300, 210), (455, 450), (520, 700)]
    assert [like.likeness for like in found] == sorted(
        (each.likeness for each in found), reverse=True
    )


def test_what_is_accepted_is_not_found_again(
    slide: ArraySlide, layer: AnnotationLayer, labels: NDArray[np.uint32]
) -> None:
    first = draw(layer, labels, 1)
    found = run(more_like(slide, ExactSegmenter(), layer, [first], WHOLE))
    layer.commit(commit_edit(layer, found[0].candidate, 1))
    again = run(more_like(slide, ExactSegmenter(), layer, [first], WHOLE))
    assert middles(again) == middles(found[1:])
    assert len(run(more_like(slide, ExactSegmenter(), layer, [first], WHOLE, limit=1))) == 1


def test_what_cannot_be_done_is_refused_with_a_remedy(
    slide: ArraySlide, layer: AnnotationLayer, labels: NDArray[np.uint32]
) -> None:
    with pytest.raises(ValueError, match="choose an object first"):
        run(more_like(slide, ExactSegmenter(), layer, [], WHOLE))
    boxes = ExactSegmenter()
    boxes.answers = frozenset({"box"})
    with pytest.raises(ValueError, match="pathfm-click"):
        run(more_like(slide, boxes, layer, [draw(layer, labels, 1)], WHOLE))
    with pytest.raises(ValueError, match="choose another segmenter"):
        feature_map(ImageEmbedding("odd", (8, 8), np.zeros(7, np.float32)))


def test_features_belong_to_what_lies_at_their_centre() -> None:
    crop = Crop(0, 100.0, 200.0, 64, 1.0, 64, np.zeros((64, 64, 3), np.uint8))
    inside = covered(crop, (8, 8), MaskPrompt(np.ones((8, 4), bool), 116.0, 232.0, 2.0))
    assert np.argwhere(inside).tolist() == [[r, 4] for r in (2, 3)]
    speck = covered(crop, (8, 8), MaskPrompt(np.ones((1, 1), bool), 141.0, 203.0))
    assert np.argwhere(speck).tolist() == [[5, 0]]

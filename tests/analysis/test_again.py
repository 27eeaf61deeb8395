"""Objects that are segmented again: the same prompts, exact pixels, one edit."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.analysis.again import prompts_of, replace
from napari_pathfm.analysis.candidate import Candidate, commit_edit
from napari_pathfm.analysis.crop import make_crop
from napari_pathfm.analysis.judge_clicks import ArraySlide
from napari_pathfm.analysis.segment import segment
from napari_pathfm.core.edits import ObjectRow
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import run
from napari_pathfm.core.prompts import MaskPrompt, Prompts
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project

from .test_reshape import SHAPE, Mask, candidate, disc, draw, rectangle, undone, whole
from .test_segment import Remembering


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[AnnotationLayer]:
    with Project.open(tmp_path / "p", author="ann") as project:
        yield AnnotationLayer.open(project, "ab", "regions", SHAPE)


def said() -> Prompts:
    return Prompts(np.array([[300.0, 400.0]]), np.array([True]), np.array([240.0, 340, 360, 460]))


def committed(layer: AnnotationLayer, mask: Mask) -> int:
    made = candidate(mask)
    made = Candidate(made.masks, 0, made.scores, 0, 0, 1.0, "sam", said())
    layer.commit(commit_edit(layer, made, 2, "ann"))
    return max(number for number, _ in layer.objects.items())


def test_an_object_remembers_what_was_said(layer: AnnotationLayer) -> None:
    number = committed(layer, disc(300, 400, 50))
    assert prompts_of(layer, number).key == said().key


def test_a_painted_object_is_its_own_prompt(layer: AnnotationLayer) -> None:
    ids = np.full((80, 700), 7, np.uint32)
    layer.commit(layer.paint_edit(100, 200, ids, None, "paint"))
    prompts = prompts_of(layer, 7)
    assert prompts.box is not None
    assert prompts.mask is not None
    step = prompts.mask.downsample
    assert step == 3, "256 pixels of it at most"
    np.testing.assert_allclose(prompts.box, [100, 200, 180, 900], atol=step)
    inside = prompts.mask.sampled(0, 0, 1.0, SHAPE[1])[: SHAPE[0]]
    wrong = inside != (whole(layer) == 7)
    assert wrong.sum() < 0.03 * 80 * 700


def test_what_was_found_by_example_is_its_own_prompt(layer: AnnotationLayer) -> None:
    ids = np.full((40, 60), 9, np.uint32)
    row = ObjectRow(9, 1, "predict", "seggpt", '{"example": "gland"}', 0.8)
    layer.commit(layer.paint_edit(100, 200, ids, None, "found", {9: row}))
    prompts = prompts_of(layer, 9)
    assert prompts.mask is not None
    assert prompts.box is not None
    np.testing.assert_allclose(prompts.box, [100, 200, 140, 260], atol=1)


def test_what_a_hand_has_corrected_counts_as_it_is(layer: AnnotationLayer) -> None:
    number = committed(layer, disc(300, 400, 50))
    ids = np.full((10, 200), number, np.uint32)
    layer.commit(layer.paint_edit(300, 400, ids, None, "brush", by_hand=True))
    prompts = prompts_of(layer, number)
    assert prompts.mask is not None
    assert prompts.box is not None
    assert prompts.box[3] == pytest.approx(600, abs=2)


def test_another_answer_takes_the_place_of_the_old(layer: AnnotationLayer) -> None:
    number, neighbour = committed(layer, disc(300, 400, 50)), draw(layer, disc(300, 560, 50))
    before, rows = whole(layer), dict(layer.objects.items())
    answer = candidate(np.ones((60, 200), bool), 280, 420)
    layer.commit(replace(layer, number, answer, "bob", overwrite=False))
    expected = np.where(before == number, 0, before)
    part = expected[280:340, 420:620]
    part[part == 0] = number
    np.testing.assert_array_equal(whole(layer), expected)
    row = layer.objects[number]
    assert (row.class_id, row.author, row.area, row.corrected) == (
        2,
        "bob",
        int((expected == number).sum()),
        False,
    )
    assert layer.objects[neighbour] == rows[neighbour]
    undone(layer, before, rows)
    layer.commit(replace(layer, number, candidate(rectangle(0, 0, 50, 50)), "bob"))
    np.testing.assert_array_equal(
        whole(layer),
        np.where(rectangle(0, 0, 50, 50), number, np.where(before == number, 0, before)),
    )


def test_nothing_left_or_nobody_there_is_refused(layer: AnnotationLayer) -> None:
    number, neighbour = draw(layer, disc(300, 400, 50)), draw(layer, disc(600, 800, 90))
    with pytest.raises(ValueError, match="no object 99"):
        replace(layer, 99, candidate(disc(1, 1, 5)))
    with pytest.raises(ValueError, match="empty"):
        replace(layer, number, candidate(np.zeros((4, 4), bool)))
    with pytest.raises(ValueError, match="other objects cover"):
        replace(layer, number, candidate(disc(600, 800, 20)), overwrite=False)
    assert neighbour in dict(layer.objects.items())


def test_the_mask_reaches_the_segmenter_as_its_earlier_answer() -> None:
    rgb = np.full((*SHAPE, 3), 230, np.uint8)
    rgb[disc(450, 650, 60)] = 40
    slide, segmenter = ArraySlide(rgb), Remembering()
    known = MaskPrompt(disc(450, 650, 60)[380:520, 580:720], 380.0, 580.0)
    prompts = Prompts(box=known.box, mask=known)
    run(segment(slide, prompts, segmenter, queue=InferenceQueue("again")))
    crop = make_crop(slide, prompts, segmenter.input_px, 1.0)
    (count, corner), *_ = segmenter.asked
    assert count == 0
    assert corner is not None
    assert corner < 0
    assert not known.sampled(crop.y, crop.x, crop.side / 256, 256)[0, 0]

"""Many boxes or points in one go: exact objects, few crops, one edit."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis.again import prompts_of, replace
from napari_pathfm.analysis.candidate import Candidate
from napari_pathfm.analysis.distinct import distinct
from napari_pathfm.analysis.found_objects import FoundObjects
from napari_pathfm.analysis.judge_clicks import ArraySlide
from napari_pathfm.analysis.keep_objects import keep_candidates
from napari_pathfm.analysis.segment import segment
from napari_pathfm.analysis.segment_each import (
    NOTHING,
    OUTSIDE,
    THERE,
    TWICE,
    SegmentedEach,
    segment_each,
)
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.core.prompts import MaskPrompt, Prompts, one_each
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project

from ..exact_segmenter import Disc, ExactSegmenter, disc_labels, disc_slide
from .test_everything import layer_of, same_objects

SHAPE = (900, 1100)
DISCS: tuple[Disc, ...] = (
    *(
        (60.0 + 34 * row, 60.0 + 34 * col, 8.0 + (row + col) % 5)
        for row in range(6)
        for col in range(7)
    ),
    (450.0, 200.0, 60.0),
    (700.0, 500.0, 45.0),
    (500.0, 800.0, 25.0),
    (130.0, 900.0, 30.0),
)
"""Nuclei side by side, and larger ones far from one another."""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "project", author="ada") as project:
        yield project


def exact(*answers: str) -> ExactSegmenter:
    return ExactSegmenter(answers=answers or ("points", "box"))


def boxes(discs: Sequence[Disc], grow: float = 2) -> NDArray[np.float64]:
    return np.array([(y - r - grow, x - r - grow, y + r + grow, x + r + grow) for y, x, r in discs])


def middles(discs: Sequence[Disc]) -> NDArray[np.float64]:
    return np.array([(y + r / 3, x - r / 3) for y, x, r in discs])


def kept(layer: AnnotationLayer, found: SegmentedEach, overwrite: bool = False) -> int:
    job = keep_candidates(layer, found.candidates, 2, "ada", "segment each", overwrite)
    return run(job)


def test_boxes_of_mixed_sizes_are_one_edit_that_undo_takes_back(project: Project) -> None:
    labels = disc_labels(SHAPE, DISCS)
    slide, segmenter = disc_slide(labels), exact()
    layer = layer_of(project, slide)
    found = run(segment_each(slide, one_each(boxes(DISCS)), segmenter))
    assert not layer.objects, "nothing is changed yet"
    assert not found.left_out
    assert kept(layer, found) == len(layer.objects) == len(DISCS)
    assert same_objects(layer.read(0, 0, 0, *SHAPE), labels)
    assert segmenter.asked == len(DISCS), "each is asked once"
    assert segmenter.encoded <= 20 < len(DISCS)
    assert segmenter.decoded == segmenter.encoded, "those of a crop together"
    (step,) = layer.history()
    assert step.text == "segment each"
    layer.undo()
    assert not layer.objects
    assert not layer.read(0, 0, 0, *SHAPE).any()
    layer.redo()
    assert same_objects(layer.read(0, 0, 0, *SHAPE), labels)


@pytest.mark.parametrize(("size", "view"), [(None, 0.4), (None, 1.0), (None, 3.0), (20.0, 1.0)])
def test_points_alone_find_objects_of_any_size(size: float | None, view: float) -> None:
    labels = disc_labels(SHAPE, DISCS)
    slide, segmenter = disc_slide(labels), exact("points")
    found = run(segment_each(slide, one_each(middles(DISCS)), segmenter, view, size))
    assert not found.left_out
    assert len(found.candidates) == len(DISCS)
    for candidate in found.candidates:
        (point,) = candidate.prompts.points.astype(int)
        truth = labels == labels[tuple(point)]
        y, x, mask = candidate.level0_mask()
        there = truth[y : y + mask.shape[0], x : x + mask.shape[1]]
        assert (there & mask).sum() / (truth.sum() + (mask & ~there).sum()) > 0.94
    assert segmenter.encoded < len(DISCS)


def test_each_row_knows_its_model_its_score_and_its_prompts(project: Project) -> None:
    labels = disc_labels(SHAPE, DISCS)
    slide, said = disc_slide(labels), one_each(boxes(DISCS))
    layer = layer_of(project, slide)
    kept(layer, run(segment_each(slide, said, exact())))
    keys = set()
    for number, row in dict(layer.objects.items()).items():
        assert (row.class_id, row.how, row.model, row.author) == (2, "prompt", "exact", "ada")
        assert row.score == pytest.approx(0.9)
        prompts = prompts_of(layer, number)
        keys.add(prompts.key)
        box = prompts.box
        assert box is not None
        assert (box[:2] <= row.box[:2]).all()
        assert (box[2:] >= row.box[2:]).all()
    assert keys == {each.key for each in said}
    before = layer.read(0, 0, 0, *SHAPE)
    again = run(segment(slide, prompts, exact()))
    layer.commit(replace(layer, number, again, "bob"))
    assert (layer.read(0, 0, 0, *SHAPE) == before).all(), "the same prompts, the same object"


def test_over_the_edge_outside_and_where_nothing_is(project: Project) -> None:
    discs = [(5.0, 300.0, 20.0), (895.0, 1095.0, 20.0), (400.0, 400.0, 20.0)]
    labels = disc_labels(SHAPE, discs)
    slide = disc_slide(labels)
    layer = layer_of(project, slide)
    wrong = [(-90, 10, -40, 60), (200, 1100, 260, 1160), (600, 600, 650, 660)]
    said = one_each([*boxes(discs), *wrong])
    found = run(segment_each(slide, said, exact()))
    assert found.left_out == {OUTSIDE: 2, NOTHING: 1}
    assert kept(layer, found) == 3
    assert same_objects(layer.read(0, 0, 0, *SHAPE), labels)
    only = run(segment_each(slide, said[3:5], exact()))
    assert (only.candidates, only.left_out) == ([], {OUTSIDE: 2})
    assert kept(layer, only) == 0
    assert len(layer.history()) == 1, "nothing is no edit"


def test_cancelled_at_any_moment_the_layer_is_as_before(project: Project) -> None:
    slide = disc_slide(disc_labels(SHAPE, DISCS))
    layer = layer_of(project, slide)
    for stop in (1, 4, 15):
        job = segment_each(slide, one_each(boxes(DISCS)), exact())
        for _ in range(stop):
            next(job)
        job.close()
    found = run(segment_each(slide, one_each(boxes(DISCS)), exact()))
    for stop in range(1, 4):
        keeping = keep_candidates(layer, found.candidates, 2, "", "segment each")
        for _ in range(stop):
            next(keeping)
        keeping.close()
        assert not layer.objects
        assert not layer.read(0, 0, 0, *SHAPE).any()
    assert not layer.history()
    assert kept(layer, found) == len(DISCS)


def test_the_progress_counts_objects_and_units_are_short_in_a_window() -> None:
    slide, told = disc_slide(disc_labels(SHAPE, DISCS)), list[Progress]()
    queue = InferenceQueue(unit_seconds=0.04)
    run(segment_each(slide, one_each(boxes(DISCS)), exact(), queue=queue), told.append)
    assert {(progress.total, progress.unit) for progress in told} == {(len(DISCS), "objects")}
    assert [p.done for p in told] == sorted(p.done for p in told)
    assert told[-1].done > len(DISCS) / 2
    points, found = list[Progress](), one_each(middles(DISCS))
    run(segment_each(slide, found, exact("points"), 3.0, queue=queue), points.append)
    assert [p.done for p in points] == sorted(p.done for p in points)
    assert len({p.done for p in points}) > 3, "also while points are looked at again"


def test_two_prompts_for_one_object_make_one(project: Project) -> None:
    discs = [(300.0, 300.0, 20.0), (300.0, 420.0, 20.0)]
    labels = disc_labels(SHAPE, discs)
    slide = disc_slide(labels)
    layer = layer_of(project, slide)
    said = one_each([(300, 300), (305, 295), (300, 420), (290, 310)])
    found = run(segment_each(slide, said, exact(), size=40))
    assert found.left_out == {TWICE: 2}
    assert kept(layer, found) == 2
    assert same_objects(layer.read(0, 0, 0, *SHAPE), labels)


def test_what_is_there_is_kept_or_given_way_to(project: Project) -> None:
    discs = [(300.0, 300.0, 20.0), (300.0, 420.0, 20.0)]
    labels = disc_labels(SHAPE, discs)
    slide, said = disc_slide(labels), one_each(boxes(discs))
    layer = layer_of(project, slide)
    layer.commit(layer.paint_edit(280, 280, np.full((40, 40), layer.new_id()), None, "by hand"))
    layer.commit(layer.paint_edit(300, 430, np.full((5, 40), layer.new_id()), None, "by hand"))
    before = layer.read(0, 0, 0, *SHAPE)
    found = run(segment_each(slide, said, exact(), layer=layer))
    assert found.left_out == {THERE: 1}
    assert kept(layer, found) == 1
    after = layer.read(0, 0, 0, *SHAPE)
    assert (after[before > 0] == before[before > 0]).all()
    layer.undo()
    found = run(segment_each(slide, said, exact()))
    assert kept(layer, found, overwrite=True) == 2
    after = layer.read(0, 0, 0, *SHAPE)
    assert same_objects(np.where(labels, after, 0), labels)
    assert (after[(before > 0) & (labels == 0)] == before[(before > 0) & (labels == 0)]).all()


def test_what_cannot_be_done_is_refused_with_a_remedy() -> None:
    slide, place = disc_slide(disc_labels((90, 90), [])), np.array([10.0, 10, 50, 50])
    with pytest.raises(ValueError, match="draw boxes"):
        run(segment_each(slide, [], exact()))
    with pytest.raises(ValueError, match="pathfm-click"):
        run(segment_each(slide, one_each([place]), exact("points")))
    with pytest.raises(ValueError, match="draw a box"):
        run(segment_each(slide, one_each([(5, 5)]), exact("box")))
    mask = MaskPrompt(np.ones((4, 4), bool), 20, 20)
    with pytest.raises(ValueError, match="segment that object again"):
        run(segment_each(slide, [Prompts(box=place, mask=mask)], exact()))
    with pytest.raises(ValueError, match=r"boxes \(N, 4\)"):
        one_each([1, 2, 3])
    with pytest.raises(ValueError, match="y1 > y0"):
        one_each([(10, 10, 10, 20)])


def test_a_slide_smaller_than_a_crop() -> None:
    labels = disc_labels((60, 70), [(30, 30, 20), (10, 60, 6)])
    found = run(segment_each(disc_slide(labels), one_each([(30, 30), (10, 60)]), exact(), 5.0))
    assert sorted(int(each.mask.sum()) for each in found.candidates) == sorted(
        np.bincount(labels.ravel())[1:].tolist()
    )


def candidate(y: int, x: int, side: int, score: float) -> Candidate:
    mask, scores = np.ones((1, side, side), bool), np.array([score], np.float32)
    return Candidate(mask, 0, scores, y, x, 1.0, "m", one_each([(y, x, y + side, x + side)])[0])


def test_of_two_that_meet_the_surer_is_above_and_a_nucleus_is_above_its_gland(
    project: Project,
) -> None:
    layer = layer_of(project, ArraySlide(np.zeros((*SHAPE, 3), np.uint8)))
    gland, nucleus = candidate(0, 0, 300, 0.95), candidate(50, 50, 20, 0.5)
    poor, sure = candidate(400, 400, 40, 0.6), candidate(400, 430, 38, 0.9)
    double = candidate(402, 401, 40, 0.55)
    order = distinct([gland, poor, nucleus, double, sure])
    assert order == [nucleus, sure, poor, gland]
    assert run(keep_candidates(layer, order, 0, "", "four")) == 4
    areas = {row.score: row.area for row in layer.objects.values()}
    assert [areas[score] for score in sorted(areas)] == pytest.approx(
        [400, 1600 - 10 * 38, 38 * 38, 300 * 300 - 400]
    )


def test_doubles_are_found_at_every_size_and_place() -> None:
    draw = np.random.default_rng(4)
    for side in (3, 31, 32, 33, 63, 64, 65, 1000):
        for _ in range(20):
            y, x = draw.integers(-2000, 2000, 2)
            shift = int(side * 0.1)
            first, second = candidate(y, x, side, 0.9), candidate(y + shift, x, side, 0.8)
            assert distinct([second, first]) == [first]
            other = candidate(y, x + side // 2 + 1, side, 0.8)
            assert len(distinct([first, other])) == 2


def test_a_huge_object_is_drawn_part_by_part() -> None:
    found = FoundObjects((20_000, 20_000), "m")
    mask = np.ones((1, 512, 512), bool)
    scores = np.array([0.9], np.float32)
    huge = Candidate(mask, 0, scores, -500.0, 3000.0, 16.0, "m", Prompts())
    tracemalloc.start()
    found.draw([huge])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12e6, "64 megabytes as one mask"
    pixels = sum(int(np.count_nonzero(chunk.numbers)) for chunk in found)
    assert pixels == (8192 - 500) * 8192


def test_what_lies_wholly_outside_is_not_drawn() -> None:
    found = FoundObjects((2000, 2000), "m")
    found.draw([candidate(2010, 100, 20, 0.9), candidate(-50, -50, 20, 0.9)])
    assert (len(found), found.chunks) == (2, 0)

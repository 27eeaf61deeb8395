from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_pathfm.analysis.candidate import Candidate
from napari_pathfm.analysis.crop_grid import LARGEST, cell_rows, lattice
from napari_pathfm.analysis.everything import SPACING, find_everything, keep_everything
from napari_pathfm.analysis.found_objects import FoundObjects
from napari_pathfm.analysis.judge_clicks import ArraySlide
from napari_pathfm.analysis.proposals import Wanted, stability
from napari_pathfm.analysis.tissue import TissueMask
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import run
from napari_pathfm.core.prompts import Prompts
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project

from ..exact_segmenter import Disc, ExactSegmenter, disc_labels, disc_slide

SHAPE = (700, 900)
SIZE = 40.0
"""Crops of 320 pixels for cells of about 150."""

WHOLE = (0.0, 0.0, 700.0, 900.0)


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path / "project", author="ada") as project:
        yield project


def layer_of(project: Project, slide: ArraySlide) -> AnnotationLayer:
    project.add_slide(slide)
    return AnnotationLayer.open(project, slide.id, "nuclei", slide.levels[0].shape)


def drawn(found: FoundObjects, shape: tuple[int, int]) -> NDArray[np.uint32]:
    out = np.zeros((-(-shape[0] // 512) * 512, -(-shape[1] // 512) * 512), np.uint32)
    for row, col, numbers in found:
        out[row * 512 : row * 512 + 512, col * 512 : col * 512 + 512] = numbers
    return out[: shape[0], : shape[1]]


def same_objects(one: NDArray[np.uint32], other: NDArray[np.uint32]) -> bool:
    """Whether two label images have the same objects, however they are numbered."""
    pairs = np.unique(np.stack([one.ravel(), other.ravel()]), axis=1).T
    return len(pairs) == len(np.unique(one)) == len(np.unique(other))


def spread(shape: tuple[int, int], seed: int, count: int = 60) -> list[Disc]:
    """Discs of 16 to 39 pixels across that do not touch."""
    draw, discs = np.random.default_rng(seed), []
    for _ in range(count):
        radius = draw.uniform(12, 19.5)
        y, x = draw.uniform(21, shape[0] - 21), draw.uniform(21, shape[1] - 21)
        if all(np.hypot(y - v, x - u) > radius + r + 3 for v, u, r in discs):
            discs.append((y, x, radius))
    return discs


@given(st.integers(0, 2**32 - 1), st.integers(150, 400), st.integers(150, 560))
@settings(max_examples=8, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_all_discs_come_out_exactly_once_wherever_they_lie(
    seed: int, height: int, width: int
) -> None:
    """Also across the borders of crops, cells and chunks."""
    labels = disc_labels((height, width), spread((height, width), seed))
    region = (0, 0, height, width)
    job = find_everything(disc_slide(labels), ExactSegmenter(), region, Wanted(SIZE))
    assert same_objects(drawn(run(job), labels.shape), labels)


def test_objects_that_the_edge_of_the_slide_cuts_are_found() -> None:
    labels = disc_labels((200, 200), [(0, 100, 20), (100, 195, 20), (195, 5, 20)])
    job = find_everything(disc_slide(labels), ExactSegmenter(), (0, 0, 200, 200), Wanted(SIZE))
    assert same_objects(drawn(run(job), labels.shape), labels)


def test_an_object_over_the_corner_of_four_cells_is_found_whole() -> None:
    first, second = cell_rows(WHOLE, SIZE, 256)[:2]
    y, x = first[0].box[2], first[0].box[3]
    assert (y, x) == (second[1].box[0], second[1].box[1])
    labels = disc_labels(SHAPE, [(y, x, LARGEST * SIZE / 2 - 1), (y, x + 150, 20)])
    found = run(find_everything(disc_slide(labels), ExactSegmenter(), WHOLE, Wanted(SIZE)))
    assert same_objects(drawn(found, SHAPE), labels)
    assert len(found) == 2


def test_what_is_too_large_or_too_small_is_no_object() -> None:
    labels = disc_labels(SHAPE, [(300, 300, 55), (300, 600, 20), (500, 600, 5)])
    found = run(find_everything(disc_slide(labels), ExactSegmenter(), WHOLE, Wanted(SIZE)))
    assert same_objects(drawn(found, SHAPE), np.where(labels == 2, 1, 0).astype(np.uint32))


def test_only_the_region_is_looked_at_and_objects_on_its_edge_are_whole() -> None:
    labels = disc_labels(SHAPE, [(300, 300, 20), (300, 500, 20), (600, 100, 20)])
    job = find_everything(disc_slide(labels), ExactSegmenter(), (200, 200, 400, 500), Wanted(SIZE))
    assert same_objects(drawn(run(job), SHAPE), np.where(labels == 3, 0, labels))


def test_everything_is_one_edit_that_undo_takes_back(project: Project) -> None:
    labels = disc_labels(SHAPE, spread(SHAPE, 1))
    slide = disc_slide(labels)
    layer = layer_of(project, slide)
    found = run(find_everything(slide, ExactSegmenter(), WHOLE, Wanted(SIZE), layer))
    assert not layer.objects, "nothing is changed before all is found"
    made = run(keep_everything(layer, found, class_id=2, author="ada"))
    assert made == len(layer.objects) == labels.max()
    assert same_objects(layer.read(0, 0, 0, *SHAPE), labels)
    row = next(iter(layer.objects.values()))
    assert (row.class_id, row.how, row.model, row.author) == (2, "predict", "exact", "ada")
    assert row.score == pytest.approx(0.9)
    (step,) = layer.history()
    assert f"{made} objects" in step.text
    layer.undo()
    assert not layer.objects
    assert not layer.read(0, 0, 0, *SHAPE).any()
    layer.redo()
    assert same_objects(layer.read(0, 0, 0, *SHAPE), labels)


def test_objects_that_are_there_are_kept_and_not_found_again(project: Project) -> None:
    discs = [(300.0, 300.0, 20.0), (300.0, 500.0, 20.0), (500.0, 500.0, 20.0)]
    labels = disc_labels(SHAPE, discs)
    slide = disc_slide(labels)
    layer = layer_of(project, slide)
    # The first is there, drawn a little too small; a corner of the second is another object's.
    layer.commit(layer.paint_edit(284, 284, np.full((32, 32), layer.new_id()), None, "by hand"))
    layer.commit(layer.paint_edit(270, 490, np.full((20, 60), layer.new_id()), None, "by hand"))
    before = layer.read(0, 0, 0, *SHAPE)
    found = run(find_everything(slide, ExactSegmenter(), WHOLE, Wanted(SIZE), layer))
    assert run(keep_everything(layer, found)) == 2
    after = layer.read(0, 0, 0, *SHAPE)
    assert (after[before > 0] == before[before > 0]).all()
    assert len(layer.objects) == 4
    assert ((after > 0) == (before > 0) | (labels > 1)).all()


def test_cancelled_at_any_moment_the_layer_is_as_before(project: Project) -> None:
    labels = disc_labels(SHAPE, spread(SHAPE, 3, 20))
    slide = disc_slide(labels)
    layer = layer_of(project, slide)
    for stop in (1, 5, 40):
        job = find_everything(slide, ExactSegmenter(), WHOLE, Wanted(SIZE), layer)
        for _ in range(stop):
            next(job)
        job.close()
    found = run(find_everything(slide, ExactSegmenter(), WHOLE, Wanted(SIZE), layer))
    for stop in range(1, 4):
        keeping = keep_everything(layer, found)
        for _ in range(stop):
            next(keeping)
        keeping.close()
        assert not layer.objects
        assert not layer.read(0, 0, 0, *SHAPE).any()
    assert not layer.history()
    assert run(keep_everything(layer, found)) == labels.max()


def test_glass_is_neither_encoded_nor_asked() -> None:
    rgb = np.full((*SHAPE, 3), 250, np.uint8)
    segmenter = ExactSegmenter()
    assert not len(run(find_everything(ArraySlide(rgb), segmenter, WHOLE, Wanted(SIZE))))
    assert segmenter.encoded == segmenter.asked == 0
    tissue = TissueMask(np.zeros((7, 9), bool), np.zeros((7, 9), np.uint8), 100.0, SHAPE)
    slide = disc_slide(disc_labels(SHAPE, [(300, 300, 20)]))
    job = find_everything(slide, segmenter, WHOLE, Wanted(SIZE), tissue=tissue)
    assert not len(run(job))
    assert segmenter.encoded == 0


def test_points_on_what_is_found_are_not_asked_any_more() -> None:
    discs = [(y, x, 21.0) for y in range(50, 700, 46) for x in range(50, 900, 46)]
    labels = disc_labels(SHAPE, discs)
    segmenter = ExactSegmenter()
    found = run(find_everything(disc_slide(labels), segmenter, WHOLE, Wanted(SIZE)))
    assert len(found) == labels.max()
    assert segmenter.asked < 0.6 * SHAPE[0] * SHAPE[1] / (SPACING * SIZE) ** 2


def test_in_a_window_units_are_short_and_the_progress_counts_crops() -> None:
    labels = disc_labels(SHAPE, spread(SHAPE, 5))
    queue = InferenceQueue(unit_seconds=0.04)
    told = []
    job = find_everything(disc_slide(labels), ExactSegmenter(), WHOLE, Wanted(SIZE), queue=queue)
    run(job, told.append)
    assert {progress.unit for progress in told} == {"crops"}
    assert told[-1].done == told[-1].total - 1
    assert [p.done for p in told] == sorted(p.done for p in told)


def test_what_cannot_be_done_is_refused_with_a_remedy() -> None:
    slide = disc_slide(disc_labels(SHAPE, []))
    boxes = ExactSegmenter()
    boxes.answers = frozenset({"box"})
    with pytest.raises(ValueError, match="pathfm-click"):
        run(find_everything(slide, boxes, WHOLE, Wanted(SIZE)))
    with pytest.raises(ValueError, match="move the view"):
        run(find_everything(slide, ExactSegmenter(), (800, 0, 900, 90), Wanted(SIZE)))
    with pytest.raises(ValueError, match="enter another"):
        run(find_everything(slide, ExactSegmenter(), WHOLE, Wanted(1)))
    with pytest.raises(ValueError, match="larger"):
        Wanted(SIZE, largest=3)


@given(st.floats(2, 4000), st.sampled_from([256, 512, 1024]), st.floats(1, 9000), st.floats(0, 99))
@settings(max_examples=100, deadline=None)
def test_cells_cover_a_region_once_and_their_crops_hold_the_largest_object(
    size: float, input_px: int, height: float, y: float
) -> None:
    region = (y, 10.0, y + height, 10.0 + 3.7 * size)
    rows = cell_rows(region, size, input_px)
    edges = [row[0].box for row in rows]
    assert edges[0][0] == y
    assert edges[-1][2] == pytest.approx(y + height)
    assert all(one[2] == other[0] for one, other in itertools.pairwise(edges))
    for cell in rows[0]:
        y0, x0, y1, x1 = cell.box
        assert cell.side - max(y1 - y0, x1 - x0) >= 2 * LARGEST * size


def test_cells_side_by_side_share_a_lattice() -> None:
    whole = np.concatenate(list(lattice((0, 0, 100, 100), 7)))
    parts = [(0, 0, 100, 37), (0, 37, 100, 100)]
    cut = np.concatenate([np.concatenate(list(lattice(part, 7))) for part in parts])
    assert sorted(map(tuple, whole)) == sorted(map(tuple, cut))


def test_stability_is_the_ratio_of_areas() -> None:
    logits = np.full((2, 1, 10, 10), -5, np.float32)
    logits[0, 0, :4], logits[0, 0, 4:5] = 5, 0.5
    assert stability(logits).tolist() == [[0.8], [0.0]]


def test_what_is_found_on_a_slide_of_any_size_is_held_compressed() -> None:
    found = FoundObjects((100_000, 100_000), "exact")
    mask = np.ones((1, 3000, 3000), bool)
    scores, prompts = np.array([0.9], np.float32), Prompts()
    for place in range(0, 90_000, 10_000):
        found.draw([Candidate(mask, 0, scores, place, place, 1.0, "exact", prompts)])
    assert found.chunks > 300
    assert sum(map(len, found._blobs.values())) < 1_000_000

"""Objects changed by their own shape or a segmenter's answer: exact pixels, one edit, undone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_pathfm.analysis.candidate import Candidate
from napari_pathfm.analysis.reshape import add_to, fill_holes, met, smooth, split, take_from
from napari_pathfm.core.edits import ObjectRow
from napari_pathfm.core.prompts import Prompts
from napari_pathfm.io.masks import AnnotationLayer
from napari_pathfm.io.project import Project

SHAPE = (900, 1300)
Ids = NDArray[np.uint32]
Mask = NDArray[np.bool_]


@pytest.fixture
def layer(tmp_path: Path) -> Iterator[AnnotationLayer]:
    with Project.open(tmp_path / "p", author="ann") as project:
        yield AnnotationLayer.open(project, "ab", "regions", SHAPE)


def whole(layer: AnnotationLayer) -> Ids:
    return layer.read(0, 0, 0, *SHAPE)


def draw(layer: AnnotationLayer, mask: Mask) -> int:
    """Make an object of a mask of the whole layer, as a segmenter would."""
    number = layer.new_id()
    row = ObjectRow(number, 3, "prompt", "sam", "{}", 0.8)
    ids = np.full(SHAPE, number, np.uint32)
    layer.commit(layer.paint_edit(0, 0, ids, mask, "draw", {number: row}))
    return number


def rectangle(y0: int, x0: int, y1: int, x1: int) -> Mask:
    mask = np.zeros(SHAPE, bool)
    mask[y0:y1, x0:x1] = True
    return mask


def disc(y: float, x: float, radius: float) -> Mask:
    rows, cols = np.ogrid[: SHAPE[0], : SHAPE[1]]
    inside: Mask = (rows - y) ** 2 + (cols - x) ** 2 <= radius**2
    return inside


def candidate(mask: Mask, y: int = 0, x: int = 0) -> Candidate:
    masks = np.stack([mask, mask, mask])
    return Candidate(masks, 0, np.ones(3, np.float32), y, x, 1.0, "sam", Prompts())


def undone(layer: AnnotationLayer, before: Ids, rows: dict[int, ObjectRow]) -> None:
    """Take the last edit back: all is as it was."""
    layer.undo()
    np.testing.assert_array_equal(whole(layer), before)
    assert dict(layer.objects.items()) == rows
    layer.redo()


def test_adding_and_taking_away_what_a_segmenter_answers(layer: AnnotationLayer) -> None:
    mine, neighbour = draw(layer, disc(300, 400, 50)), draw(layer, disc(300, 560, 50))
    before, rows = whole(layer), dict(layer.objects.items())
    answer = candidate(np.ones((60, 200), bool), 280, 400)
    layer.commit(add_to(layer, mine, answer))
    expected = before.copy()
    part = expected[280:340, 400:600]
    part[part == 0] = mine
    np.testing.assert_array_equal(whole(layer), expected)
    row = layer.objects[mine]
    assert (row.area, row.class_id, row.model, row.corrected) == (
        (expected == mine).sum(), 3, "sam", True,
    )  # fmt: skip
    undone(layer, before, rows)
    layer.commit(add_to(layer, mine, answer, overwrite=True))
    part[:] = mine
    np.testing.assert_array_equal(whole(layer), expected)
    layer.commit(take_from(layer, neighbour, candidate(np.ones((9, 9), bool), 340, 560)))
    expected[340:349, 560:569][expected[340:349, 560:569] == neighbour] = 0
    np.testing.assert_array_equal(whole(layer), expected)
    assert not take_from(layer, neighbour, candidate(np.ones((9, 9), bool), 0, 0))


def test_what_an_answer_lies_on_or_touches(layer: AnnotationLayer) -> None:
    one = draw(layer, rectangle(0, 100, 200, 300))
    two = draw(layer, rectangle(0, 300, 200, 500))
    assert met(layer, candidate(rectangle(50, 280, 100, 350))) == two, "50 of 70 columns"
    assert met(layer, candidate(rectangle(50, 240, 100, 350))) == one
    assert met(layer, candidate(rectangle(200, 120, 260, 300))) == one, "beside it"
    corner = np.ones((20, 30), bool)
    assert met(layer, candidate(corner, 200, 500)) == two, "by a corner"
    assert met(layer, candidate(corner, -10, 290)) == two, "over the edge of the slide"
    with pytest.raises(ValueError, match="touches no other"):
        met(layer, candidate(corner, 201, 500))


def test_holes_are_filled_and_objects_in_them_stay(layer: AnnotationLayer) -> None:
    ring = disc(400, 600, 90) & ~disc(400, 600, 60)
    number, inner = draw(layer, ring), draw(layer, disc(400, 610, 10))
    before, rows = whole(layer), dict(layer.objects.items())
    layer.commit(fill_holes(layer, number))
    expected = np.where(disc(400, 600, 90), number, 0)
    expected[disc(400, 610, 10)] = inner
    np.testing.assert_array_equal(whole(layer), expected)
    undone(layer, before, rows)
    assert not fill_holes(layer, number)


def test_a_ring_at_the_edge_of_the_slide(layer: AnnotationLayer) -> None:
    number = draw(layer, rectangle(0, 0, 40, 40) & ~rectangle(0, 10, 30, 30))
    assert not fill_holes(layer, number)  # it is open there
    other = draw(layer, rectangle(860, 1260, 900, 1300) & ~rectangle(870, 1270, 890, 1290))
    layer.commit(fill_holes(layer, other))
    assert (whole(layer)[860:, 1260:] == other).all()


def test_an_outline_is_smoothed(layer: AnnotationLayer) -> None:
    shape = rectangle(100, 100, 200, 200)
    spike, slit = rectangle(60, 150, 100, 152), rectangle(150, 148, 200, 150)
    number = draw(layer, (shape | spike) & ~slit)
    layer.commit(smooth(layer, number))
    seen = whole(layer) == number
    assert not seen[60:98, 150:152].any()
    assert seen[152:195, 148:150].all()
    assert (seen & shape).sum() > 0.99 * shape.sum()
    assert layer.objects[number].corrected
    thin = draw(layer, rectangle(500, 500, 502, 600))
    with pytest.raises(ValueError, match="nothing would be left of it"):
        smooth(layer, thin)


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000))
def test_no_verb_touches_another_object(layer: AnnotationLayer, seed: int) -> None:
    random = np.random.default_rng(seed)
    blot = random.random((90, 130)).repeat(10, 0).repeat(10, 1) < 0.4
    number = draw(layer, blot)
    other = draw(layer, random.random((90, 130)).repeat(10, 0).repeat(10, 1) < 0.2)
    if number not in layer.objects:
        return
    theirs = whole(layer) == other
    for verb in (fill_holes, smooth, split):
        edit = verb(layer, number)
        layer.commit(edit)
        np.testing.assert_array_equal(whole(layer) == other, theirs)
        if edit:
            layer.undo()


def test_parts_become_objects(layer: AnnotationLayer) -> None:
    small, large = disc(200, 200, 20), disc(200, 400, 60)
    number = draw(layer, small | large)
    before, rows = whole(layer), dict(layer.objects.items())
    layer.commit(split(layer, number))
    ids = set(layer.objects)
    assert len(ids) == 2
    (new,) = ids - {number}
    np.testing.assert_array_equal(whole(layer) == number, large)
    np.testing.assert_array_equal(whole(layer) == new, small)
    row = layer.objects[new]
    assert (row.class_id, row.how, row.model, row.area) == (3, "prompt", "sam", small.sum())
    undone(layer, before, rows)
    layer.commit(layer.merge_edit([number, new]))
    np.testing.assert_array_equal(whole(layer), before)
    assert set(layer.objects) == {number}
    assert layer.objects[number].area == (before == number).sum()


def test_two_nuclei_that_touch_are_split_where_they_do(layer: AnnotationLayer) -> None:
    left, right = disc(300, 300, 40), disc(300, 370, 40)
    number = draw(layer, left | right)
    layer.commit(split(layer, number))
    (new,) = set(layer.objects) - {number}
    sides = {number: whole(layer) == number, new: whole(layer) == new}
    assert ((sides[number] | sides[new]) == (left | right)).all()
    columns = [np.flatnonzero(side.any(0)) for side in sides.values()]
    first, second = sorted(columns, key=lambda found: found[0])
    assert abs(first[-1] - 335) < 4
    assert abs(second[0] - 335) < 4
    round_one = draw(layer, disc(600, 600, 40))
    with pytest.raises(ValueError, match="has no narrow place to split it at"):
        split(layer, round_one)


def test_several_become_one(layer: AnnotationLayer) -> None:
    far, near = draw(layer, disc(100, 100, 30)), draw(layer, disc(800, 1200, 40))
    third = draw(layer, disc(500, 600, 10))
    before, rows = whole(layer), dict(layer.objects.items())
    layer.commit(layer.merge_edit([far, near, third]))
    assert set(np.unique(whole(layer))) == {0, near}
    assert layer.objects[near].area == (before > 0).sum()
    assert layer.objects[near].box == (70, 70, 841, 1241)
    undone(layer, before, rows)
    with pytest.raises(ValueError, match="two objects or more"):
        layer.merge_edit([near])
    with pytest.raises(ValueError, match="has no object"):
        layer.merge_edit([near, 4711])


def test_there_is_no_such_object(layer: AnnotationLayer) -> None:
    for verb in (fill_holes, smooth, split):
        with pytest.raises(ValueError, match="has no object 7"):
            verb(layer, 7)
    with pytest.raises(ValueError, match="has no object 7"):
        add_to(layer, 7, candidate(np.ones((2, 2), bool)))

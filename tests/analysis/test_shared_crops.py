"""Which objects share a crop, and how well it shows them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pathfm.analysis.crop import MARGIN, ROOM, make_crop
from napari_pathfm.analysis.shared_crops import SLACK, Asked, shared_crops
from napari_pathfm.core.prompts import Prompts, one_each

from ..exact_segmenter import disc_labels, disc_slide

SHAPE = (3000, 4000)


@st.composite
def objects(draw: st.DrawFn) -> list[Asked]:
    """Boxes and points of all sizes, some over the slide's edge."""
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    made = []
    for _ in range(draw(st.integers(1, 60))):
        y, x = random.uniform(-20, 3020), random.uniform(-20, 4020)
        height, width = np.exp(random.uniform(np.log(2), np.log(900), 2))
        kind = random.integers(3)
        if kind == 0:
            made.append(Asked(Prompts(box=np.array([y, x, y + height, x + width]))))
        else:
            spread = random.uniform(0, 1, (random.integers(1, 4), 2)) * height
            points = np.array([y, x]) + spread - spread[0]
            size = None if kind == 1 else float(width)
            made.append(Asked(Prompts(points, np.ones(len(points), bool)), size))
    return made


@given(objects(), st.sampled_from([256, 512, 1024]), st.floats(0.2, 40))
@settings(max_examples=100, deadline=None)
def test_each_object_is_in_one_crop_that_shows_it_well(
    asked: list[Asked], input_px: int, view_downsample: float
) -> None:
    crops = shared_crops(asked, input_px, view_downsample, SHAPE)
    held = [one for crop in crops for one in crop.asked]
    assert len(held) == len(asked)
    assert {id(one) for one in held} == {id(one) for one in asked}
    for crop in crops:
        for one in crop.asked:
            alone = one.side(input_px, view_downsample, max(SHAPE))
            assert alone <= crop.side * (1 + 1e-9)
            assert crop.side <= SLACK * alone * (1 + 1e-9), "it would be tiny there"
            y0, x0, y1, x1 = one.room(alone)
            near, slack = crop.side / 2, 1e-6 * crop.side
            assert y0 >= crop.y - near - slack
            assert x0 >= crop.x - near - slack
            assert y1 <= crop.y + near + slack
            assert x1 <= crop.x + near + slack


@given(objects())
@settings(max_examples=30, deadline=None)
def test_what_is_kept_free_suffices(asked: list[Asked]) -> None:
    for one in asked:
        side = one.side(256, 1.0, max(SHAPE))
        (y0, x0, y1, x1), (top, left, bottom, right) = one.room(side), one.prompts.extent
        free = min(top - y0, left - x0, y1 - bottom, x1 - right)
        longer = max(bottom - top, right - left)
        assert max(y1 - y0, x1 - x0) <= side * (1 + 1e-9), "its own crop holds it"
        if one.prompts.box is not None:
            assert free >= longer / (4 * MARGIN) * 0.999
        elif one.size is not None and len(one.prompts.points) == 1:
            assert free >= min(one.size, side / ROOM) * 0.999 or side == max(SHAPE)


def test_nuclei_side_by_side_share_crops_and_a_gland_has_its_own() -> None:
    corners = np.array([(y, x) for y in range(100, 300, 30) for x in range(100, 300, 30)], float)
    boxes = np.concatenate([np.hstack([corners, corners + 24]), [[500, 500, 1100, 1000]]])
    crops = shared_crops([Asked(each) for each in one_each(boxes)], 256, 1.0, SHAPE)
    assert len(crops) <= 10 < len(boxes)
    assert [len(crop.asked) for crop in crops][-1] == 1
    assert crops[-1].side == MARGIN * 600
    assert all(crop.side <= 2 * SLACK * 24 for crop in crops[:-1])


def test_alone_it_is_looked_at_as_by_a_single_click() -> None:
    slide = disc_slide(disc_labels((400, 500), [(200, 200, 30)]))
    for prompts, size in (
        (Prompts(box=np.array([160.0, 160, 240, 240])), None),
        (Prompts(np.array([[200.0, 210]]), np.array([True])), 60.0),
        (Prompts(np.array([[200.0, 210]]), np.array([True])), None),
    ):
        (shared,) = shared_crops([Asked(prompts, size)], 256, 9.0, (400, 500))
        crop, alone = shared.read(slide, 256), make_crop(slide, prompts, 256, 9.0, size)
        assert (crop.y, crop.x, crop.side) == pytest.approx((alone.y, alone.x, alone.side), abs=1)


def test_nothing_asked_is_nothing_looked_at() -> None:
    assert shared_crops([], 256, 1.0, SHAPE) == []

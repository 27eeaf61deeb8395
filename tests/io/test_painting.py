from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from napari_pathfm.core.edits import CHUNK
from napari_pathfm.io.chunks import Chunk, pack
from napari_pathfm.io.painting import Paint, changes_of
from napari_pathfm.io.tally import Tally

SHAPE = (1100, 1301)


# Whole chunks of one number, over nothing, over another object and over a part of itself.
@example(level=4, corner=(0, 0), side=1100, numbers=1, holes=False, full=True, only=7, seed=0)
@example(level=4, corner=(0, 0), side=1100, numbers=1, holes=False, full=True, only=1, seed=1)
@example(level=4, corner=(0, 0), side=1100, numbers=1, holes=False, full=True, only=7, seed=1)
@example(level=4, corner=(0, 0), side=1100, numbers=1, holes=False, full=True, only=0, seed=1)
@settings(max_examples=25, deadline=None)
@given(
    level=st.integers(0, 5),
    corner=st.tuples(st.integers(-40, 1100), st.integers(-40, 1300)),
    side=st.integers(1, 1100),
    numbers=st.sampled_from([1, 2, 4000]),
    holes=st.booleans(),
    full=st.booleans(),
    only=st.sampled_from([None, 0, 1, 7]),
    seed=st.integers(0, 9),
)
def test_painting_agrees_with_enlarging_every_pixel(
    level: int,
    corner: tuple[int, int],
    side: int,
    numbers: int,
    holes: bool,
    full: bool,
    only: int | None,
    seed: int,
) -> None:
    random, f = np.random.default_rng(seed), 2**level
    y, x, side = corner[0] // f, corner[1] // f, min(-(-side // f), 60)
    ids = random.integers(0 if holes else 1, numbers + 1, (side, side)).astype(np.uint32)
    if only is not None:
        ids[:] = only
    mask = random.random((side, side)) < (2 if full else 0.7)
    canvas = np.zeros((3 * CHUNK, 3 * CHUNK), np.uint32)
    if seed % 2:
        canvas[: SHAPE[0], 600 : SHAPE[1]] = 7

    def now(row: int, col: int) -> Chunk:
        part = canvas[row * CHUNK : (row + 1) * CHUNK, col * CHUNK : (col + 1) * CHUNK]
        return Chunk(part.copy(), pack(part)) if part.any() else Chunk(None, None)

    expected = canvas.copy()
    for row, col in np.argwhere(mask).tolist():
        top, left = max(0, (y + row) * f), max(0, (x + col) * f)
        bottom, right = (y + row + 1) * f, (x + col + 1) * f
        if bottom > 0 and right > 0:
            expected[top : min(bottom, SHAPE[0]), left : min(right, SHAPE[1])] = ids[row, col]
    tally, painted = Tally(), canvas.copy()
    for change in changes_of(Paint.of(y, x, ids, mask, f), SHAPE, now, tally):
        after = np.zeros((CHUNK, CHUNK), np.uint32) if change.after is None else change.after
        painted[
            change.row * CHUNK : (change.row + 1) * CHUNK,
            change.col * CHUNK : (change.col + 1) * CHUNK,
        ] = after
    np.testing.assert_array_equal(painted, expected)
    changed = expected != canvas
    for noted, picture in ((tally.lost, canvas), (tally.gained, expected)):
        numbers, counts = np.unique(picture[changed], return_counts=True)
        assert sum(pixels.sum() for _, pixels in noted) == counts.sum()
        for number, count in zip(numbers, counts, strict=True):
            assert sum(pixels[ids == number].sum() for ids, pixels in noted) == count
    ids, more, boxes = tally.sums()
    assert ids.tolist() == np.setdiff1d([canvas[changed], expected[changed]], 0).tolist()
    for number, area, (y0, x0, y1, x1) in zip(ids, more, boxes.T, strict=True):
        assert area == (expected == number).sum() - (canvas == number).sum()
        ys, xs = np.nonzero(changed & (expected == number))
        if len(ys):
            assert (y0, x0, y1, x1) == (ys.min(), xs.min(), ys.max() + 1, xs.max() + 1)

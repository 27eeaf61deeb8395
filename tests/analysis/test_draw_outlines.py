"""Outlines drawn chunk by chunk: the same as one after the other, larger objects below."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_pathfm.analysis import draw_outlines
from napari_pathfm.analysis.draw_outlines import OutlineDrawing, draw_table, read_outlines
from napari_pathfm.core.edits import CHUNK
from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.io.interop.outline_table import OutlineBuilder, OutlineTable

SHAPE = (1200, 1700)

boxes = st.tuples(
    st.integers(-50, SHAPE[0]),
    st.integers(-50, SHAPE[1]),
    st.integers(1, 900),
    st.integers(1, 900),
)
whole_chunks = st.tuples(
    st.integers(-50, 5), st.integers(-50, 520), st.integers(900, 1300), st.integers(1000, 1800)
)


def rectangles(places: list[tuple[int, int, int, int]]) -> OutlineTable:
    builder = OutlineBuilder()
    for y, x, h, w in places:
        builder.add([[[(y, x), (y, x + w), (y + h, x + w), (y + h, x)]]])
    return builder.take()


def drawn(drawing: OutlineDrawing) -> NDArray[np.uint32]:
    rows, cols = -(-SHAPE[0] // CHUNK), -(-SHAPE[1] // CHUNK)
    whole = np.zeros((rows * CHUNK, cols * CHUNK), np.uint32)
    seen = set()
    for row, col, numbers in drawing.chunks():
        assert (row, col) not in seen, "each chunk once"
        seen.add((row, col))
        whole[row * CHUNK : (row + 1) * CHUNK, col * CHUNK : (col + 1) * CHUNK] = numbers
    assert len(seen) <= drawing.total
    assert not whole[SHAPE[0] :].any()
    assert not whole[:, SHAPE[1] :].any()
    return whole[: SHAPE[0], : SHAPE[1]]


@given(st.lists(boxes | whole_chunks, min_size=1, max_size=8), st.sampled_from([1 << 22, 5000]))
@settings(max_examples=40)
def test_as_if_painted_one_after_the_other(
    places: list[tuple[int, int, int, int]], at_once: int
) -> None:
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(draw_outlines, "PIXELS_AT_ONCE", at_once)
    drawing = draw_table(rectangles(places), [], SHAPE)
    found = drawn(drawing)
    monkeypatch.undo()
    masks = []
    for y, x, h, w in places:
        mask = np.zeros(SHAPE, bool)
        mask[max(y, 0) : max(y + h, 0), max(x, 0) : max(x + w, 0)] = True
        if mask.any():
            masks.append(mask)
    areas = [int(mask.sum()) for mask in masks]
    assert drawing.objects.areas.tolist() == areas
    wanted = np.zeros(SHAPE, np.uint32)
    for number in sorted(range(len(masks)), key=lambda n: -areas[n]):
        wanted[masks[number]] = number + 1
    assert (found == wanted).all()
    covered = np.sum(masks, 0) if masks else np.zeros(SHAPE)
    assert drawing.objects.overlapping.tolist() == [bool((covered[m] > 1).any()) for m in masks]
    assert sum(drawing.objects.left_out.values()) == len(places) - len(masks)


def test_what_is_left_out_and_why() -> None:
    builder = OutlineBuilder()
    builder.add([[[(5, 5), (5, 9), (9, 9), (9, 5)]]], 0)
    builder.add([[[(-9, 5), (-9, 9), (-2, 9), (-2, 5)]]], 0)
    builder.add([[[(5.6, 5.6), (5.6, 5.9), (5.9, 5.9)]]], 0)
    drawing = draw_table(builder.take(), [("tumor", "")], SHAPE)
    assert drawing.objects.left_out == Counter({draw_outlines.OUTSIDE: 1, draw_outlines.EMPTY: 1})
    assert len(drawing.objects) == 1
    assert drawn(drawing).sum() == 16


def test_nothing_at_all() -> None:
    drawing = draw_table(OutlineBuilder().take(), [], SHAPE)
    assert (len(drawing.objects), drawing.total, list(drawing.chunks())) == (0, 0, [])


def test_a_file_with_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_pathfm.io.interop import geojson_reader

    monkeypatch.setattr(geojson_reader, "BATCH_OBJECTS", 20)
    path = tmp_path / "a.geojson"
    rng = np.random.default_rng(0)
    features = []
    for number in range(90):
        x, y = rng.integers(0, 1000, 2).tolist()
        ring = [[x, y], [x + 20, y], [x + 20, y + 10], [x, y + 10], [x, y]]
        features.append(
            {
                "type": "Feature",
                "geometry": {"type": "Polygon", "coordinates": [ring]},
                "properties": {"classification": {"name": f"class {number % 3}"}},
            }
        )
    path.write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    seen: list[Progress] = []
    drawing = run(read_outlines(path, SHAPE), seen.append)
    assert len(seen) >= 5
    assert seen[-1].done == seen[-1].total == path.stat().st_size >> 10
    assert [name for name, _ in drawing.objects.class_names] == ["class 0", "class 1", "class 2"]
    assert drawing.objects.classes.tolist() == [number % 3 for number in range(90)]
    assert (drawing.objects.areas == 200).all()
    assert drawn(drawing).any()


def test_huge_outlines_are_counted_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_pathfm.io.interop import fill

    monkeypatch.setattr(fill, "CUTS_AT_ONCE", 500)
    places = [(0, 0, 1200, 1700), (10, 10, 3, 3), (100, 100, 1000, 5), (5, 5, 700, 700)]
    table = rectangles(places)
    assert fill.count_pixels(table, *SHAPE).tolist() == [h * w for _, _, h, w in places]

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_pathfm.core.slide import RGB, Level, SlideError
from napari_pathfm.core.tiles import TileGrid, TilePlan, TileSpec, make_grid
from napari_pathfm.io import walk as walking
from napari_pathfm.io import walk_tiles
from napari_pathfm.io.memory import Recycler
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.io.regions import assemble, resize
from napari_pathfm.io.walk import decoders, walk

Write = Callable[..., list[np.ndarray]]


class Plain:
    """A slide of one level in memory, that counts what is decoded."""

    def __init__(self, shape: tuple[int, int] = (500, 700), tile: tuple[int, int] = (64, 96)):
        self.levels = (Level(shape, 1.0, tile),)
        self.pixels = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
        self.calls: list[tuple[int, int]] = []

    def segment(self, row: int, col: int) -> RGB:
        height, width = self.levels[0].tile_shape
        part = self.pixels[row * height : (row + 1) * height, col * width : (col + 1) * width]
        segment = np.full((height, width, 3), 255, np.uint8)
        segment[: part.shape[0], : part.shape[1]] = part
        return segment

    def segment_into(self, out: RGB, level: int, row: int, col: int) -> RGB:
        self.calls.append((row, col))
        out[:] = self.segment(row, col)
        return out

    def tile(self, y: int, x: int, size: int, tile_px: int) -> RGB:
        square = np.empty((size, size, 3), np.uint8)
        assemble(square, self.levels[0], y, x, self.segment)
        return square if size == tile_px else resize(square, tile_px, tile_px)


def grid_of(corners: list[tuple[int, int]], size: int, tile_px: int) -> TileGrid:
    origins = np.array(corners, np.int64).reshape(-1, 2)
    return TileGrid("ab", TileSpec(tile_px, None), origins, size, TilePlan(0, size, tile_px))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.integers(-150, 600), st.integers(-150, 800)), min_size=1, max_size=30),
    st.sampled_from([(1, 1), (70, 70), (130, 130), (130, 60), (40, 90)]),
    st.integers(1, 12),
    st.booleans(),
)
def test_any_tiles_in_any_order(
    corners: list[tuple[int, int]], sides: tuple[int, int], batch: int, little: bool
) -> None:
    slide, grid = Plain(), grid_of(corners, *sides)
    order = np.random.default_rng(len(corners)).permutation(len(grid))
    with pytest.MonkeyPatch.context() as patch:
        if little:
            patch.setattr(walking, "MOST_BYTES", 1)
        found = list(walk(slide, grid, order, batch))
    assert [number for numbers, _ in found for number in numbers] == order.tolist()
    for numbers, tiles in found:
        for number, tile in zip(numbers, tiles, strict=True):
            np.testing.assert_array_equal(tile, slide.tile(*corners[number], *sides))
    if not little:
        assert len(slide.calls) == len(set(slide.calls))


@pytest.mark.parametrize("keeps", [False, True])
def test_tiles_that_are_segments(keeps: bool) -> None:
    class Keeping(Plain):
        def segment_into(self, out: RGB, level: int, row: int, col: int) -> RGB:
            return super().segment_into(out.copy() if keeps else out, level, row, col)

    slide = Keeping((300, 500), (64, 64))
    corners = [(y, x) for y in range(-64, 320, 64) for x in range(0, 512, 64)]
    grid = grid_of(corners, 64, 64)
    order = np.random.default_rng(0).integers(0, len(corners), 100)  # some of them twice
    for numbers, tiles in walk(slide, grid, order, 7):
        for number, tile in zip(numbers, tiles, strict=True):
            np.testing.assert_array_equal(tile, slide.tile(*corners[number], 64, 64))
    assert len(slide.calls) == len(set(slide.calls))


def test_batches_that_somebody_keeps_are_not_written_to_again() -> None:
    slide = Plain((2000, 2000))
    grid = make_grid("ab", slide.levels, None, TileSpec(100, None))
    kept = [(tiles, tiles.copy()) for _, tiles in walk(slide, grid, np.arange(len(grid)), 3)]
    assert len(kept) == 134
    for tiles, as_given in kept:
        np.testing.assert_array_equal(tiles, as_given)


def test_a_walk_needs_the_memory_of_a_row_and_no_more() -> None:
    slide = Plain((15_000, 1000))
    grid = make_grid("ab", slide.levels, None, TileSpec(100, None))
    places = set()
    for _, tiles in walk(slide, grid, np.arange(len(grid)), 10):
        places.add(tiles.ctypes.data)
    # How far the threads are ahead depends on the machine's mood.
    assert len(places) < 50, "150 batches use the memory of a few"


def test_tiles_that_are_made_much_smaller_take_bounded_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    slide = Plain((2000, 3000))
    grid = grid_of([(y, x) for y in range(0, 1500, 200) for x in range(0, 2500, 200)], 500, 10)
    square = 500 * 500 * 3
    monkeypatch.setattr(walking, "MOST_BYTES", 8 * square)
    monkeypatch.setattr(walk_tiles, "recycler", lambda: Recycler(idle_bytes=0))
    tracemalloc.start()
    count = sum(len(tiles) for _, tiles in walk(slide, grid, np.arange(len(grid)), 32))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == len(grid) == 104
    assert peak < 14 * square


def test_reading_ahead_is_bounded_and_ends_when_the_iterator_is_closed() -> None:
    slide = Plain()
    grid = make_grid("ab", slide.levels, None, TileSpec(32, None))
    tiles = walk(slide, grid, np.arange(len(grid)), 4)
    next(tiles)
    tiles.close()
    wait_for_the_threads()
    count = len(slide.calls)
    assert count < 64 / 3
    wait_for_the_threads()
    assert len(slide.calls) == count


def wait_for_the_threads() -> None:
    """Let every decoding thread finish what it is at; hangs if something is left to be done."""
    together = threading.Barrier(walking.reader_threads())
    tasks = [decoders().submit(together.wait, 10) for _ in range(together.parties)]
    for task in tasks:
        task.result(10)


class Slow(Plain):
    """On a disk that answers only so often."""

    def __init__(self, answers: int) -> None:
        super().__init__()
        self.answers = threading.Semaphore(answers)

    def segment_into(self, out: RGB, level: int, row: int, col: int) -> RGB:
        assert self.answers.acquire(timeout=20)
        return super().segment_into(out, level, row, col)


def test_a_walk_closes_at_once_while_the_disk_does_not_answer() -> None:
    slide = Slow(answers=2)
    grid = make_grid("ab", slide.levels, None, TileSpec(32, None))
    tiles = walk(slide, grid, np.arange(len(grid)), 4)
    next(tiles)  # it lies in two segments
    start = time.monotonic()
    tiles.close()
    assert time.monotonic() - start < 5
    assert len(slide.calls) == 2
    slide.answers.release(walking.reader_threads())
    wait_for_the_threads()
    assert len(slide.calls) <= 2 + walking.reader_threads()


def test_a_damaged_segment_is_told_of_where_a_tile_needs_it(
    tmp_path: Path, write_slide: Write
) -> None:
    path = tmp_path / "slide.tif"
    write_slide(path, shapes=((512, 512),))
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[10], page.databytecounts[10]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    path.write_bytes(data)
    with open_slide(path) as slide:
        tiles = each_tile(slide)
        assert [next(tiles) for _ in range(10)] == list(range(10))
        with pytest.raises(SlideError, match="y 256, x 256"):
            next(tiles)
        assert list(slide.damage) == [(0, 2, 2)]


def each_tile(slide: SlideReader) -> Iterator[int]:
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(128, None))
    for numbers, _ in slide.tiles(grid, batch=1):
        yield from numbers.tolist()

"""What is asked for comes in order, is told of, and stops when nobody waits for it any more."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.io.backends import open_backend
from napari_pathfm.io.backends.pyramid import Stop
from napari_pathfm.io.cache import SegmentCache
from napari_pathfm.io.live import live_levels
from napari_pathfm.io.loader import NOT_YET, SegmentLoader
from napari_pathfm.io.reader import SlideReader
from napari_pathfm.io.sketch import Sketch
from napari_pathfm.io.wishes import bottom_up

Write = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="module")
def flat(tmp_path_factory: pytest.TempPathFactory, write_slide: Write) -> Path:
    """A slide of one level of 32 x 47 segments."""
    path = tmp_path_factory.mktemp("slides") / "flat.tif"
    write_slide(path, shapes=((2048, 3001),), tile=64)
    return path


@pytest.fixture
def slide(flat: Path) -> Iterator[SlideReader]:
    with SlideReader(flat, open_backend(flat), cache=SegmentCache()) as slide:
        yield slide


class Slow:
    """The same slide, whose file takes its time for each segment."""

    def __init__(self, slide: SlideReader, seconds: float) -> None:
        self.levels, self.stored_levels, self._slide = slide.levels, slide.stored_levels, slide
        self.cached_segment = slide.cached_segment
        self.read: list[tuple[int, int, int]] = []
        stored = slide._source.backend._backend
        decode = stored.segment

        def slowly(level: int, row: int, col: int, out: np.ndarray | None = None) -> np.ndarray:
            time.sleep(seconds)
            self.read.append((level, row, col))
            return decode(level, row, col, out)

        stored.segment = slowly

    def segment(self, level: int, row: int, col: int, stop: Stop | None = None) -> np.ndarray:
        return self._slide.segment(level, row, col, stop)


def test_it_tells_once_that_all_is_there(slide: SlideReader) -> None:
    loader = SegmentLoader(slide)
    told, seen = [], []
    loader.settled.connect(lambda: told.append(len(seen)))
    loader.loaded.connect(lambda *place: seen.append(place))
    places = [(row, col) for row in range(4) for col in range(5)]
    loader.request(0, places)
    assert loader.wait(20)
    assert sorted(seen) == [(0, *place) for place in places]
    assert told == [20]
    loader.close()


def test_soon_waits_only_for_what_comes_soon(slide: SlideReader) -> None:
    loader = SegmentLoader(Slow(slide, 0.05))
    loader.request(0, [(0, 0), (0, 1)])
    assert loader.wait(20)
    start = time.perf_counter()
    loader.request(0, [(1, col) for col in range(20)])
    loader.soon()
    loader.patient_until = time.monotonic() + 0.008
    loader.soon()
    assert time.perf_counter() - start < 0.05
    loader.request(0, [(2, 0), (2, 1)])
    loader.patient_until = time.monotonic() + 10
    loader.soon()
    assert loader.has(0, 2, 0)
    assert loader.has(0, 2, 1)
    loader.close()


def test_a_slide_without_a_pyramid_is_sketched_and_then_exact(slide: SlideReader) -> None:
    coarsest = len(slide.levels) - 1
    loader = SegmentLoader(slide)
    told: list[int] = []
    loader.loaded.connect(lambda level, row, col: told.append(level))
    loader.pin(coarsest)
    assert loader.wait_for_overview(20)
    sketch = loader.pinned(coarsest)
    assert sketch is not None
    assert not (sketch == NOT_YET).all(-1).any()
    assert loader.wait(60)
    truth = slide.read(coarsest, 0, 0, *slide.levels[coarsest].shape)
    np.testing.assert_array_equal(loader.pinned(coarsest), truth)
    assert set(told) == {coarsest}
    loader.close()


def test_a_sketch_becomes_finer(slide: SlideReader) -> None:
    picture = np.zeros((512, 750, 3), np.uint8)  # level 2: segments of 16 pixels
    sketch = Sketch(slide, {2: picture})
    assert sketch.step()  # one segment of 32 x 47 stands for all of them
    np.testing.assert_allclose(picture[511, 749], slide.segment(0, 31, 32).mean((0, 1)), atol=1)
    assert (picture == picture[0, 0]).all()
    steps = 1
    while sketch.step():
        assert sketch.rough
        steps += 1
    assert steps == 1 + 1 * 2 + 2 * 3 + 4 * 6 + 8 * 12
    for y, x, row, col in ((0, 0, 2, 2), (63, 63, 2, 2), (64, 700, 6, 42), (511, 0, 30, 2)):
        np.testing.assert_allclose(picture[y, x], slide.segment(0, row, col).mean((0, 1)), atol=1)


def test_closing_does_not_wait_for_what_takes_long(slide: SlideReader) -> None:
    slow = Slow(slide, 0.02)  # 1504 segments: half a minute for the coarsest level
    _, loader = live_levels(slow)
    start = time.perf_counter()
    loader.close()
    assert time.perf_counter() - start < 0.5
    assert not any(thread.is_alive() for thread in loader._threads)
    slow.read.clear()
    time.sleep(0.1)
    assert slow.read == []


def test_what_the_view_shows_comes_before_levels_that_are_made(slide: SlideReader) -> None:
    slow = Slow(slide, 0.02)
    loader = SegmentLoader(slow)
    loader.pin(len(slide.levels) - 1)
    deadline = time.monotonic() + 20
    while len(slow.read) < 30 and time.monotonic() < deadline:
        time.sleep(0.01)
    there = threading.Event()
    loader.settled.connect(there.set)
    start = time.perf_counter()
    loader.request(0, [(20, 30), (20, 31)])
    assert there.wait(20)
    assert time.perf_counter() - start < 1
    assert {(0, 20, 30), (0, 20, 31)} <= set(slow.read)
    loader.close()


def test_another_user_of_a_segment_is_not_stopped(slide: SlideReader) -> None:
    slow = Slow(slide, 0.005)
    coarsest = len(slide.levels) - 1
    loader = SegmentLoader(slow)
    loader.pin(coarsest)
    read: list[np.ndarray] = []
    job = threading.Thread(target=lambda: read.append(slide.read(coarsest, 0, 0, 8, 8)))
    job.start()
    time.sleep(0.1)
    loader.close()
    job.join(60)
    assert len(read) == 1


def test_parts_come_before_what_is_made_of_them(slide: SlideReader) -> None:
    numbers = [1, 2]
    order = list(bottom_up(slide.levels, numbers))
    wanted = {(n, r, c) for n in numbers for r, c in np.ndindex(slide.levels[n].segments)}
    assert set(order) == wanted
    assert len(order) == len(wanted)
    for level, row, col in order:
        if level == 2:
            at = order.index((level, row, col))
            parts = {(1, 2 * row + r, 2 * col + c) for r in (0, 1) for c in (0, 1)} & wanted
            assert parts <= set(order[:at])

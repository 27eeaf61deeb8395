"""A disk, or a network, that takes its time: nobody who looks at a slide waits for it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.tiles import TileSpec, make_grid, segments_of
from napari_pathfm.io.backends.ranges import LocalFile
from napari_pathfm.io.cache import shared_cache
from napari_pathfm.io.live import AROUND, live_levels
from napari_pathfm.io.loader import THREADS
from napari_pathfm.io.reader import SlideReader, open_slide

Write = Callable[..., list[np.ndarray]]

AT_ONCE = 5
"""Seconds: a guard against waiting for the disk, not a measure of speed."""


class Disk:
    """Answers a number of reads, and lets all others wait until it is told to go on."""

    def __init__(self, read: Callable[[LocalFile, int, int], bytes]) -> None:
        self.answers = threading.Semaphore(10**6)
        self.offsets: list[int] = []
        self._read = read

    def read(self, file: LocalFile, offset: int, count: int) -> bytes:
        self.offsets.append(offset)
        assert self.answers.acquire(timeout=30)
        return self._read(file, offset, count)

    def stop(self, after: int = 0) -> None:
        self.answers = threading.Semaphore(after)
        self.offsets.clear()

    def go_on(self) -> None:
        self.answers.release(10**6)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Disk]:
    disk = Disk(LocalFile.read)
    monkeypatch.setattr(LocalFile, "read", lambda *arguments: disk.read(*arguments))
    yield disk
    disk.go_on()


@pytest.fixture
def slide(tmp_path: Path, write_slide: Write, disk: Disk) -> Iterator[SlideReader]:
    path = tmp_path / "slide.tif"
    write_slide(path, shapes=((2000, 3000), (500, 750)))
    with open_slide(path) as slide:
        yield slide


def test_the_window_answers_at_once_and_reads_only_what_it_still_shows(
    slide: SlideReader, disk: Disk
) -> None:
    levels, loader = live_levels(slide)
    assert loader.wait(20)
    shared_cache().clear()
    disk.stop()
    start = time.monotonic()
    for x in range(0, 2500, 100):  # the view moves over the slide
        blurred = levels[0].region(0, x, 500, 500)
    assert time.monotonic() - start < AT_ONCE
    assert 0 < blurred.std() < 100, "the coarser level enlarged"
    disk.go_on()
    assert loader.wait(20)
    assert levels[0].sharp(0, 2400, 500, 500)
    read = len(disk.offsets)
    loader.close()
    around = segments_of(slide.levels[0], 0, 2400 - AROUND, 500 + AROUND, 500 + 2 * AROUND)
    assert read <= len(list(around)) + THREADS, "places that the view has left are not read"


def test_a_window_closes_while_the_disk_does_not_answer(slide: SlideReader, disk: Disk) -> None:
    levels, loader = live_levels(slide)
    assert loader.wait(20)
    shared_cache().clear()
    disk.stop()
    levels[0].region(1000, 1000, 500, 500)
    while not disk.offsets:
        time.sleep(0.01)
    start = time.monotonic()
    loader.close()
    slide.close()
    assert time.monotonic() - start < AT_ONCE
    disk.go_on()


def test_a_walk_is_cancelled_while_the_disk_does_not_answer(slide: SlideReader, disk: Disk) -> None:
    shared_cache().clear()
    grid = make_grid(slide.id, slide.levels, None, TileSpec(100, None))
    disk.stop(after=3)
    walk = slide.tiles(grid, batch=1)
    next(walk)
    start = time.monotonic()
    walk.close()
    slide.close()
    assert time.monotonic() - start < AT_ONCE
    disk.go_on()


def test_a_disk_that_fails_later_is_damage_and_not_a_crash(
    slide: SlideReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    levels, loader = live_levels(slide)
    assert loader.wait(20)
    shared_cache().clear()

    def fail(*_: object) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(LocalFile, "read", fail)
    levels[0].region(0, 0, 300, 300)
    assert loader.wait(20)
    loader.close()
    assert (0, 0, 0) in slide.damage
    assert "Input/output error" in slide.damage[0, 0, 0]
    striped = levels[0].region(0, 0, 300, 300)
    assert [200, 0, 120] in striped[0, 0].tolist() + striped[:20, 0].tolist()

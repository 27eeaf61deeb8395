from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.backends import open_backend
from napari_pathfm.io.cache import SegmentCache
from napari_pathfm.io.live import LevelArray, live_levels
from napari_pathfm.io.loader import NOT_YET, SegmentLoader, stripes
from napari_pathfm.io.reader import SlideReader

Write = Callable[..., list[np.ndarray]]
SHAPES = ((2000, 3001), (1000, 1500), (500, 750))


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, write_slide: Write) -> Path:
    path = tmp_path_factory.mktemp("slides") / "drawn.tif"
    write_slide(path, shapes=SHAPES, tile=128)
    return path


@pytest.fixture(autouse=True)
def only_the_coarsest_is_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_pathfm.io.live.PINNED", 0)


@pytest.fixture
def slide(path: Path) -> Iterator[SlideReader]:
    with SlideReader(path, open_backend(path), cache=SegmentCache()) as slide:
        yield slide


@pytest.fixture
def live(slide: SlideReader) -> Iterator[tuple[list[LevelArray], SegmentLoader]]:
    levels, loader = live_levels(slide)
    yield levels, loader
    loader.close()


class Slow:
    """A slide whose segments come one by one, when the test says so."""

    def __init__(self, slide: SlideReader) -> None:
        self.levels, self._slide = slide.levels, slide
        self.gate = threading.Semaphore(0)
        self.order: list[tuple[int, int, int]] = []
        self._lock = threading.Lock()

    stored_levels = 3

    def segment(self, *place: int, stop: object = None) -> np.ndarray:
        assert self.gate.acquire(timeout=20)
        with self._lock:
            self.order.append(place)
        return self._slide.segment(*place)

    def cached_segment(self, *place: int) -> np.ndarray | None:
        return self._slide.cached_segment(*place)


def test_arrays_look_like_arrays(live: tuple[list[LevelArray], SegmentLoader]) -> None:
    levels, _ = live
    assert [level.shape for level in levels] == [(*shape, 3) for shape in SHAPES]
    for level in levels:
        assert level.dtype == np.uint8
        assert level.ndim == len(level.chunks) == 3
        assert level.size == np.prod(level.shape)
        assert len(level) == level.shape[0]


@pytest.mark.parametrize(
    ("side", "chunk"), [(64, 256), (240, 240), (256, 256), (304, 304), (512, 512), (1024, 512)]
)
def test_viewers_take_whole_segments_of_a_handy_size(
    tmp_path: Path, write_slide: Write, side: int, chunk: int
) -> None:
    path = tmp_path / "slide.tif"
    write_slide(path, shapes=((2048, 2048),), tile=side)
    with SlideReader(path, open_backend(path)) as slide:
        levels, loader = live_levels(slide)
        assert slide.levels[0].tile_shape == (side, side)
        assert levels[0].chunks == (chunk, chunk, 3)
        loader.close()


def test_coarse_at_once_then_sharp(
    slide: SlideReader, live: tuple[list[LevelArray], SegmentLoader]
) -> None:
    levels, loader = live
    y, x, h, w = 503, 1005, 1000, 1600
    assert not levels[0].sharp(y, x, h, w)
    coarse = levels[0][y : y + h, x : x + w]
    assert loader.wait(20)
    assert loader.pending == 0
    assert levels[0].sharp(y, x, h, w)
    sharp = levels[0][y : y + h, x : x + w]
    truth = slide.read(0, y, x, h, w)
    np.testing.assert_array_equal(sharp, truth)
    assert 0 < np.abs(coarse.astype(int) - truth).mean() < 12  # the same place, not as sharp


def test_enlarging_takes_the_pixel_below(live: tuple[list[LevelArray], SegmentLoader]) -> None:
    levels, loader = live
    loader.close()  # nothing will be decoded any more
    fine = levels[1][100:700, 200:900]
    whole = levels[2][:, :]  # pinned, and exactly half as large
    np.testing.assert_array_equal(fine, whole[50:350, 100:450].repeat(2, 0).repeat(2, 1))
    assert not levels[1].sharp(100, 200, 600, 700)


def test_indexing_never_decodes(slide: SlideReader) -> None:
    slow = Slow(slide)
    loader = SegmentLoader(slow)
    loader.pin(2)
    bottom = LevelArray(slow, 2, loader)
    top = LevelArray(slow, 1, loader, bottom)
    assert (top[:, :] == NOT_YET).all()
    assert slow.order == []
    threading.Timer(0.05, lambda: slow.gate.release(1000)).start()
    assert loader.wait(20)
    assert sorted(set(slow.order)) == sorted(slow.order)
    top[:, :]
    assert loader.wait(20)
    np.testing.assert_array_equal(top[:, :], slide.read(1, 0, 0, 1000, 1500))
    loader.close()


def test_every_index_of_numpy_that_makes_sense(
    slide: SlideReader, live: tuple[list[LevelArray], SegmentLoader]
) -> None:
    level = live[0][2]
    truth = slide.read(2, 0, 0, 500, 750)
    np.testing.assert_array_equal(np.asarray(level), truth)
    for key in [
        np.s_[:],
        np.s_[...],
        np.s_[3],
        np.s_[-1, 5],
        np.s_[2:9, -20:],
        np.s_[::7, 1:600:3],
        np.s_[..., 1],
        np.s_[10:20, ..., :2],
        np.s_[4, 5, 2],
        np.s_[400:900, 700:9999, :],
        np.s_[9:3, :],
        np.s_[np.int64(3), 2:4],
    ]:
        np.testing.assert_array_equal(level[key], truth[key], err_msg=str(key))
    for wrong in [np.s_[500], np.s_[::-1], np.s_[0, 0, 0, 0], np.s_[..., ...]]:
        with pytest.raises(IndexError):
            level[wrong]
    for wrong in ["a", 1.5]:
        with pytest.raises(TypeError):
            level[wrong]


def test_what_is_handed_out_is_the_callers_own(
    live: tuple[list[LevelArray], SegmentLoader],
) -> None:
    level = live[0][2]
    region = level[:10, :10]
    region[:] = 0
    assert level[:10, :10].any()


def test_a_gigapixel_level_is_not_made_an_array(
    live: tuple[list[LevelArray], SegmentLoader], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_pathfm.io.live.LARGEST", 1_000_000)
    with pytest.raises(ValueError, match="coarser level"):
        np.asarray(live[0][0])


def test_loaded_names_each_segment(live: tuple[list[LevelArray], SegmentLoader]) -> None:
    levels, loader = live
    seen: list[tuple[int, int, int]] = []
    loader.loaded.connect(lambda *place: seen.append(place))
    levels[1][300:600, 300:600]
    assert loader.wait(20)
    assert sorted(seen) == [(1, r, c) for r in (2, 3, 4) for c in (2, 3, 4)]


def test_a_view_that_moves_on_is_sharp_at_once(
    live: tuple[list[LevelArray], SegmentLoader],
) -> None:
    levels, loader = live
    levels[0][500:1100, 700:1300]
    assert loader.wait(20)
    seen: list[tuple[int, int, int]] = []
    loader.loaded.connect(lambda *place: seen.append(place))
    assert levels[0].sharp(500 - 512, 700 - 512, 600 + 1024, 600 + 1024)
    assert not levels[0].sharp(500, 700, 600, 600 + 512 + 256)
    levels[0][900:1500, 1100:1700]
    assert loader.wait(20)
    assert seen == [], "nothing of what is shown was waited for"


def test_a_failing_listener_stops_nothing(live: tuple[list[LevelArray], SegmentLoader]) -> None:
    levels, loader = live

    def fail(*_: int) -> None:
        raise RuntimeError("a widget is gone")

    loader.loaded.connect(fail)
    levels[0][:800, :800]
    assert loader.wait(20)
    assert levels[0].sharp(0, 0, 800, 800)


def test_nearest_to_the_focus_first_and_old_requests_are_dropped(
    slide: SlideReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("napari_pathfm.io.loader.THREADS", 1)
    slow = Slow(slide)
    loader = SegmentLoader(slow)
    loader.focus = (10 * 128 + 64, 3 * 128 + 64)
    loader.request(0, [(0, 0)])
    end = time.monotonic() + 10
    while loader.pending and not loader._wishes.busy and time.monotonic() < end:
        time.sleep(0.001)
    loader.request(0, [(0, 20), (0, 21)])
    loader.request(0, [(10, 9), (10, 4), (2, 3), (10, 3)], likely=[(2, 3), (9, 9)])
    assert loader.pending == 5
    slow.gate.release(1000)
    assert loader.wait(20)
    assert slow.order == [(0, 0, 0), (0, 10, 3), (0, 10, 4), (0, 10, 9), (0, 2, 3), (0, 9, 9)]
    loader.close()


def test_damage_is_shown_and_noted(path: Path, tmp_path: Path) -> None:
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[0], page.databytecounts[0]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    (tmp_path / "damaged.tif").write_bytes(data)
    backend = open_backend(tmp_path / "damaged.tif")
    with SlideReader(tmp_path / "damaged.tif", backend, cache=SegmentCache()) as slide:
        levels, loader = live_levels(slide)
        levels[0][:300, :300]
        assert loader.wait(20)
        view = levels[0][:300, :300]
        np.testing.assert_array_equal(view[:128, :128], stripes(slide.levels[0]))
        np.testing.assert_array_equal(view[128:], slide.read(0, 128, 0, 172, 300))
        assert list(slide.damage) == [(0, 0, 0)]
        assert levels[0].sharp(0, 0, 300, 300)  # there is nothing more to come
        loader.close()


def test_closing_ends_the_threads(slide: SlideReader) -> None:
    before = threading.active_count()
    levels, loader = live_levels(slide)
    levels[0][:2000, :3000]
    loader.close()
    loader.close()
    assert threading.active_count() == before
    assert loader.pending == 0
    slide.close()
    levels[0][:100, :100]  # still answers with what it has
    with pytest.raises(SlideError):
        slide.read(0, 0, 0, 1, 1)


def test_a_warm_view_is_quick(live: tuple[list[LevelArray], SegmentLoader]) -> None:
    levels, loader = live
    levels[0][500:1500, 1000:2600]
    assert loader.wait(20)
    times = []
    for _ in range(9):
        start = time.perf_counter()
        levels[0][500:1500, 1000:2600]
        times.append(time.perf_counter() - start)
    assert min(times) < 0.02

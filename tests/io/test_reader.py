from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from napari_pathfm.core.slide import Slide, SlideError
from napari_pathfm.core.tiles import TileSpec, make_grid
from napari_pathfm.io.backends import open_backend
from napari_pathfm.io.cache import SegmentCache
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.io.regions import resize

Write = Callable[..., list[np.ndarray]]


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, write_slide: Write) -> Path:
    path = tmp_path_factory.mktemp("slides") / "drawn.tif"
    write_slide(path)
    return path


@pytest.fixture(scope="module")
def stored(path: Path) -> list[np.ndarray]:
    with tifffile.TiffFile(path) as file:
        return [level.asarray() for level in file.series[0].levels]


class Counted:
    """A backend that counts what is decoded."""

    def __init__(self, path: Path) -> None:
        self._backend = open_backend(path)
        self.calls: list[tuple[int, int, int]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._backend, name)

    def segment(self, level: int, row: int, col: int, out: np.ndarray | None = None) -> np.ndarray:
        self.calls.append((level, row, col))
        return self._backend.segment(level, row, col, out)


def counted(path: Path, max_bytes: int = 2**26) -> tuple[SlideReader, Counted]:
    backend = Counted(path)
    return SlideReader(path, backend, cache=SegmentCache(max_bytes)), backend


def expected(pixels: np.ndarray, y: int, x: int, height: int, width: int) -> np.ndarray:
    out = np.full((height, width, 3), 255, np.uint8)
    rows = np.arange(y, y + height)
    cols = np.arange(x, x + width)
    r = (rows >= 0) & (rows < pixels.shape[0])
    c = (cols >= 0) & (cols < pixels.shape[1])
    out[np.ix_(r, c)] = pixels[np.ix_(rows[r], cols[c])]
    return out


def test_a_reader_is_a_slide(path: Path) -> None:
    with open_slide(path) as slide:
        assert isinstance(slide, Slide)
        assert slide.name == "drawn"
        assert slide.mpp == pytest.approx(0.5)
        assert slide.properties["tiffslide.mpp-x"].startswith("0.5")
        assert slide.associated_images == ()
        assert not slide.damage


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.integers(0, 2),
    st.integers(-300, 1200),
    st.integers(-300, 1700),
    st.integers(0, 500),
    st.integers(0, 500),
)
def test_any_region_is_that_of_the_file_and_white_outside(
    path: Path, stored: list[np.ndarray], level: int, y: int, x: int, height: int, width: int
) -> None:
    with open_slide(path) as slide:
        read = slide.read(level, y, x, height, width)
    np.testing.assert_array_equal(read, expected(stored[level], y, x, height, width))


def test_bad_arguments(path: Path) -> None:
    with open_slide(path) as slide:
        with pytest.raises(ValueError, match="levels 0 to 2"):
            slide.read(3, 0, 0, 1, 1)
        with pytest.raises(ValueError, match="levels 0 to 2"):
            slide.read(-1, 0, 0, 1, 1)
        with pytest.raises(ValueError, match="cannot be"):
            slide.read(0, 0, 0, -1, 1)
        with pytest.raises(ValueError, match="mpp must"):
            slide.with_mpp(0)
        with pytest.raises(KeyError):
            slide.associated("label")
    with pytest.raises(ValueError, match="mpp must"):
        open_slide(path, mpp=1000)


def test_a_given_mpp_wins_and_shares_the_file(path: Path, stored: list[np.ndarray]) -> None:
    assert open_slide(path, mpp=0.25).mpp == 0.25
    first = open_slide(path)
    second = first.with_mpp(0.3)
    assert (first.mpp, second.mpp) == (pytest.approx(0.5), 0.3)
    assert first.id == second.id
    first.close()
    first.close()
    np.testing.assert_array_equal(second.read(0, 0, 0, 50, 50), stored[0][:50, :50])
    with pytest.raises(SlideError, match="closed"):
        first.read(0, 0, 0, 1, 1)
    second.close()
    with pytest.raises(SlideError, match="closed"):
        second.read(0, 0, 0, 1, 1)


def test_many_threads_decode_each_segment_once(path: Path, stored: list[np.ndarray]) -> None:
    slide, backend = counted(path)
    start = threading.Barrier(8)

    def read(_: int) -> np.ndarray:
        start.wait(10)
        return slide.read(0, 100, 100, 400, 700)

    with ThreadPoolExecutor(8) as pool:
        for region in pool.map(read, range(8)):
            np.testing.assert_array_equal(region, stored[0][100:500, 100:800])
    assert len(backend.calls) == len(set(backend.calls)) == 4 * 7


@pytest.mark.parametrize("batch", [1, 7, 32, 1000])
def test_tiles_of_a_grid(path: Path, stored: list[np.ndarray], batch: int) -> None:
    slide, backend = counted(path)
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(100, 0.5, overlap=0.25))
    seen = []
    for numbers, tiles in slide.tiles(grid, batch=batch):
        assert tiles.shape == (len(numbers), 100, 100, 3)
        for number, tile in zip(numbers, tiles, strict=True):
            y, x = grid.origins[number]
            np.testing.assert_array_equal(tile, stored[0][y : y + 100, x : x + 100])
        seen += numbers.tolist()
    assert seen == list(range(len(grid)))
    assert len(backend.calls) == len(set(backend.calls))


def test_tiles_in_a_given_order(path: Path) -> None:
    with open_slide(path) as slide:
        grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(64, 0.5))
        order = np.random.default_rng(0).permutation(len(grid))[:20]
        found = [n for numbers, _ in slide.tiles(grid, order, 8) for n in numbers.tolist()]
        assert found == order.tolist()
        assert list(slide.tiles(grid, order[:0])) == []
        with pytest.raises(ValueError, match="batch"):
            slide.tiles(grid, batch=0)


def test_a_walk_keeps_nothing_and_takes_what_is_there(path: Path, stored: list[np.ndarray]) -> None:
    slide, backend = counted(path)
    looked_at = slide.read(0, 0, 0, 300, 300)
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(100, 0.5))
    kept = [tiles for _, tiles in slide.tiles(grid, batch=4)]
    for (y, x), tile in zip(grid.origins, np.concatenate(kept), strict=True):
        np.testing.assert_array_equal(tile, stored[0][y : y + 100, x : x + 100])
    assert len(backend.calls) == len(set(backend.calls)), "what was in the cache is not read again"
    np.testing.assert_array_equal(slide.read(0, 0, 0, 300, 300), looked_at)
    assert len(backend.calls) == len(set(backend.calls)), "and stays there"
    assert slide.cached_segment(0, 5, 5) is None


def test_tiles_between_levels_are_resized(path: Path, stored: list[np.ndarray]) -> None:
    with open_slide(path) as slide:
        grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(50, 0.75))
        assert (grid.plan.level, grid.plan.size) == (0, 75)
        for numbers, tiles in slide.tiles(grid):
            for number, tile in zip(numbers, tiles, strict=True):
                y, x = grid.origins[number]
                square = stored[0][y : y + 75, x : x + 75]
                np.testing.assert_array_equal(tile, resize(square, 50, 50))
                np.testing.assert_array_equal(tile, slide.tile(grid, int(number)))
                assert abs(tile.mean() - square.mean()) < 1


def test_tiles_of_a_coarser_level(path: Path, stored: list[np.ndarray]) -> None:
    with open_slide(path) as slide:
        grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(64, 1.0))
        assert grid.plan.level == 1
        corners = grid.level_origins(slide.levels[1].downsample)
        for numbers, tiles in slide.tiles(grid):
            for (y, x), tile in zip(corners[numbers], tiles, strict=True):
                np.testing.assert_array_equal(tile, expected(stored[1], y, x, 64, 64))


def test_a_cache_too_small_for_a_row_changes_nothing_but_time(
    path: Path, stored: list[np.ndarray]
) -> None:
    slide, _ = counted(path, max_bytes=2 * 128 * 128 * 3)
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(200, 0.5))
    for numbers, tiles in slide.tiles(grid, batch=4):
        for (y, x), tile in zip(grid.origins[numbers], tiles, strict=True):
            np.testing.assert_array_equal(tile, stored[0][y : y + 200, x : x + 200])


def damage(path: Path, copy: Path, index: int) -> Path:
    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offset, count = page.dataoffsets[index], page.databytecounts[index]
    data = bytearray(path.read_bytes())
    data[offset : offset + count] = bytes(count)
    copy.write_bytes(data)
    return copy


def test_a_damaged_segment(path: Path, tmp_path: Path) -> None:
    with open_slide(damage(path, tmp_path / "damaged.tif", index=13)) as slide:
        with pytest.raises(SlideError, match=r"damaged.tif .* level 0, y 128, x 128"):
            slide.read(0, 200, 200, 10, 10)
        assert list(slide.damage) == [(0, 1, 1)]
        assert slide.read(0, 0, 0, 100, 100).shape == (100, 100, 3)
        grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(64, 0.5))
        with pytest.raises(SlideError, match="level 0"):
            list(slide.tiles(grid))


def test_thumbnail(path: Path) -> None:
    with open_slide(path) as slide:
        assert slide.thumbnail(200).shape == (133, 200, 3)
        assert slide.thumbnail(375).shape == (249, 375, 3)
        assert slide.thumbnail(10_000).shape == (999, 1501, 3)


@pytest.mark.real
def test_tiles_of_a_real_slide_decode_each_segment_once(material: Path) -> None:
    slide, backend = counted(material / "slides" / "CMU-1-Small-Region.svs")
    grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(224, 0.499))
    walked = np.concatenate([tiles for _, tiles in slide.tiles(grid)])
    assert len(backend.calls) == len(set(backend.calls)) <= 130
    for (y, x), tile in zip(grid.origins, walked, strict=True):
        np.testing.assert_array_equal(tile, slide.read(0, y, x, 224, 224))

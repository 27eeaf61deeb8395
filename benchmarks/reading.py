"""Tiles a second of our reader, TiffSlide, OpenSlide and the bare decoder, on the same tiles.

All sides read the same tiles of 224 px of level 0, in the same order, with the same number of
threads, each thread taking neighbours. The bare decoder reads and decodes each segment that these
tiles touch once, into memory that imagecodecs allocates (chance aligns it well or badly for the
codec, see ``io/memory.py``), and puts nothing together. TiffSlide may return arrays and OpenSlide
its own RGBA image, which is the least that each can do.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from napari_pathfm.core.slide import Level
from napari_pathfm.core.threads import be_polite, reader_threads
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid, segments_of
from napari_pathfm.io.cache import shared_cache
from napari_pathfm.io.reader import open_slide

from ._measure import compare, find_material, main, say, seconds_a_pass

SLIDES = (
    "CMU-1-Small-Region.svs",
    "TCGA-CR-7395-01A-01-TS1.svs",
    "esophagus_37950x14201.tif",
)
TILE = 224
MOST_TILES = 2000
NEIGHBOURS = 8
"""Tiles or segments that a thread takes at a time."""

T = TypeVar("T")


def measure() -> dict[str, Any]:
    """Measure every slide."""
    paths = [find_material("slides", name) for name in SLIDES]
    return {
        "threads": reader_threads(),
        "slides": {path.stem: measure_slide(path) for path in paths},
    }


def measure_slide(path: Path) -> dict[str, float]:
    """Compare the four sides on one slide."""
    say(f"{path.name}")
    with (
        open_slide(path) as slide,
        ThreadPoolExecutor(reader_threads(), initializer=be_polite) as pool,
    ):
        grid = middle_rows(make_grid(slide.id, slide.levels, slide.mpp, TileSpec(TILE, mpp=None)))
        places = [(int(x), int(y)) for y, x in grid.origins]

        def ours() -> None:
            for _ in slide.tiles(grid):
                pass

        seconds = compare(
            {
                "ours": lambda: seconds_a_pass(ours, shared_cache().clear),
                "tiffslide": lambda: time_library(tiffslide_reader, path, pool, places),
                "openslide": lambda: time_library(openslide_reader, path, pool, places),
                "raw_decode": lambda: time_library(
                    segment_decoder, path, pool, touched(slide.levels[0], grid)
                ),
            }
        )
    return {
        "vs_tiffslide": seconds["tiffslide"] / seconds["ours"],
        "vs_openslide": seconds["openslide"] / seconds["ours"],
        "of_raw_decode": seconds["raw_decode"] / seconds["ours"],
        "tiles": len(grid),
        **{f"{side}_tiles_per_s": len(grid) / time for side, time in seconds.items()},
    }


def middle_rows(grid: TileGrid) -> TileGrid:
    """Return at most :data:`MOST_TILES` tiles of a grid: whole rows around its middle."""
    spare = max(0, len(grid) - MOST_TILES)
    first = grid.origins[spare // 2, 0]
    last = grid.origins[len(grid) - 1 - (spare - spare // 2), 0]
    rows = grid.origins[:, 0]
    kept = grid.origins[(rows >= first) & (rows <= last)]
    return TileGrid(grid.slide_id, grid.spec, kept, grid.side, grid.plan)


def touched(level: Level, grid: TileGrid) -> list[int]:
    """Return the index of each segment of level 0 that the tiles touch, in file order."""
    columns = level.segments[1]
    found = {
        row * columns + col
        for y, x in grid.origins.tolist()
        for row, col in segments_of(level, y, x, TILE, TILE)
    }
    return sorted(found)


def time_library(
    opener: Callable[[Path], Callable[[T], object]],
    path: Path,
    pool: ThreadPoolExecutor,
    items: Sequence[T],
) -> float:
    """Seconds in which the threads read all items with a reader that was just opened."""
    read: list[Callable[[T], object]] = []
    parts = [items[start : start + NEIGHBOURS] for start in range(0, len(items), NEIGHBOURS)]

    def work(part: Sequence[T]) -> None:
        for item in part:
            read[-1](item)

    return seconds_a_pass(
        lambda: list(pool.map(work, parts)), prepare=lambda: read.append(opener(path))
    )


def tiffslide_reader(path: Path) -> Callable[[tuple[int, int]], object]:
    """Return a call that reads a tile with TiffSlide."""
    import tiffslide

    slide = tiffslide.TiffSlide(path)
    return lambda place: slide.read_region(place, 0, (TILE, TILE), as_array=True)


def openslide_reader(path: Path) -> Callable[[tuple[int, int]], object]:
    """Return a call that reads a tile with OpenSlide."""
    import openslide

    slide = openslide.OpenSlide(path)
    return lambda place: slide.read_region(place, 0, (TILE, TILE))


def segment_decoder(path: Path) -> Callable[[int], object]:
    """Return a call that reads and decodes a segment, and nothing else."""
    import imagecodecs
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = file.pages[0]
        offsets, counts, tables = page.dataoffsets, page.databytecounts, page.jpegtables
        is_jpeg, colours = page.compression == 7, "RGB" if page.photometric == 2 else "YCBCR"
    with path.open("rb") as opened:
        number = os.dup(opened.fileno())

    def jpeg(index: int) -> object:
        data = os.pread(number, counts[index], offsets[index])
        return imagecodecs.jpeg8_decode(
            data, tables=tables, colorspace=colours, outcolorspace="RGB"
        )

    def jpeg2000(index: int) -> object:
        return imagecodecs.jpeg2k_decode(os.pread(number, counts[index], offsets[index]))

    return jpeg if is_jpeg else jpeg2000


if __name__ == "__main__":
    main("reading", measure)

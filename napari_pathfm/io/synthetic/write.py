"""Write a drawn slide as a pyramidal tiled JPEG TIFF, tile by tile, with bounded memory."""

from __future__ import annotations

import queue
import tempfile
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...core.jobs import Progress
from ..atomic import replacing
from .scene import BLOCK, Scene

RGB = NDArray[np.uint8]
FACTOR = 4
"""Each level is this much smaller than the one before."""
SMALLEST = 1024
"""There is no further level once the long side is this short."""
AHEAD = 16
"""Tiles that may wait for the writer."""


def draw(
    path: str | Path,
    shape: tuple[int, int],
    mpp: float = 0.5,
    seed: int = 0,
    quality: int = 85,
) -> Generator[Progress, None, Path]:
    """Write a synthetic slide of any size; its truth is ``Scene(shape, seed)``.

    A job: run it with :func:`napari_pathfm.core.jobs.run`. The file appears complete or not at
    all. Memory does not grow with the shape; a temporary file of 3/16 byte a pixel lies
    beside it meanwhile.

    Parameters
    ----------
    path : str or Path
        Ends in ``.tif``; what is there is replaced.
    shape : tuple of int
        ``(height, width)`` of level 0.
    mpp : float
        Micrometres per pixel that the file says; the cells are drawn for 0.5.
    seed : int
        Another number, another slide.
    quality : int
        Of the JPEG tiles, 1 to 100.

    Returns
    -------
    Path

    Raises
    ------
    ValueError
        The shape is too small or too large, or the mpp is not positive.
    """
    path = Path(path)
    if mpp <= 0:
        raise ValueError(f"mpp must be positive, not {mpp}")
    scene = Scene(shape, seed)
    shapes = _level_shapes(scene.shape)
    total = sum(len(_corners(level)) for level in shapes)
    done = 0

    def from_scene(y: int, x: int) -> RGB:
        return scene.rgb(y, x, BLOCK, BLOCK)

    with (
        replacing(path) as temporary,
        tempfile.TemporaryDirectory(prefix=".synthetic-", dir=path.parent) as scratch,
        _LevelWriter(temporary, mpp, quality, bigtiff=shape[0] * shape[1] > 4e9) as writer,
    ):
        source: Callable[[int, int], RGB] = from_scene
        for number, level in enumerate(shapes):
            coarser = None
            if number + 1 < len(shapes):
                coarser = _Scratch(Path(scratch) / f"{number + 1}.raw", shapes[number + 1])
            writer.begin(level, FACTOR**number)
            for y, x in _corners(level):
                tile = source(y, x)
                writer.put(tile)
                if coarser is not None:
                    coarser.put(y // FACTOR, x // FACTOR, _reduced(tile))
                done += 1
                yield Progress(done, total, f"Drawing {path.name}", "tiles")
            writer.end()
            if coarser is not None:
                source = coarser.tile
    return path


def _level_shapes(shape: tuple[int, int]) -> list[tuple[int, int]]:
    shapes = [shape]
    while max(shapes[-1]) > SMALLEST:
        height, width = shapes[-1]
        shapes.append((max(1, height // FACTOR), max(1, width // FACTOR)))
    return shapes


def _corners(shape: tuple[int, int]) -> list[tuple[int, int]]:
    """Upper left corners of all tiles in file order."""
    return [(y, x) for y in range(0, shape[0], BLOCK) for x in range(0, shape[1], BLOCK)]


def _reduced(tile: RGB) -> RGB:
    """Average squares of pixels."""
    side = BLOCK // FACTOR
    mean = tile.reshape(side, FACTOR, side, FACTOR, 3).mean((1, 3), dtype=np.float32)
    return np.asarray(mean + np.float32(0.5)).astype(np.uint8)


class _Scratch:
    """A level kept raw on disk until it is written, mapped only while a tile is touched."""

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        # room for whole tiles, so that the edges need no special case
        rows, cols = (-(-side // BLOCK) * BLOCK for side in shape)
        self._path, self._inside, self._room = path, shape, (rows, cols, 3)
        with path.open("wb") as file:
            file.truncate(rows * cols * 3)

    def put(self, y: int, x: int, part: RGB) -> None:
        memory = np.memmap(self._path, np.uint8, "r+", shape=self._room)
        height, width = (max(0, side - at) for side, at in zip(self._inside, (y, x), strict=True))
        part = part[:height, :width]
        memory[y : y + part.shape[0], x : x + part.shape[1]] = part

    def tile(self, y: int, x: int) -> RGB:
        memory = np.memmap(self._path, np.uint8, "r", shape=self._room)
        tile = np.array(memory[y : y + BLOCK, x : x + BLOCK])
        tile[max(0, self._inside[0] - y) :] = 255
        tile[:, max(0, self._inside[1] - x) :] = 255
        return tile


class _LevelWriter:
    """Hands tiles to tifffile, which asks for them in a thread of its own.

    tifffile pulls the tiles of a level out of an iterator; a job pushes them, for it reports after
    each. A short queue between the two lets drawing and compressing run side by side.
    """

    def __init__(self, path: Path, mpp: float, quality: int, bigtiff: bool) -> None:
        from tifffile import TiffWriter

        self._mpp, self._quality = mpp, quality
        self._file = TiffWriter(path, bigtiff=bigtiff)
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="synthetic-writer")
        self._tiles: queue.Queue[RGB | None] = queue.Queue(AHEAD)
        self._writing: Future[Any] | None = None

    def __enter__(self) -> _LevelWriter:
        return self

    def __exit__(self, *error: object) -> None:
        if self._writing is not None:  # cut short: wake the thread up, whatever it writes is waste
            while not self._writing.done():
                try:
                    self._tiles.put(None, timeout=0.1)
                except queue.Full:
                    self._tiles.get_nowait()
        self._pool.shutdown()
        self._file.close()

    def begin(self, shape: tuple[int, int], downsample: float) -> None:
        """Start a level of ``(height, width)`` pixels."""
        per_cm = 1e4 / (self._mpp * downsample)
        self._tiles = queue.Queue(AHEAD)
        self._writing = self._pool.submit(
            self._file.write,
            self._waiting(self._tiles),
            shape=(*shape, 3),
            dtype=np.uint8,
            tile=(BLOCK, BLOCK),
            photometric="rgb",
            subsampling=(2, 2),
            compression="jpeg",
            compressionargs={"level": self._quality},
            subfiletype=0 if downsample == 1 else 1,
            resolution=(per_cm, per_cm),
            resolutionunit="CENTIMETER",
            software="napari-pathfm",
            metadata=None,
            maxworkers=1,
        )

    def put(self, tile: RGB) -> None:
        """Add the next tile in file order, ``(512, 512, 3)``; waits if many are waiting."""
        while True:
            if self._writing is not None and self._writing.done():
                self._writing.result()  # raises what stopped the writer: a full disk, say
            try:
                return self._tiles.put(tile, timeout=0.2)
            except queue.Full:
                continue

    def end(self) -> None:
        """Wait until the level is written."""
        if self._writing is not None:
            self._writing.result()
            self._writing = None

    @staticmethod
    def _waiting(tiles: queue.Queue[RGB | None]) -> Iterator[RGB]:
        while (tile := tiles.get()) is not None:
            yield tile

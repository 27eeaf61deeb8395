"""Regions and tiles of a slide, put together from cached segments."""

from __future__ import annotations

import threading
from collections.abc import Generator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB, Level, SlideError
from ..core.tiles import TileGrid
from .backends import open_backend
from .backends.base import Backend
from .backends.pyramid import PyramidBackend, Stop, Stopped
from .backends.remote import slide_path
from .cache import SegmentCache, shared_cache
from .fingerprint import fingerprint
from .regions import assemble, resize
from .walk import walk


def open_slide(
    path: str | Path, mpp: float | None = None, backend: str | None = None
) -> SlideReader:
    """Open a slide.

    Parameters
    ----------
    path : str or Path
        A file, a ``.zarr`` folder, or the ``https://`` or ``s3://`` URL of a tiled TIFF.
    mpp : float, optional
        Micrometres per level-0 pixel, where the file does not say it or is wrong.
    backend : str, optional
        One of :data:`~.backends.BACKENDS`; the first that reads the file if absent.

    Raises
    ------
    SlideError
        There is no such file, or it is no slide; the message says what to do.
    """
    path = slide_path(path)
    return SlideReader(path, open_backend(path, backend), mpp=mpp)


class SlideReader:
    """A slide as :class:`~napari_pathfm.core.slide.Slide` promises it, with a shared cache.

    Parameters
    ----------
    path : Path
    backend : Backend
    mpp : float, optional
        Overrides what the file says.
    cache : SegmentCache, optional
        The one that all slides share if absent.
    """

    def __init__(
        self,
        path: Path,
        backend: Backend,
        mpp: float | None = None,
        cache: SegmentCache | None = None,
    ) -> None:
        self._source = _Source(path, backend, shared_cache() if cache is None else cache)
        self._mpp = _checked_mpp(mpp)
        self._closed = False

    def __repr__(self) -> str:
        return f"<SlideReader {self.path.name} {self.levels[0].shape} mpp={self.mpp}>"

    @property
    def id(self) -> str:
        """Fingerprint of the content."""
        return self._source.id

    @property
    def path(self) -> Path:
        """Where the file is."""
        return self._source.path

    @property
    def name(self) -> str:
        """File name without the suffix."""
        return self.path.stem

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest to the coarsest, whose longer side is at most 1024 px or so."""
        return self._source.backend.levels

    @property
    def stored_levels(self) -> int:
        """How many of the levels are in the file; the coarser ones are made when looked at."""
        return self._source.backend.stored_levels

    @property
    def mpp(self) -> float | None:
        """Micrometres per level-0 pixel, or ``None``."""
        return self._source.backend.mpp if self._mpp is None else self._mpp

    @property
    def properties(self) -> Mapping[str, str]:
        """What the file says of itself."""
        return MappingProxyType(dict(self._source.backend.properties))

    @property
    def icc_profile(self) -> bytes | None:
        """The scanner's colour profile as the file has it, or ``None``; pixels are read as is."""
        return self._source.backend.icc_profile

    @property
    def associated_images(self) -> tuple[str, ...]:
        """Names of label, macro and thumbnail."""
        return self._source.backend.associated_images

    @property
    def damage(self) -> Mapping[tuple[int, int, int], str]:
        """What was wrong with segments ``(level, row, col)`` that could not be read so far."""
        return MappingProxyType(dict(self._source.damage))

    def associated(self, name: str) -> RGB:
        """Return an associated image, ``(h, w, 3)`` uint8; ``KeyError`` if there is none."""
        self._check_open()
        return self._source.backend.associated(name)

    def with_mpp(self, mpp: float | None) -> SlideReader:
        """Return the same slide with another mpp; the file closes with the last of them."""
        self._check_open()
        other = object.__new__(SlideReader)
        other._source, other._mpp, other._closed = self._source.share(), _checked_mpp(mpp), False
        return other

    def segment(self, level: int, row: int, col: int, stop: Stop | None = None) -> RGB:
        """Return one segment, ``(*tile_shape, 3)`` uint8, read-only, from the cache or decoded.

        Where a level has to be made of thousands of finer segments, `stop` is asked between them.

        Raises
        ------
        SlideError
            It is damaged, or the slide is closed.
        Stopped
            `stop` said that it is not wanted any more.
        """
        self._check_open()
        return self._source.segment(level, row, col, stop)

    def segment_into(self, out: RGB, level: int, row: int, col: int) -> RGB:
        """Return one segment as :meth:`segment` does, but do not keep it.

        `out`, ``(*tile_shape, 3)`` uint8, is memory that may be used where it has to be decoded.
        What is returned may be shared: it is to be looked at, not written to.
        """
        self._check_open()
        return self._source.segment_into(out, level, row, col)

    def cached_segment(self, level: int, row: int, col: int) -> RGB | None:
        """Return one segment if it is in the cache; never decodes."""
        return self._source.peek(level, row, col)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> RGB:
        """Read a region; see :meth:`~napari_pathfm.core.slide.Slide.read`."""
        self._check_open()
        if not 0 <= level < len(self.levels):
            raise ValueError(
                f"{self.path.name} has levels 0 to {len(self.levels) - 1}, not {level}"
            )
        if height < 0 or width < 0:
            raise ValueError(f"a region cannot be {height} x {width} pixels large")
        out = np.empty((height, width, 3), np.uint8)
        self.read_into(out, level, y, x)
        return out

    def read_into(self, out: RGB, level: int, y: int, x: int) -> None:
        """Fill `out`, ``(h, w, 3)`` uint8, with the region whose corner is ``(y, x)``.

        As :meth:`read`, for callers that have the memory already.
        """
        self._check_open()
        assemble(out, self.levels[level], y, x, partial(self._source.segment, level))

    def thumbnail(self, max_px: int) -> RGB:
        """Return the whole slide, its longer side `max_px` or less, ``(h, w, 3)`` uint8."""
        level = max(
            (n for n, level in enumerate(self.levels) if max(level.shape) >= max_px), default=0
        )
        whole = self.read(level, 0, 0, *self.levels[level].shape)
        scale = max_px / max(whole.shape)
        if scale >= 1:
            return whole
        return resize(whole, *(max(1, round(side * scale)) for side in whole.shape[:2]))

    def tile(self, grid: TileGrid, number: int) -> RGB:
        """Return one tile of a grid, ``(tile_px, tile_px, 3)`` uint8."""
        plan = grid.plan
        y, x = grid.level_origins(self.levels[plan.level].downsample)[number].tolist()
        square = self.read(plan.level, y, x, plan.size, plan.size)
        return square if plan.size == plan.tile_px else resize(square, plan.tile_px, plan.tile_px)

    def tiles(
        self, grid: TileGrid, order: NDArray[np.integer] | None = None, batch: int = 32
    ) -> Generator[tuple[NDArray[np.int64], RGB], None, None]:
        """Walk over a grid, decoding ahead in several threads.

        Parameters
        ----------
        grid : TileGrid
        order : ndarray, optional
            ``(M,)`` numbers of the tiles wanted; all in file order, which is fastest, if absent.
        batch : int

        Yields
        ------
        numbers : ndarray
            ``(B,)`` int64; the last batch may be smaller.
        tiles : ndarray
            ``(B, tile_px, tile_px, 3)`` uint8.

        Raises
        ------
        SlideError
            A segment is damaged.
        """
        numbers = np.arange(len(grid)) if order is None else np.asarray(order, np.int64)
        return walk(self, grid, numbers, batch)

    def close(self) -> None:
        """Let go of the file; reading afterwards raises :class:`SlideError`."""
        if not self._closed:
            self._closed = True
            self._source.release()

    def __enter__(self) -> SlideReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check_open(self) -> None:
        if self._closed:
            raise SlideError(f"{self.path.name} is closed. Open it again to read from it.")


class _Source:
    """An open file and what is known of it, shared by readers that differ only in mpp."""

    def __init__(self, path: Path, backend: Backend, cache: SegmentCache) -> None:
        self.path, self.id = path, fingerprint(backend.content)
        self.backend = PyramidBackend(backend, partial(self.segment, once=True))
        self.damage: dict[tuple[int, int, int], str] = {}
        self._cache = cache
        self._key = (self.id, backend.name)
        self._users = 1
        self._lock = threading.Lock()

    def share(self) -> _Source:
        with self._lock:
            self._users += 1
        return self

    def release(self) -> None:
        with self._lock:
            self._users -= 1
            last = not self._users
        if last:
            self.backend.close()

    def segment(
        self, level: int, row: int, col: int, stop: Stop | None = None, once: bool = False
    ) -> RGB:
        decode = partial(self._decode, level, row, col, stop=stop)
        while True:
            try:
                return self._cache.get((*self._key, level, row, col), decode, once)
            except Stopped:  # somebody else may have been told so, whose work this waited for
                if stop is not None and stop():
                    raise

    def peek(self, level: int, row: int, col: int) -> RGB | None:
        return self._cache.peek((*self._key, level, row, col))

    def segment_into(self, out: RGB, level: int, row: int, col: int) -> RGB:
        kept = self.peek(level, row, col)
        return self._decode(level, row, col, out) if kept is None else kept

    def _decode(
        self, level: int, row: int, col: int, out: RGB | None = None, stop: Stop | None = None
    ) -> RGB:
        where = (level, row, col)
        try:
            return self.backend.segment(*where, out=out, stop=stop)
        except SlideError as error:
            height, width = self.backend.levels[level].tile_shape
            self.damage[where] = str(error)
            raise SlideError(
                f"{self.path.name} cannot be read at level {level}, y {row * height}, "
                f"x {col * width}: {error}. Copy the file again, or leave that place out."
            ) from error


def _checked_mpp(mpp: float | None) -> float | None:
    if mpp is not None and not 0.01 <= mpp <= 100:
        raise ValueError(f"mpp must lie between 0.01 and 100 um per pixel, not {mpp}")
    return mpp

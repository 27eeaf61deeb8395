"""What OpenSlide alone reads (MIRAX, Hamamatsu, Ventana, ...), in virtual segments of 512 px."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ...core.slide import RGB, Level, SlideError
from ...core.tiles import to_slide
from .base import (
    FILE_ERRORS,
    BrokenSlideError,
    believable_mpp,
    check_associated,
    make_levels,
    on_white,
    white_outside,
)
from .chain import check_chain, directories
from .codecs import LARGEST_PIECE
from .hamamatsu import check_vms
from .mirax import MIRAX, check_mirax
from .ranges import LocalFile

SEGMENT = 512


HAMAMATSU = "hamamatsu"
"""Its files are TIFFs whose links are cut off after 32 bits; they hold no tiles."""

LINKED = 2**32
"""Bytes of a file in which all links can be followed, be they cut off or not."""

VENTANA = "ventana"
"""OpenSlide asks its files for tiles that they do not have, where their sizes are wrong."""


class OpenSlideBackend:
    """A slide read by OpenSlide.

    Where a level's downsample is not a whole number, OpenSlide can only be asked for the nearest
    level-0 pixel, so its pixels there lie up to half a pixel off.

    Where the file says which part of the glass was scanned (bounds, in MIRAX and Leica files), the
    slide is that part and its corner is ``(0, 0)``, as in QuPath.

    Parameters
    ----------
    path : Path

    Raises
    ------
    SlideError
        OpenSlide does not know the format.
    BrokenSlideError
        It knows the format, but cannot read this slide.
    """

    name = "openslide"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._slide: Any = None
        try:
            self._slide = self._open()
            self._take_facts()
        except SlideError as error:
            _refuse_if_known(path, error)
            raise

    def _take_facts(self) -> None:
        slide = self._slide
        self.properties = dict(slide.properties)
        self.content = _content(self._path, self.properties)
        shapes = [(height, width) for width, height in slide.level_dimensions]
        self._y, self._x, height, width = _scanned(self.properties, *shapes[0])
        self.levels = make_levels(shapes, [(SEGMENT, SEGMENT)] * len(shapes))
        if (height, width) != shapes[0]:
            self.levels = tuple(
                replace(level, shape=(_shrunk(height, level), _shrunk(width, level)))
                for level in self.levels
            )
        self._check_claims()
        self.mpp = believable_mpp(
            self.properties.get("openslide.mpp-y"), self.properties.get("openslide.mpp-x")
        )
        self.icc_profile = _profile(slide)
        self.associated_images = tuple(slide.associated_images)

    def _open(self) -> Any:
        import openslide

        if self._path.suffix.lower() == MIRAX:
            check_mirax(self._path)
        check_vms(self._path)
        # OpenSlide ends the process where it cannot allocate what a directory claims.
        if self._path.is_file() and self._path.stat().st_size < LINKED:
            check_chain(LocalFile(self._path))
        try:
            return openslide.OpenSlide(self._path)
        except (openslide.OpenSlideError, *FILE_ERRORS) as error:
            raise SlideError(f"OpenSlide cannot read it ({error})") from error

    def _check_claims(self) -> None:
        # OpenSlide decodes its tiles and associated images as a whole, and where there is not
        # enough memory for what they claim to be, it ends the process.
        sizes = [self._size(f"openslide.level[{n}].tile-") for n in range(len(self.levels))]
        vendor = self.properties.get("openslide.vendor")
        if vendor != HAMAMATSU:
            images = list(directories(LocalFile(self._path)))
            sizes += [(image.tile_height, image.tile_width) for image in images]
            length = self._path.stat().st_size
            if any(image.longest > length for image in images):
                raise SlideError("one of its tiles claims to be longer than the file")
            if vendor == VENTANA and not all(image.complete for image in images):
                raise SlideError("its levels do not have as many tiles as their sizes need")
            if any(image.lacking for image in images):
                raise SlideError("one of its images has fewer tiles than its size needs")
        for height, width in sizes:
            if abs(height * width) > LARGEST_PIECE:
                raise SlideError(f"its tiles claim to be {height} x {width} pixels large")

    def _size(self, key: str) -> tuple[int, int]:
        height, width = (int(self.properties.get(key + side, 0)) for side in ("height", "width"))
        return height, width

    def segment(self, level: int, row: int, col: int, out: RGB | None = None) -> RGB:
        """See :meth:`Backend.segment`."""
        import openslide

        slide = self._opened()
        where = self.levels[level]
        y, x = (to_slide(number * SEGMENT, where.downsample) for number in (row, col))
        place = self._x + x, self._y + y
        try:
            image = slide.read_region(place, level, (SEGMENT, SEGMENT))
        except (openslide.OpenSlideError, *FILE_ERRORS) as error:
            self._reopen(slide)
            raise SlideError(f"OpenSlide cannot read there ({error})") from error
        return white_outside(on_white(np.asarray(image)), where, row, col)

    def associated(self, name: str) -> RGB:
        """See :meth:`Backend.associated`."""
        import openslide

        slide = self._opened()
        if name not in self.associated_images:
            raise KeyError(name)
        check_associated(name, *self._size(f"openslide.associated.{name}."), 4)
        try:
            return on_white(np.asarray(slide.associated_images[name].convert("RGBA")))
        except (openslide.OpenSlideError, *FILE_ERRORS) as error:
            self._reopen(slide)
            raise SlideError(f"{self._path.name}: its {name} image is damaged ({error})") from error

    def close(self) -> None:
        """See :meth:`Backend.close`; the handle goes with the thread that still reads."""
        self._slide = None

    def _opened(self) -> Any:
        slide = self._slide
        if slide is None:
            raise SlideError(f"{self._path.name} is closed")
        return slide

    def _reopen(self, broken: Any) -> None:
        # After one error an OpenSlide handle refuses everything, also what is intact.
        with self._lock:
            if self._slide is broken:
                self._slide = self._open()


def _profile(slide: Any) -> bytes | None:
    import openslide
    from PIL.ImageCms import PyCMSError

    try:
        profile = slide.color_profile
        return None if profile is None else bytes(profile.tobytes())
    except (openslide.OpenSlideError, PyCMSError, *FILE_ERRORS):  # the slide can be shown without
        return None


def _refuse_if_known(path: Path, error: SlideError) -> None:
    # Somebody else would read the picture that goes with a slide, or its label, as if it were it.
    import openslide

    try:
        vendor = openslide.OpenSlide.detect_format(path)
    except openslide.OpenSlideError:
        vendor = None
    if vendor not in (None, "generic-tiff"):
        raise BrokenSlideError(
            f"{error}. It is a slide of the kind {vendor}: copy it again, with all files that "
            "belong to it"
        ) from error
    if path.suffix.lower() == MIRAX:
        raise BrokenSlideError(
            f"there is no folder {path.stem} with a file Slidedat.ini beside it, which holds the "
            "slide itself. Copy both to one place"
        ) from error


def _content(path: Path, facts: Mapping[str, str]) -> Path:
    """Return the file that no other slide has, where `path` is but a picture or a list of files."""
    if index := facts.get("mirax.HIERARCHICAL.INDEXFILE"):
        return path.with_suffix("") / index
    if overview := facts.get("hamamatsu.MapFile"):
        return path.parent / overview
    return path


def _scanned(facts: Mapping[str, str], height: int, width: int) -> tuple[int, int, int, int]:
    """Return ``(y, x, height, width)`` of what was scanned, in pixels of the file's level 0."""
    try:
        y, x, h, w = (
            int(facts[f"openslide.bounds-{key}"]) for key in ("y", "x", "height", "width")
        )
    except (KeyError, ValueError):
        return 0, 0, height, width
    inside = 0 <= y < y + h <= height and 0 <= x < x + w <= width
    return (y, x, h, w) if inside else (0, 0, height, width)


def _shrunk(side: int, level: Level) -> int:
    return max(1, int(side / level.downsample))

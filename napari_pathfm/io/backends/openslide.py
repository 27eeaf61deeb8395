"""What OpenSlide alone reads (MIRAX, Hamamatsu, Leica, ...), in virtual segments of 512 px."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np

from ...core.slide import RGB, SlideError
from ...core.tiles import to_slide
from .base import FILE_ERRORS, believable_mpp, make_levels, on_white

SEGMENT = 512


class OpenSlideBackend:
    """A slide read by OpenSlide.

    Where a level's downsample is not a whole number, OpenSlide can only be asked for the nearest
    level-0 pixel, so its pixels there lie up to half a pixel off.

    Parameters
    ----------
    path : Path

    Raises
    ------
    SlideError
        OpenSlide does not know the format.
    """

    name = "openslide"

    def __init__(self, path: Path) -> None:
        self._path = self.content = path
        self._lock = threading.Lock()
        self._slide: Any = self._open()
        slide = self._slide
        shapes = [(height, width) for width, height in slide.level_dimensions]
        self.levels = make_levels(shapes, [(SEGMENT, SEGMENT)] * len(shapes))
        self.properties = dict(slide.properties)
        self.mpp = believable_mpp(
            self.properties.get("openslide.mpp-y"), self.properties.get("openslide.mpp-x")
        )
        self.associated_images = tuple(slide.associated_images)

    def _open(self) -> Any:
        import openslide

        try:
            return openslide.OpenSlide(self._path)
        except (openslide.OpenSlideError, *FILE_ERRORS) as error:
            raise SlideError(f"OpenSlide cannot read it ({error})") from error

    def segment(self, level: int, row: int, col: int, out: RGB | None = None) -> RGB:
        """See :meth:`Backend.segment`."""
        import openslide

        slide = self._opened()
        downsample = self.levels[level].downsample
        place = (to_slide(col * SEGMENT, downsample), to_slide(row * SEGMENT, downsample))
        try:
            image = slide.read_region(place, level, (SEGMENT, SEGMENT))
        except (openslide.OpenSlideError, *FILE_ERRORS) as error:
            self._reopen(slide)
            raise SlideError(f"OpenSlide cannot read there ({error})") from error
        return on_white(np.asarray(image))

    def associated(self, name: str) -> RGB:
        """See :meth:`Backend.associated`."""
        import openslide

        slide = self._opened()
        if name not in self.associated_images:
            raise KeyError(name)
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

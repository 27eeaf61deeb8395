"""A slide in the colours of sRGB, as its scanner's ICC profile says; for the eye alone.

Models see the pixels of the file, as they saw them in training.
"""

from __future__ import annotations

from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np

from ..core.slide import RGB, Level, SlideError
from .backends.pyramid import Stop
from .cache import SegmentCache, shared_cache

if TYPE_CHECKING:
    from PIL.ImageCms import ImageCmsProfile

    from .reader import SlideReader

RGB_SPACE = "RGB"


class InSRGB:
    """Segments of a slide in sRGB; see :class:`~napari_pathfm.io.loader.Segments`.

    The transform is Pillow's (LittleCMS), which releases the GIL, with the intent that the profile
    asks for.

    Parameters
    ----------
    slide : SlideReader
    cache : SegmentCache, optional
        Keeps what was transformed; the one that all slides share if absent.

    Raises
    ------
    SlideError
        The slide has no profile, or none that can be used.
    """

    def __init__(self, slide: SlideReader, cache: SegmentCache | None = None) -> None:
        from PIL import ImageCms

        profile = _opened(slide.icc_profile)
        try:
            self._transform = ImageCms.buildTransform(
                profile,
                ImageCms.createProfile("sRGB"),
                RGB_SPACE,
                RGB_SPACE,
                ImageCms.Intent(ImageCms.getDefaultIntent(profile)),
            )
        except (ImageCms.PyCMSError, ValueError) as error:
            raise SlideError(f"its colour profile cannot be used ({error})") from error
        self._slide = slide
        self._cache = shared_cache() if cache is None else cache

    @property
    def levels(self) -> tuple[Level, ...]:
        """From the finest to the coarsest."""
        return self._slide.levels

    @property
    def stored_levels(self) -> int:
        """How many of them are in the file."""
        return self._slide.stored_levels

    def segment(self, level: int, row: int, col: int, stop: Stop | None = None) -> RGB:
        """Return one segment, ``(*tile_shape, 3)`` uint8, read-only.

        Raises
        ------
        SlideError
            It is damaged, or the slide is closed.
        Stopped
            `stop` said that it is not wanted any more.
        """
        kept = self.cached_segment(level, row, col)
        if kept is not None:
            return kept
        if level < self.stored_levels:  # of what is transformed, the file's own need not be kept
            memory = np.empty((*self.levels[level].tile_shape, 3), np.uint8)
            raw = self._slide.segment_into(memory, level, row, col)
        else:
            raw = self._slide.segment(level, row, col, stop)
        return self._cache.get(self._key(level, row, col), lambda: self._to_srgb(raw))

    def cached_segment(self, level: int, row: int, col: int) -> RGB | None:
        """Return one segment if it is in the cache; never decodes."""
        return self._cache.peek(self._key(level, row, col))

    def _key(self, level: int, row: int, col: int) -> tuple[str, str, int, int, int]:
        return self._slide.id, "sRGB", level, row, col

    def _to_srgb(self, raw: RGB) -> RGB:
        from PIL import Image, ImageCms

        image = ImageCms.applyTransform(Image.fromarray(raw), self._transform)
        return np.array(image)


def profile_name(profile: bytes | None) -> str:
    """Return what a profile says of itself.

    Raises
    ------
    SlideError
        There is none, or none that can be used on a slide; the message says why.
    """
    from PIL import ImageCms

    return ImageCms.getProfileDescription(_opened(profile)).strip()


def _opened(profile: bytes | None) -> ImageCmsProfile:
    from PIL import ImageCms

    if not profile:
        raise SlideError("The file has no colour profile")
    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
    except OSError as error:
        raise SlideError("The file's colour profile is damaged") from error
    space = opened.profile.xcolor_space.strip()
    if space != RGB_SPACE:
        raise SlideError(f"The file's colour profile is for {space}, not for RGB")
    return opened

"""Find the tissue of a slide: what is glass, ink or fat is left out."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB, Slide
from ..core.tiles import level_for_downsample
from .stains import TISSUE, Mask, classify

ASSUMED_MPP = 0.5
"""Taken for sizes in micrometres where a slide does not say its own (a 20x scan)."""
OVERVIEW_PX = 2000
"""Long side of the overview of a slide that does not say its mpp."""


@dataclass(frozen=True, eq=False)
class TissueMask:
    """What covers a slide, at the resolution of an overview.

    Attributes
    ----------
    mask : ndarray
        ``(h, w)`` bool: tissue.
    kinds : ndarray
        ``(h, w)`` uint8, see :data:`.stains.KINDS`: 0 background, 1 tissue, 2 pen, 3 fat.
    downsample : float
        Level-0 pixels per pixel of the mask.
    shape : tuple of int
        ``(height, width)`` of level 0, all of which the mask covers.
    """

    mask: Mask = field(repr=False)
    kinds: NDArray[np.uint8] = field(repr=False)
    downsample: float
    shape: tuple[int, int]

    @property
    def fraction(self) -> float:
        """Fraction of the slide that is tissue, 0 to 1."""
        return float(self.mask.mean())

    def area_um2(self, mpp: float) -> float:
        """Area of the tissue in square micrometres, for a slide of `mpp`."""
        height, width = self.shape
        return self.fraction * height * width * mpp**2

    def outlines(self) -> list[NDArray[np.float64]]:
        """Outlines of the tissue and of its holes.

        Returns
        -------
        list of ndarray
            Closed polygons ``(K, 2)`` float64, ``(y, x)`` in level-0 pixels, largest first. By
            the even-odd rule over all of them together a place is tissue.
        """
        from skimage.measure import approximate_polygon, find_contours

        scale = np.array(self.shape) / self.mask.shape
        # the margin closes outlines of tissue that the slide's border cuts
        padded = np.pad(self.mask, 1).astype(np.float32)
        contours = find_contours(padded, 0.5)
        simple = [approximate_polygon(each, 0.6) for each in contours]
        polygons = [np.clip((each - 0.5) * scale, 0, self.shape) for each in simple]
        return sorted((p for p in polygons if len(p) > 3), key=len, reverse=True)


def find_tissue(slide: Slide, mpp: float = 8.0) -> TissueMask:
    """Tell tissue from glass, ink and fat on an overview of a slide.

    Tissue is what absorbs green light more than Otsu's threshold (Otsu 1979,
    doi:10.1109/TSMC.1979.4310076) on the optical density over the slide's own glass, within
    bounds that make empty glass stay empty and a crop full of tissue stay full. Ink is told by the
    ratio of its densities in red, green and blue, which for haematoxylin and eosin lie within known
    limits (Ruifrok and Johnston 2001). Fat is where gaps the size of adipocytes, each closed by
    membranes, leave little tissue in the neighbourhood; the lumen of a gland or vessel counts as
    tissue as long as its surroundings do. Specks are removed.

    Parameters
    ----------
    slide : Slide
    mpp : float
        Micrometres per pixel of the overview; about 4 to 16 makes sense. For a slide that does
        not say its own it is not used: the overview is about 2,000 pixels long then.

    Returns
    -------
    TissueMask

    Raises
    ------
    ValueError
        `mpp` is not positive.
    SlideError
        The slide cannot be read.
    """
    if mpp <= 0:
        raise ValueError(f"mpp must be positive, not {mpp}")
    shape = slide.levels[0].shape
    if slide.mpp is None:
        wanted, own = max(1.0, max(shape) / OVERVIEW_PX), ASSUMED_MPP
    else:
        wanted, own = max(1.0, mpp / slide.mpp), slide.mpp
    image = overview(slide, wanted)
    downsample = shape[0] / image.shape[0]
    kinds = classify(image, own * downsample)
    return TissueMask(kinds == TISSUE, kinds, downsample, shape)


def overview(slide: Slide, downsample: float) -> RGB:
    """Read a whole slide at about a downsample, ``(h, w, 3)`` uint8.

    From the next finer level, averaged over whole pixels as often as it fits.
    """
    number = level_for_downsample(slide.levels, downsample)
    level = slide.levels[number]
    factor = max(1, min(int(downsample / level.downsample + 0.1), *level.shape))
    height, width = level.shape
    image = slide.read(number, 0, 0, height, width)
    if factor == 1:
        return image
    from PIL import Image

    return np.asarray(Image.fromarray(image).reduce(factor))

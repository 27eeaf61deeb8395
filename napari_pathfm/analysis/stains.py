"""Tell tissue, ink and fat from glass in an overview of H&E, by how much light they absorb."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..core.slide import RGB

Mask = NDArray[np.bool_]
Density = NDArray[np.float32]

BACKGROUND, TISSUE, PEN, FAT = 0, 1, 2, 3
KINDS: dict[int, str] = {BACKGROUND: "background", TISSUE: "tissue", PEN: "pen", FAT: "fat"}

# Optical densities. Otsu's threshold is only believed between these bounds, for it splits noise in
# two on empty glass, and pale from dark tissue where there is no glass.
LOWEST, HIGHEST = 0.06, 0.1
FAINT = 0.028
"""Membranes of adipocytes, thinner than a pixel of the overview, are at least this dense."""

# Sizes in micrometres.
SPECK_UM2 = 15_000.0
HOLE_UM2 = 25_000.0
"""A larger gap is glass; an adipocyte, of up to 150 um across, is not."""
PEN_UM2 = 40_000.0
FAT_UM2 = 30_000.0
FAT_WINDOW_UM = 45.0
FAT_TISSUE = 0.42
"""Where less than this fraction of the neighbourhood is tissue, it may be fat."""
WEB = (0.12, 0.85)
"""Fraction of fat that its membranes cover."""
ADIPOCYTES = 6
"""Fat has at least so many closed gaps."""


def classify(image: RGB, mpp: float) -> NDArray[np.uint8]:
    """Tell tissue, ink and fat from glass in an overview of H&E.

    Parameters
    ----------
    image : ndarray
        ``(h, w, 3)`` uint8.
    mpp : float
        Micrometres per pixel of it.

    Returns
    -------
    ndarray
        ``(h, w)`` uint8, see :data:`KINDS`.
    """
    from scipy.ndimage import uniform_filter

    density = optical_density(image)
    pen = find_pen(density, mpp)
    # grey dirt and shadows absorb all colours alike: hardly anything is left of them
    stained = density[..., 1] - np.float32(0.85) * np.minimum(density[..., 0], density[..., 2])
    stained[pen] = 0
    stained = uniform_filter(stained, 3)
    stained[pen] = 0
    dense = stained > _threshold(stained[~pen])
    fat = _fat(stained > FAINT, dense, pen, mpp)
    tissue = _filled(dense, HOLE_UM2 / mpp**2) & ~fat & ~pen
    kinds = np.full(pen.shape, BACKGROUND, np.uint8)
    kinds[fat] = FAT
    kinds[_without_small(tissue, SPECK_UM2 / mpp**2)] = TISSUE
    kinds[pen] = PEN
    return kinds


def optical_density(image: RGB) -> Density:
    """Optical density (natural logarithm) over the slide's own glass, ``(h, w, 3)`` float32."""
    value = np.arange(256, dtype=np.float32)[:, None]
    table = -np.log(np.maximum(value, 1) / glass_colour(image).astype(np.float32))
    table = np.maximum(table, 0).astype(np.float32)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)


def glass_colour(image: RGB) -> NDArray[np.float64]:
    """Colour of a slide's glass, ``(3,)`` float64.

    The most frequent bright value of each channel of ``(..., 3)`` uint8 pixels, or 245 where
    hardly anything is bright.
    """
    darkest = np.minimum(np.minimum(image[..., 0], image[..., 1]), image[..., 2])
    bright = image[(darkest > 200) & (darkest < 255)]  # 255 is padding, not glass
    glass = np.full(3, 245.0)
    if len(bright) > 0.005 * image[..., 0].size:
        glass = np.array([np.bincount(channel, minlength=256).argmax() for channel in bright.T])
    return np.asarray(np.clip(glass, 225.0, 255.0), np.float64)


def find_pen(density: Density, mpp: float) -> Mask:
    """Find marks of blue, green, black or red ink by the ratios of their optical densities.

    Haematoxylin absorbs about as much red as green light and less blue, eosin much green, half as
    much blue and little red; green is always the most. In blue and green ink it is red; black
    ink absorbs all alike and more than tissue ever does in blue; red ink absorbs as much blue as
    green.

    Parameters
    ----------
    density : ndarray
        ``(h, w, 3)`` float32 optical density.
    mpp : float
        Micrometres per pixel.

    Returns
    -------
    ndarray
        ``(h, w)`` bool.
    """
    from scipy.ndimage import binary_propagation

    red, green, blue = np.moveaxis(density, 2, 0)
    weakest, strongest = np.minimum(red, blue), np.maximum(green, blue)
    coloured = (red > 0.25) & (red > 1.25 * green)
    black = (weakest > 0.9) & (green > 0.9) & (weakest > 0.75 * strongest)
    red_ink = (green > 0.5) & (blue > 0.9 * green) & (red < 0.35 * green)
    core = _without_small(coloured | black | red_ink, PEN_UM2 / mpp**2)
    if not core.any():
        return core
    pale = (red > 0.05) & (red > 1.05 * green)
    return np.asarray(binary_propagation(core, mask=core | pale))


def _threshold(stained: Density) -> float:
    from skimage.filters import threshold_otsu

    if not stained.size or stained.max() <= LOWEST:
        return LOWEST
    values = np.minimum(stained, np.float32(0.6))
    found = float(threshold_otsu(values))
    return min(max(found, LOWEST), HIGHEST)


def _fat(faint: Mask, dense: Mask, pen: Mask, mpp: float) -> Mask:
    """Find where closed gaps leave little tissue, though membranes run all through them.

    Parameters
    ----------
    faint, dense, pen : ndarray
        ``(h, w)`` bool: stained at all, stained like tissue, ink.
    mpp : float
        Micrometres per pixel.
    """
    from scipy.ndimage import binary_dilation, label

    covered = _closed(faint, mpp) & ~pen  # ink is no gap in the tissue
    sparse = covered & (_share(dense, covered, FAT_WINDOW_UM / mpp) < FAT_TISSUE)
    labels, _ = label(_without_small(sparse, FAT_UM2 / mpp**2))
    sizes = np.maximum(np.bincount(labels.ravel()), 1)
    stained = np.bincount(labels.ravel(), faint.ravel()) / sizes
    gaps, count = label(covered & ~faint)
    # where a gap lies, for each: its parts of fat (one, or none)
    owner = np.zeros(count + 1, int)
    owner[gaps] = labels
    number = np.bincount(owner[1:], minlength=len(sizes))
    # a gap between two pieces of tissue has no membranes; a smear has no gaps
    webbed = (stained > WEB[0]) & (stained < WEB[1]) & (number >= ADIPOCYTES)
    webbed[0] = False
    core = webbed[labels]
    # adipocytes at the rim have more tissue around: as far as one of them reaches
    empty = covered & ~dense
    grown = binary_dilation(core, iterations=max(1, round(80 / mpp)), mask=core | empty)
    return np.asarray(grown) if core.any() else core


def _closed(faint: Mask, mpp: float) -> Mask:
    """Take in the gaps of adipocytes, whose membranes may be torn for some micrometres."""
    from scipy.ndimage import binary_dilation, binary_erosion

    rounds = max(1, round(8 / mpp))
    grown = np.asarray(binary_dilation(faint, iterations=rounds))
    filled = _filled(grown, HOLE_UM2 / mpp**2)
    return np.asarray(binary_erosion(filled, iterations=rounds, border_value=1)) | faint


def _share(part: Mask, whole: Mask, radius: float) -> Density:
    """Fraction of `whole` that is `part`, in the square neighbourhood of each pixel."""
    from scipy.ndimage import uniform_filter

    side = 2 * max(1, round(1.7 * radius)) + 1
    inside = uniform_filter(whole.astype(np.float32), side)
    found = uniform_filter((part & whole).astype(np.float32), side)
    return np.asarray(found / np.maximum(inside, np.float32(1e-4)), np.float32)


def _without_small(mask: Mask, pixels: float) -> Mask:
    """Remove connected parts of fewer than `pixels`."""
    from scipy.ndimage import label

    labels, count = label(mask)
    if not count:
        return mask
    sizes = np.bincount(labels.ravel())
    keep = sizes >= min(pixels, mask.size / 4)
    keep[0] = False
    return np.asarray(keep[labels])


def _filled(mask: Mask, pixels: float) -> Mask:
    """Fill gaps of fewer than `pixels` that `mask` surrounds; what touches the border is none."""
    from scipy.ndimage import label

    labels, _ = label(~mask)
    sizes = np.bincount(labels.ravel())
    fill = sizes < pixels
    border = (labels[0], labels[-1], labels[:, 0], labels[:, -1])
    fill[np.unique(np.concatenate(border))] = False
    fill[0] = True
    return np.asarray(fill[labels])

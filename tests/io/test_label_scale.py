"""How a label image lies on a slide: exactly once, at any ratio, however it was rounded."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.core.slide import Level
from napari_pathfm.io.interop.label_scale import fit

SLIDE = (Level((14201, 37950), 1.0, (256, 256)), Level((443, 1185), 32.0425, (256, 256)))


@pytest.mark.parametrize(
    ("shape", "downsample"),
    [
        ((14201, 37950), 1.0),
        ((14200, 37949), 1.0),
        ((7101, 18975), 2.0),
        ((7100, 18975), 2.0),
        ((3551, 9488), 4.0),
        ((443, 1185), 32.0425),
        ((1775, 4743), 8.0),
    ],
)
def test_sizes_that_fit(shape: tuple[int, int], downsample: float) -> None:
    assert fit([shape], SLIDE).downsample == downsample


@given(st.integers(500, 100_000), st.integers(500, 100_000), st.integers(1, 64), st.data())
def test_any_whole_ratio_however_rounded(
    height: int, width: int, ratio: int, data: st.DataObject
) -> None:
    rounded = st.sampled_from([math.floor, math.ceil, round])
    shape = tuple(max(4, data.draw(rounded)(side / ratio)) for side in (height, width))
    if min(shape) < 3 * ratio:
        return  # so small that several ratios fit
    scale = fit([(shape[0], shape[1])], [Level((height, width), 1.0, (256, 256))])
    assert scale.downsample == ratio


def test_the_finest_level_that_is_not_larger_than_the_slide() -> None:
    shapes = [(28402, 75900), (14201, 37950), (7101, 18975)]
    scale = fit(shapes, SLIDE)
    assert (scale.level, scale.shape, scale.downsample) == (1, (14201, 37950), 1.0)


@pytest.mark.parametrize("shape", [(37950, 14201), (14201, 14201), (28402, 75900), (1000, 1000)])
def test_what_is_not_of_this_slide(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="this whole slide"):
        fit([shape], SLIDE)


@given(st.integers(100, 5000), st.integers(1, 40))
def test_pixels_below_centres(side: int, ratio: int) -> None:
    small = -(-side // ratio)
    scale = fit(
        [(small, small)],
        [Level((side, side), 1.0, (256, 256)), Level((small, small), float(ratio), (256, 256))],
    )
    assert (scale.pixels(0, side, 0) == np.arange(side) // ratio).all()
    assert (scale.pixels(side - 7, side, 1) == np.arange(side - 7, side) // ratio).all()


def test_nothing_lies_beyond_the_last_pixel() -> None:
    scale = fit([(33, 33)], [Level((100, 100), 1.0, (256, 256))])
    assert scale.downsample == 3
    assert scale.pixels(98, 100, 0).tolist() == [32, 33]

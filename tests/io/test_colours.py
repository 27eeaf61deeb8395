"""Colours by the scanner's profile: for the eye, and for nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageCms

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.cache import SegmentCache
from napari_pathfm.io.colours import InSRGB, profile_name
from napari_pathfm.io.live import live_levels
from napari_pathfm.io.reader import open_slide

from .icc import swapping_profile

SHAPE = (700, 900)


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    coarse = np.random.default_rng(1).integers(0, 255, (*(side // 20 for side in SHAPE), 3))
    return coarse.repeat(20, 0).repeat(20, 1).astype(np.uint8)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory, pixels: np.ndarray) -> Path:
    path = tmp_path_factory.mktemp("icc") / "swapped.tif"
    write(path, pixels, tile=(256, 256), compression="deflate", iccprofile=swapping_profile())
    return path


def write(path: Path, pixels: np.ndarray, **options: object) -> None:
    tifffile.imwrite(path, pixels, photometric="rgb", **options)


def directly(raw: np.ndarray) -> np.ndarray:
    """What Pillow makes of it."""
    profile = ImageCms.ImageCmsProfile(BytesIO(swapping_profile()))
    srgb = ImageCms.createProfile("sRGB")
    return np.asarray(ImageCms.profileToProfile(Image.fromarray(raw), profile, srgb))


def test_segments_are_what_pillow_makes_of_them(path: Path, pixels: np.ndarray) -> None:
    cache = SegmentCache()
    with open_slide(path) as slide:
        coloured = InSRGB(slide, cache)
        places = [(0, row, col) for row, col in np.ndindex(slide.levels[0].segments)] * 4
        with ThreadPoolExecutor(4) as pool:
            segments = list(pool.map(lambda place: coloured.segment(*place), places))
        for place, segment in zip(places, segments, strict=True):
            np.testing.assert_array_equal(segment, directly(slide.segment(*place)))
            assert coloured.cached_segment(*place) is segment
        shown = segments[0].astype(int)
        assert np.abs(shown - pixels[:256, :256, ::-1]).max() <= 3, "red and blue are exchanged"
        np.testing.assert_array_equal(slide.read(0, 0, 0, *SHAPE), pixels)


def test_the_window_shows_them_and_goes_back(path: Path, pixels: np.ndarray) -> None:
    with open_slide(path) as slide:
        levels, loader = live_levels(slide)
        assert loader.wait(20)
        np.testing.assert_array_equal(levels[0][:, :], pixels)
        for source, truth in ((InSRGB(slide), directly(pixels)), (slide, pixels)):
            loader.show(source)
            levels[0][:, :]
            assert loader.wait(20)
            np.testing.assert_array_equal(levels[0][:, :], truth)
        loader.close()


@pytest.mark.parametrize("backend", ["tifffile", "openslide", "retiled"])
def test_each_way_of_reading_finds_the_profile(path: Path, backend: str) -> None:
    with open_slide(path, backend=backend) as slide:
        assert slide.icc_profile is not None
        assert profile_name(slide.icc_profile) == profile_name(swapping_profile())


def test_a_plain_image_has_it_too(tmp_path: Path, pixels: np.ndarray) -> None:
    Image.fromarray(pixels).save(tmp_path / "a.png", icc_profile=swapping_profile())
    with open_slide(tmp_path / "a.png") as slide:
        assert slide.icc_profile == swapping_profile()


@pytest.mark.parametrize(
    ("profile", "words"),
    [
        (None, "no colour profile"),
        (b"nonsense" * 30, "damaged"),
        (ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), "not for RGB"),
    ],
)
def test_without_a_usable_profile_it_says_why(
    tmp_path: Path, pixels: np.ndarray, profile: bytes | None, words: str
) -> None:
    more = {} if profile is None else {"iccprofile": profile}
    write(tmp_path / "a.tif", pixels, tile=(256, 256), **more)
    with open_slide(tmp_path / "a.tif") as slide:
        assert slide.read(0, 0, 0, 5, 5).shape == (5, 5, 3)
        with pytest.raises(SlideError, match=words):
            InSRGB(slide)

"""Tissue against the exact truth of drawn slides, and on real ones."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pathfm.analysis.stains import FAT, PEN, TISSUE
from napari_pathfm.analysis.tissue import TissueMask, find_tissue
from napari_pathfm.core.slide import RGB, Level
from napari_pathfm.core.tiles import points_in_polygon
from napari_pathfm.io.synthetic import Scene


class InMemory:
    """A slide whose levels are arrays."""

    def __init__(self, image: RGB, downsample: float = 1.0, mpp: float | None = 0.5) -> None:
        self.id, self.path, self.name, self.mpp = "memory", Path("memory.tif"), "memory", mpp
        self.properties: dict[str, str] = {}
        self.associated_images: tuple[str, ...] = ()
        height, width = image.shape[:2]
        full = (round(height * downsample), round(width * downsample))
        self._image = image
        levels = [Level(full, 1.0, (256, 256)), Level((height, width), downsample, (256, 256))]
        self.levels = tuple(levels if downsample > 1 else levels[:1])

    def read(self, level: int, y: int, x: int, height: int, width: int) -> RGB:
        assert level == len(self.levels) - 1, "tissue is found on a coarse level"
        return self._image[y : y + height, x : x + width]

    def associated(self, name: str) -> RGB:
        raise KeyError(name)

    def close(self) -> None:
        pass


@cache
def drawn(seed: int) -> tuple[RGB, np.ndarray]:
    """A drawn slide at a quarter of its size, and the class in the middle of each 16 x 16."""
    scene = Scene((4096, 4096), seed)
    bands = [scene.rgb(y, 0, 512, 4096).reshape(128, 4, 1024, 4, 3) for y in range(0, 4096, 512)]
    image = np.concatenate([band.mean((1, 3)) for band in bands]).round().astype(np.uint8)
    return image, scene.classes(0, 0, 4096, 4096)[8::16, 8::16]


@pytest.mark.parametrize("seed", [0, 1])
def test_tissue_of_a_drawn_slide(seed: int) -> None:
    image, classes = drawn(seed)
    found = find_tissue(InMemory(image, 4))
    assert found.mask.shape == classes.shape
    truth = np.isin(classes, (1, 2, 3, 4))
    assert (truth & found.mask).sum() / (truth | found.mask).sum() > 0.9
    pen, fat = classes == 6, classes == 5
    assert (found.kinds[pen] == PEN).mean() > 0.9
    assert not found.mask[pen].any()
    assert (found.kinds[fat] == FAT).mean() > 0.85
    assert found.mask[fat].mean() < 0.1
    assert (found.kinds[classes == 3] == TISSUE).mean() > 0.9  # lumen of glands is no hole


def test_the_area_is_that_of_the_mask() -> None:
    found = find_tissue(InMemory(drawn(0)[0], 4))
    assert found.fraction == found.mask.mean()
    assert found.area_um2(0.5) == pytest.approx(found.mask.sum() * (16 * 0.5) ** 2)


@pytest.mark.parametrize("value", [255, 243, 215])
def test_empty_glass_has_no_tissue(value: int) -> None:
    noise = np.random.default_rng(0).normal(value, 1.5, (700, 900, 3))
    found = find_tissue(InMemory(noise.clip(0, 255).astype(np.uint8), 16))
    assert not found.kinds.any()
    assert found.outlines() == []


def test_a_crop_full_of_tissue_is_all_tissue() -> None:
    image, classes = drawn(0)
    rows, cols = slice(150, 200), slice(90, 125)
    assert np.isin(classes[rows, cols], (1, 2, 3, 4)).all()
    crop = image[rows.start * 4 : rows.stop * 4, cols.start * 4 : cols.stop * 4]
    assert find_tissue(InMemory(crop, 4)).fraction > 0.97


@pytest.mark.parametrize(
    ("ink", "is_pen"),
    [
        ((40, 80, 190), True),  # blue
        ((40, 140, 80), True),  # green
        ((30, 30, 35), True),  # black
        ((225, 30, 30), True),  # red
        ((130, 80, 160), False),  # haematoxylin
        ((225, 120, 180), False),  # eosin
        ((90, 50, 120), False),  # a crowd of nuclei
    ],
)
def test_ink_is_told_from_stain(ink: tuple[int, int, int], is_pen: bool) -> None:
    image = np.full((300, 300, 3), 243, np.uint8)
    image[100:180, 40:260] = ink
    found = find_tissue(InMemory(image, 16))
    assert found.kinds[140, 150] == (PEN if is_pen else TISSUE)
    assert found.mask.any() != is_pen


def test_specks_dirt_and_shadows_are_left_out() -> None:
    image = np.full((300, 300, 3), 243, np.uint8)
    image[50:55, 50:55] = (220, 120, 180)  # a speck of tissue
    image[100:200, 100:200] = (200, 199, 201)  # a shadow
    assert not find_tissue(InMemory(image, 16)).mask.any()


def test_small_holes_are_filled_and_large_ones_are_not() -> None:
    image = np.full((400, 400, 3), 243, np.uint8)
    image[50:350, 50:350] = (220, 130, 190)
    image[80:90, 80:90] = 243
    image[180:260, 180:260] = 243
    mask = find_tissue(InMemory(image, 16)).mask
    assert mask[85, 85]
    assert not mask[220, 220]


def test_padding_is_not_taken_for_glass() -> None:
    """Some scanners surround what they scanned with pure white; glass is not stained by that."""
    image = np.full((400, 400, 3), 255, np.uint8)
    image[40:360, 40:360] = (236, 228, 237)
    image[150:250, 150:250] = (215, 110, 180)
    found = find_tissue(InMemory(image, 16))
    assert found.mask[160:240, 160:240].all()
    assert not found.kinds[:130].any()


def test_a_slide_without_mpp() -> None:
    image, classes = drawn(0)
    found = find_tissue(InMemory(image, mpp=None))
    assert max(found.mask.shape) == 1024
    assert found.mask[2::4, 2::4][np.isin(classes, (1, 2, 4))].mean() > 0.9
    assert found.mask[2::4, 2::4][classes == 0].mean() < 0.02


def test_mpp_must_be_positive() -> None:
    with pytest.raises(ValueError, match="positive"):
        find_tissue(InMemory(drawn(0)[0], 4), mpp=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1, 40))
def test_outlines_enclose_the_mask(seed: int, downsample: float) -> None:
    from scipy.ndimage import gaussian_filter

    noise = np.random.default_rng(seed).normal(size=(40, 60))
    mask = gaussian_filter(noise, 4) > 0
    shape = (round(40 * downsample), round(60 * downsample))
    tissue = TissueMask(mask, mask.astype(np.uint8), downsample, shape)
    rows, cols = np.mgrid[:40, :60]
    places = (np.stack([rows.ravel(), cols.ravel()], 1) + 0.5) * np.array(shape) / mask.shape
    inside = np.zeros(len(places), bool)
    for polygon in tissue.outlines():
        assert (polygon >= 0).all()
        assert (polygon <= shape).all()
        inside ^= points_in_polygon(places, polygon)
    assert (inside.reshape(mask.shape) == mask).mean() > 0.96


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("CMU-1-Small-Region.svs", 0.35, 0.48),
        ("TCGA-CR-7395-01A-01-TS1.svs", 0.58, 0.70),
        ("esophagus_37950x14201.tif", 0.055, 0.09),
    ],
)
def test_real_slides(material: Path, name: str, low: float, high: float) -> None:
    from napari_pathfm.io.reader import open_slide

    slide = open_slide(material / "slides" / name)
    found = find_tissue(slide)
    slide.close()
    assert low < found.fraction < high
    assert found.kinds.shape == found.mask.shape
    assert (found.kinds == FAT).mean() < 0.01  # there is none in these
    assert 1 <= len(found.outlines()) < 40


@pytest.mark.real
def test_a_large_slide_takes_no_time(material: Path) -> None:
    from napari_pathfm.io.reader import open_slide

    slide = open_slide(material / "slides" / "esophagus_37950x14201.tif")
    start = time.process_time()
    find_tissue(slide)
    # the processor's time, for others may be at work; a second on a quiet machine
    assert time.process_time() - start < 2.5
    slide.close()

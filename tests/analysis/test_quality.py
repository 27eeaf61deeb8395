"""Measures of tiles: blur that is added to real tiles, ink that is drawn on them."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from scipy.ndimage import gaussian_filter

from napari_pathfm import api
from napari_pathfm.analysis.quality import BLUR_MPP, blur_grid, detail, measure_quality
from napari_pathfm.analysis.unmix import STAINS
from napari_pathfm.core.jobs import run
from napari_pathfm.core.quality import QualityLimits, TileQuality
from napari_pathfm.core.slide import RGB
from napari_pathfm.core.tiles import TileGrid
from napari_pathfm.io.reader import SlideReader, open_slide

LIMITS = QualityLimits()
DAB = (0.27, 0.57, 0.78)
INKS = {"blue": (40, 80, 190), "green": (40, 140, 80), "black": (30, 30, 35)}


@pytest.fixture(scope="module")
def tiles(material: Path) -> list[RGB]:
    """Real tiles at 0.5 um per pixel, of ten slides."""
    files = sorted((material / "tiles" / "atlas").glob("*.jpg"))[::8]
    return [np.asarray(Image.open(file).convert("RGB")) for file in files]


def blurred(tile: RGB, sigma: float) -> RGB:
    """Out of focus, and compressed again, as a scanner would."""
    smooth = gaussian_filter(tile.astype(np.float32), (sigma, sigma, 0)).round().astype(np.uint8)
    file = BytesIO()
    Image.fromarray(smooth).save(file, "JPEG", quality=80)
    return np.asarray(Image.open(file))


def at_1_um(tiles: list[RGB]) -> RGB:
    return np.stack([np.asarray(Image.fromarray(tile).reduce(2)) for tile in tiles])


@pytest.mark.real
def test_blur_is_told_from_sharpness_whatever_the_tissue(tiles: list[RGB]) -> None:
    sharp = detail(at_1_um(tiles), BLUR_MPP)
    for sigma in (2, 3):
        soft = detail(at_1_um([blurred(tile, sigma) for tile in tiles]), BLUR_MPP)
        assert (soft > LIMITS.max_blur).mean() >= 0.95
        assert soft.min() > np.median(sharp)
        assert (soft[:, None] > sharp).mean() > 0.999  # a blurred one against a sharp one
    assert (sharp > LIMITS.max_blur).mean() <= 0.02
    slight = detail(at_1_um([blurred(tile, 1) for tile in tiles]), BLUR_MPP)
    assert (slight[:, None] > sharp).mean() > 0.93


@pytest.mark.real
def test_blur_knows_neither_contrast_nor_stain(tiles: list[RGB]) -> None:
    plain = at_1_um(tiles)
    pale = (255 - (255 - plain.astype(float)) * 0.5).round().astype(np.uint8)
    np.testing.assert_allclose(detail(pale, 1.0), detail(plain, 1.0), rtol=0.03)


def test_a_tile_of_one_colour_has_no_blur() -> None:
    (value,) = detail(np.full((1, 50, 50, 3), 200, np.uint8), 1.0)
    assert np.isnan(value)


def test_the_size_of_detail_is_that_of_the_gaussian_that_made_it() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (400, 400))
    for sigma in (1.5, 2.5):
        smooth = gaussian_filter(noise, sigma, mode="wrap")
        image = (128 + 100 * smooth / abs(smooth).max()).astype(np.uint8)
        (found,) = detail(np.repeat(image[None, :, :, None], 3, 3), 0.5)
        assert found == pytest.approx(sigma * 0.5, rel=0.1)


def slide_of(path: Path, image: RGB) -> SlideReader:
    """Write an image of 4 um per pixel as a slide."""
    unit = {"resolution": (2500, 2500), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, image, tile=(256, 256), photometric="rgb", metadata=None, **unit)
    return open_slide(path)


def measured(slide: SlideReader) -> tuple[TileGrid, TileQuality]:
    grid = api.tiles(slide, None, mpp=4.0, tile_px=64)
    return grid, run(measure_quality(slide, grid))


def mosaic(tiles: list[RGB]) -> RGB:
    """5 x 8 tiles as one piece of tissue in glass, every pixel 4 um for the purpose."""
    rows = [np.concatenate([t[:128, :128] for t in tiles[i : i + 8]], 1) for i in range(0, 40, 8)]
    return np.pad(np.concatenate(rows), ((64, 64), (64, 64), (0, 0)), constant_values=244)


@pytest.mark.real
@pytest.mark.parametrize("ink", INKS.values(), ids=INKS)
def test_ink_is_measured_where_it_was_drawn(
    material: Path, tmp_path: Path, ink: tuple[int, int, int]
) -> None:
    with open_slide(material / "slides" / "esophagus_37950x14201.tif") as real:
        image = real.thumbnail(4744).copy()  # 4 um per pixel
    drawn = np.zeros(image.shape[:2], bool)
    for start in (400, 1500, 2600):  # 0.6 mm wide
        y = (600 + 300 * np.sin(np.arange(900) / 150)).astype(int)
        for row, col in zip(y, range(start, start + 900), strict=True):
            drawn[row : row + 150, col] = True
    image[drawn] = (np.array(ink) * 0.9 + image[drawn] * 0.1).astype(np.uint8)
    with slide_of(tmp_path / "drawn.tif", image) as slide:
        grid, found = measured(slide)
    truth = np.array([drawn[y : y + 64, x : x + 64].mean() for y, x in grid.origins])
    assert abs(found.pen - truth).mean() < 0.02
    assert (found.pen > LIMITS.max_pen)[truth > 0.1].mean() > 0.97
    assert (found.pen > LIMITS.max_pen)[truth == 0].mean() < 0.02


def stained(image: RGB, second: tuple[float, float, float] | None) -> RGB:
    """Replace the eosin of H&E by another stain, or by none."""
    vectors = np.array([*STAINS.values()])
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    density = -np.log(np.maximum(image, 1) / 245.0)
    amount = np.maximum(density @ np.linalg.pinv(vectors), 0)
    other = np.zeros(3) if second is None else np.array(second) / np.linalg.norm(second)
    light = np.exp(-amount @ np.stack([vectors[0], other]))
    return np.asarray((245 * light).round().clip(0, 255), np.uint8)


@pytest.mark.real
@pytest.mark.parametrize("second", [STAINS["eosin"], DAB, None], ids=["H&E", "DAB", "H"])
def test_no_stain_is_taken_for_ink(
    tiles: list[RGB], tmp_path: Path, second: tuple[float, float, float] | None
) -> None:
    image = mosaic(tiles)
    with slide_of(tmp_path / "s.tif", stained(image, second)) as slide:
        _, found = measured(slide)
    assert (found.pen > LIMITS.max_pen).mean() < 0.01


@pytest.mark.real
def test_a_real_slide_is_measured_on_a_level_that_is_enough(material: Path) -> None:
    with open_slide(material / "slides" / "esophagus_37950x14201.tif") as slide:
        tissue = api.tissue(slide)
        grid = api.tiles(slide, tissue)
        coarse, mpp = blur_grid(slide, grid)
        assert (coarse.plan.level, coarse.plan.tile_px, mpp) == (1, 112, 1.0)
        found = run(measure_quality(slide, grid, tissue))
    assert found.tissue.min() >= 0.5
    assert np.isfinite(found.blur).all()
    failing = LIMITS.failing(found)  # edges of bubbles, some of them dark: no tissue at all
    assert {name: int(failed.sum()) for name, failed in failing.items()} == pytest.approx(
        {"tissue": 0, "blur": 10, "pen": 5}, abs=3
    )


def test_a_slide_without_mpp_is_measured_as_a_20x_scan(synthetic: Path) -> None:
    with open_slide(synthetic, mpp=0.5) as known:
        grid = api.tiles(known, None, mpp=None, tile_px=224)
        expected, _ = blur_grid(known, grid)
    with open_slide(synthetic) as unknown:
        unknown._source.backend.mpp = None  # type: ignore[misc]
        assert unknown.mpp is None
        assert blur_grid(unknown, grid)[0].plan == expected.plan

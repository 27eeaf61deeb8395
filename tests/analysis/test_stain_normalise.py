"""Stain normalisation: known stains are found, real slides come closer, odd tiles do no harm."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pathfm import api
from napari_pathfm.analysis.embed import TileSource, embed
from napari_pathfm.analysis.macenko import MacenkoLook, macenko
from napari_pathfm.analysis.reinhard import reinhard
from napari_pathfm.analysis.stain_normalise import (
    FITS,
    TYPICAL,
    NormalisedEncoder,
    Reference,
    find_look,
    normalise,
    normalise_for,
    typical,
)
from napari_pathfm.analysis.unmix import STAINS
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import run
from napari_pathfm.core.slide import RGB
from napari_pathfm.core.tiles import TileGrid
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.io.store import FeatureStore

from .test_embed import MeanEncoder

GLASS = np.full(3, 240.0)
VECTORS = np.array([*STAINS.values()])
VECTORS /= np.linalg.norm(VECTORS, axis=1, keepdims=True)
SLIDES = ("CMU-1-Small-Region.svs", "esophagus_37950x14201.tif")
METHODS = sorted(FITS)


def stained(amounts: np.ndarray, vectors: np.ndarray = VECTORS) -> RGB:
    """Pixels with known amounts ``(N, 2)`` of two stains, and the noise of a camera."""
    noise = np.random.default_rng(1).normal(0, 1.5, (len(amounts), 3))
    light = 240 * np.exp(-amounts @ vectors) + noise
    return np.asarray(light.round().clip(0, 255), np.uint8)


@pytest.fixture(scope="module")
def tissue() -> RGB:
    """Pixels of H&E, ``(N, 3)``: each with some of both stains."""
    return stained(np.random.default_rng(0).gamma(0.8, 0.5, (40_000, 2)))


@pytest.fixture(scope="module")
def slides(material: Path) -> list[tuple[SlideReader, TileGrid]]:
    """Two real slides of two scanners, each with its grid."""
    opened = [open_slide(material / "slides" / name) for name in SLIDES]
    return [(slide, api.tiles(slide, api.tissue(slide))) for slide in opened]


def test_macenko_finds_the_stains_that_are_there(tissue: RGB) -> None:
    found = macenko(tissue, GLASS)
    np.testing.assert_allclose(found.stains, VECTORS, atol=0.02)
    np.testing.assert_allclose(found.deepest, 2.07, rtol=0.05)


def test_macenko_gives_each_stain_its_colour(tissue: RGB) -> None:
    other = MacenkoLook(np.array([[0.5, 0.8, 0.33], [0.2, 0.9, 0.39]]), np.array([1.0, 1.5]), GLASS)
    turn = macenko(tissue, GLASS).to(other)
    for stain in (0, 1):
        amounts = np.zeros((1, 2))
        amounts[0, stain] = 0.8
        (made,) = turn(stained(amounts))
        deepest = other.deepest[stain] / 2.07
        (wanted,) = 240 * np.exp(-0.8 * deepest * other.stains[stain : stain + 1])
        np.testing.assert_allclose(made, wanted, atol=6)


def test_reinhard_gives_mean_and_spread(tissue: RGB) -> None:
    target = TYPICAL["reinhard"]
    own = reinhard(tissue, GLASS)
    made = reinhard(own.to(target)(tissue), GLASS)  # type: ignore[arg-type]
    np.testing.assert_allclose(made.mean, target.mean, atol=0.1)  # type: ignore[union-attr]


@pytest.mark.parametrize("method", METHODS)
def test_a_look_turned_into_itself_changes_nothing(tissue: RGB, method: str) -> None:
    look = FITS[method](tissue, GLASS)
    made = look.to(look)(tissue)  # type: ignore[arg-type]
    assert np.abs(made.astype(int) - tissue).mean() < 1.5


@pytest.mark.parametrize("method", METHODS)
def test_glass_stays_glass(tissue: RGB, method: str) -> None:
    turn = FITS[method](tissue, GLASS).to(TYPICAL[method])  # type: ignore[arg-type]
    for value in (240, 255):
        made = turn(np.full((1, 4, 4, 3), value, np.uint8))
        assert made.min() >= 238
        assert np.ptp(made) <= 8


@settings(max_examples=40)
@given(
    st.sampled_from(METHODS),
    st.tuples(*[st.integers(0, 255)] * 3),
    st.integers(0, 60),
    st.integers(0, 2**31),
)
def test_any_tile_comes_out_as_a_tile(
    method: str, colour: tuple[int, int, int], noise: int, seed: int
) -> None:
    """White, black, one colour, noise: uint8 of the same shape, and nothing that is no number."""
    rng = np.random.default_rng(seed)
    own = FITS[method](stained(rng.gamma(0.8, 0.5, (4000, 2))), GLASS)
    tile = np.clip(np.array(colour) + rng.integers(-noise, noise + 1, (2, 9, 7, 3)), 0, 255)
    with np.errstate(all="raise"):
        made = own.to(TYPICAL[method])(tile.astype(np.uint8))  # type: ignore[arg-type]
    assert (made.shape, made.dtype) == (tile.shape, np.uint8)
    if noise == 0:
        assert np.ptp(made.reshape(-1, 3), 0).max() == 0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0, 240, 255])
def test_a_slide_without_tissue_is_refused(method: str, value: int) -> None:
    blank = np.full((5000, 3), value, np.uint8)
    if (method, value) == ("reinhard", 0):
        assert np.isfinite(FITS[method](blank, GLASS).numbers).all()
    else:
        with pytest.raises(ValueError, match="as it was scanned"):
            FITS[method](blank, GLASS)


def test_one_stain_is_not_taken_for_two() -> None:
    amounts = np.random.default_rng(0).gamma(0.8, 0.5, (20_000, 2)) * (1, 0)
    with pytest.raises(ValueError, match="one stain only"):
        macenko(stained(amounts), GLASS)


def colours(tiles: RGB) -> np.ndarray:
    """Mean and spread of the tissue's colours, six numbers in grey values."""
    pixels = tiles.reshape(-1, 3).astype(float)
    tissue = pixels[pixels[:, 1] < 205]
    return np.concatenate([tissue.mean(0), tissue.std(0)])


def _all(source: TileSource, grid: TileGrid, order: np.ndarray) -> RGB:
    return np.concatenate([tiles for _, tiles in source.tiles(grid, order, 8)])


@pytest.mark.real
@pytest.mark.parametrize("method", METHODS)
def test_slides_of_two_scanners_come_closer(
    slides: list[tuple[SlideReader, TileGrid]], method: str
) -> None:
    before, after = [], []
    for slide, grid in slides:
        order = np.arange(0, len(grid), len(grid) // 20)
        before.append(colours(_all(slide, grid, order)))
        source = run(normalise(slide, grid, typical(method)))
        after.append(colours(_all(source, grid, order)))
    apart = [float(np.abs(each[0] - each[1]).mean()) for each in (before, after)]
    assert apart[1] < 0.7 * apart[0]


@pytest.mark.real
def test_a_slide_can_look_like_another_one(slides: list[tuple[SlideReader, TileGrid]]) -> None:
    (one, its_grid), (other, grid) = slides
    reference = Reference("reinhard", run(find_look(one, its_grid, "reinhard")))
    source = run(normalise(other, grid, reference))
    goal = colours(np.concatenate([t for _, t in one.tiles(its_grid)]))
    order = np.arange(0, len(grid), len(grid) // 20)
    made, scanned = (colours(_all(each, grid, order)) for each in (source, other))
    assert np.abs(made - goal).mean() < 0.6 * np.abs(scanned - goal).mean()


@pytest.mark.real
def test_numbers_order_and_every_tile_are_those_of_the_slide(
    slides: list[tuple[SlideReader, TileGrid]],
) -> None:
    slide, grid = slides[0]
    source = run(normalise(slide, grid, typical("macenko")))
    turn = run(find_look(slide, grid, "macenko")).to(TYPICAL["macenko"])  # type: ignore[arg-type]
    order = np.array([7, 3, 11, 0, 5])
    expected = [turn(slide.tile(grid, number)) for number in order.tolist()]
    seen = [*source.tiles(grid, order, 2)]
    assert np.concatenate([numbers for numbers, _ in seen]).tolist() == order.tolist()
    np.testing.assert_array_equal(np.concatenate([tiles for _, tiles in seen]), expected)


@pytest.mark.real
def test_it_is_recorded_and_not_mixed_with_others(
    slides: list[tuple[SlideReader, TileGrid]], tmp_path: Path
) -> None:
    slide, grid = slides[0]
    encoder, queue = MeanEncoder(), InferenceQueue("of the test")
    made = {}
    for method in (None, *METHODS):
        reference = None if method is None else typical(method)
        source, used = run(normalise_for(slide, grid, encoder, reference))
        store = FeatureStore(tmp_path / "s.zarr", used.key, grid)
        made[method] = run(embed(source, grid, used, store, queue))
    assert made[None].key == encoder.key
    assert made["macenko"].key.stain == typical("macenko").name
    assert len({each.key.hash for each in made.values()}) == 3
    difference = made["macenko"].key.difference(made["reinhard"].key)
    assert difference is not None
    assert "stain macenko to" in difference
    assert not np.allclose(made["macenko"].vectors[:, 0], made[None].vectors[:, 0], rtol=0.02)


def test_another_reference_is_another_name() -> None:
    look = TYPICAL["macenko"]
    assert isinstance(look, MacenkoLook)
    other = Reference("macenko", replace(look, deepest=look.deepest * 1.01))
    assert typical("macenko").name == Reference("macenko", look).name != other.name
    key = NormalisedEncoder(MeanEncoder(), other).key
    assert key.stain == other.name
    with pytest.raises(ValueError, match="choose one of"):
        typical("vahadane")

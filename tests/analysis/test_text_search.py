from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.analysis.embed import embed
from napari_pathfm.analysis.text_search import (
    TilesForText,
    embed_texts,
    search_slide,
    text_search,
    tiles_for_text,
)
from napari_pathfm.core.embeddings import Embeddings
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import run
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.io.store import FeatureStore, stored_features
from napari_pathfm.models.base import Encoder
from napari_pathfm.models.catalog import get_encoder

from ..worded import Apart, clip

TEXT = "lymphocytes, H&E"


@pytest.fixture(scope="module")
def slide(synthetic: Path) -> SlideReader:
    return open_slide(synthetic)


@pytest.fixture(scope="module")
def grid(slide: SlideReader) -> TileGrid:
    made = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(224, 4.0))
    assert 4 <= len(made) <= 60
    return made


def test_stored_embeddings_of_a_joint_space_are_searched_as_they_are(
    slide: SlideReader, grid: TileGrid
) -> None:
    encoder = clip()
    stored = run(embed(slide, grid, encoder))
    scores = run(search_slide(NotRead(), grid, stored, f" {TEXT} ", encoder))  # type: ignore[arg-type]
    (query,) = encoder.embed_text([TEXT])
    unit = stored.vectors / np.linalg.norm(stored.vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(scores.values, unit @ query, atol=1e-5)
    assert (scores.tiles == stored.tiles).all()
    assert np.ptp(scores.values) > 1e-4
    assert scores.text == f"similar to “{TEXT}”"


class NotRead:
    """A slide that must not be read."""

    def tiles(self, *_: object) -> object:
        raise AssertionError("tiles were read again")


def test_tiles_of_another_space_are_embedded_for_texts_once(
    slide: SlideReader, grid: TileGrid, tmp_path: Path
) -> None:
    encoder = Apart()
    own = Embeddings(encoder.key, grid.hash, np.array([3, 1]), np.ones((2, 768), np.float32))
    scores = run(search_slide(slide, grid, own, TEXT, encoder, tmp_path / "s.zarr"))
    assert scores.tiles.tolist() == [1, 3]  # those that are embedded, no others
    assert encoder.embedded == 2
    ((_, tiles),) = slide.tiles(grid, np.array([1, 3]), 2)
    expected = clip().embed_for_text(tiles) @ clip().embed_text([TEXT])[0]
    np.testing.assert_allclose(scores.values, expected, atol=1e-5)
    (kept,) = stored_features(tmp_path / "s.zarr")
    assert (kept.key.pooling, kept.key.encoder, kept.count) == ("text", "clip", 2)
    again = run(search_slide(NotRead(), grid, own, "stroma", encoder, tmp_path / "s.zarr"))  # type: ignore[arg-type]
    assert encoder.embedded == 2
    assert (again.values != scores.values).any()


def test_own_and_text_vectors_are_never_mixed(grid: TileGrid, tmp_path: Path) -> None:
    encoder = Apart()
    for_text = tiles_for_text(encoder)
    assert isinstance(for_text, TilesForText)
    assert isinstance(for_text, Encoder)
    assert tiles_for_text(clip()) is clip()
    assert for_text.key.difference(encoder.key) == "pooling: 'text' here, 'cls' there"
    own = Embeddings(encoder.key, grid.hash, np.arange(2), np.ones((2, 512), np.float32))
    with pytest.raises(ValueError, match="cannot be compared with texts of clip: pooling"):
        run(text_search(own, TEXT, encoder))
    stores = [FeatureStore(tmp_path / "s.zarr", key, grid) for key in (encoder.key, for_text.key)]
    assert stores[0].key.hash != stores[1].key.hash


def test_embeddings_of_other_weights_are_refused(grid: TileGrid) -> None:
    encoder = clip()
    theirs = replace(encoder.key, weights="0123")
    stored = Embeddings(theirs, grid.hash, np.arange(2), np.ones((2, 512), np.float32))
    with pytest.raises(ValueError, match="weights: '0123' here"):
        run(text_search(stored, TEXT, encoder))


def test_what_cannot_be_asked(slide: SlideReader, grid: TileGrid) -> None:
    encoder = clip()
    stored = Embeddings(encoder.key, grid.hash, np.arange(2), np.ones((2, 512), np.float32))
    with pytest.raises(ValueError, match="write what the tiles should show"):
        run(search_slide(slide, grid, stored, "  ", encoder))
    images_only = get_encoder("efficientnet-lite0", device="cpu")
    with pytest.raises(ValueError, match=r"cannot be asked in words.*such as plip"):
        run(search_slide(slide, grid, stored, TEXT, images_only))


@pytest.mark.parametrize("unit_seconds", [None, 0.04])
def test_texts_are_embedded_in_the_inference_thread(unit_seconds: float | None) -> None:
    seen = []

    class Queue(InferenceQueue):
        def call(self, unit, priority=None):  # type: ignore[no-untyped-def]
            vectors = super().call(unit, priority)
            seen.append(len(vectors))
            return vectors

    texts = [f"text {number}" for number in range(5)]
    found = run(embed_texts(clip(), texts, Queue(unit_seconds=unit_seconds)))
    np.testing.assert_allclose(found, clip().embed_text(texts), atol=1e-5)
    assert seen == ([5] if unit_seconds is None else [2, 2, 1])

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.analysis.search import TileScores, search
from napari_pathfm.core.embeddings import Embeddings, FeatureKey

KEY = FeatureKey("encoder", "avg", "0123", "224 px")


def embeddings_of(vectors: np.ndarray, tiles: np.ndarray | None = None) -> Embeddings:
    vectors = np.asarray(vectors, np.float32)
    return Embeddings(KEY, "grid", np.arange(len(vectors)) if tiles is None else tiles, vectors)


def test_scores_are_cosines_in_the_order_of_the_embeddings() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(70, 8))
    tiles = rng.permutation(500)[:70]
    scores = search(embeddings_of(vectors, tiles), [tiles[7]])
    query = vectors[7] / np.linalg.norm(vectors[7])
    expected = vectors @ query / np.linalg.norm(vectors, axis=1)
    np.testing.assert_allclose(scores.values, expected, atol=1e-6)
    assert scores.tiles is not None
    assert (scores.tiles == tiles).all()
    assert scores.values.dtype == np.float32
    assert scores.text == f"similar to tile {tiles[7]}"


def test_several_queries_count_alike_whatever_their_length() -> None:
    vectors = np.array([[1000.0, 0], [0, 0.001], [1, 1], [1, -1]])
    scores = search(embeddings_of(vectors), [0, 1, 1])
    np.testing.assert_allclose(scores.values[2:], [1, 0], atol=1e-6)
    assert scores.text == "similar to 2 tiles"


def test_a_block_boundary_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = np.random.default_rng(1).normal(size=(101, 5))
    whole = search(embeddings_of(vectors), [3]).values
    monkeypatch.setattr("napari_pathfm.analysis.search._CHUNK", 7)
    np.testing.assert_allclose(search(embeddings_of(vectors), [3]).values, whole, atol=1e-6)


def test_a_vector_of_zeros_is_like_nothing() -> None:
    scores = search(embeddings_of(np.array([[0.0, 0], [1, 0]])), [1])
    np.testing.assert_allclose(scores.values, [0, 1])


def test_errors_say_what_to_do() -> None:
    embeddings = embeddings_of(np.eye(3))
    with pytest.raises(ValueError, match="select one tile"):
        search(embeddings, [])
    with pytest.raises(ValueError, match=r"Tile 9 is not embedded \(1 of 2"):
        search(embeddings, [0, 9])


@given(
    values=st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), max_size=30),
    k=st.integers(0, 35),
    exclude=st.sets(st.integers(0, 30), max_size=5),
)
def test_best_is_a_stable_sort(values: list[float], k: int, exclude: set[int]) -> None:
    tiles = np.arange(len(values))[::-1].astype(np.int64)
    scores = TileScores(tiles, np.array(values, np.float32), "")
    pairs = [(-v, t) for t, v in zip(tiles, values, strict=True) if t not in exclude]
    assert scores.best(k, exclude).tolist() == [t for _, t in sorted(pairs)[:k]]

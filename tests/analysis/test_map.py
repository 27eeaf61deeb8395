from __future__ import annotations

import io
import threading

import numpy as np
import pytest
from tqdm import tqdm

from napari_pathfm.analysis.map import (
    FEW,
    MapCoordinates,
    _exact_neighbors,
    cluster,
    pca_map,
    umap_map,
)
from napari_pathfm.core.embeddings import Embeddings, FeatureKey
from napari_pathfm.core.jobs import Progress, run

KEY = FeatureKey("encoder", "avg", "0123", "224 px")


def groups(count: int, dim: int = 40, k: int = 4, seed: int = 0) -> tuple[Embeddings, np.ndarray]:
    rng = np.random.default_rng(seed)
    group = np.arange(count) % k
    vectors = rng.normal(size=(k, dim))[group] * 3 + rng.normal(size=(count, dim))
    tiles = np.arange(count, dtype=np.int64) * 2 + 5
    return Embeddings(KEY, "grid", tiles, vectors.astype(np.float32)), group


def spread(xy: np.ndarray, group: np.ndarray) -> float:
    """Distance inside groups over the distance between their centres."""
    centres = np.stack([xy[group == g].mean(0) for g in np.unique(group)])
    within = np.linalg.norm(xy - centres[group], axis=1).mean()
    between = np.linalg.norm(centres[:, None] - centres[None], axis=2)
    return float(within / between[between > 0].min())


def test_pca_agrees_with_a_full_decomposition() -> None:
    embeddings, _ = groups(300)
    made = pca_map(embeddings)
    unit = embeddings.vectors / np.linalg.norm(embeddings.vectors, axis=1, keepdims=True)
    centred = unit - unit.mean(0)
    u, s, _ = np.linalg.svd(centred, full_matrices=False)
    expected = u[:, :2] * s[:2]
    expected *= np.sign((expected * made.xy).sum(0))
    np.testing.assert_allclose(made.xy, expected, atol=1e-4)
    assert made.method == "PCA"
    assert made.xy.dtype == np.float32
    assert (made.tiles == embeddings.tiles).all()


def test_pca_of_a_sample_shows_the_same_groups() -> None:
    embeddings, group = groups(2000, k=3)
    assert spread(pca_map(embeddings, sample=200).xy, group) < 0.5


@pytest.mark.parametrize("change", [np.diag([-1, 1]), np.array([[0, 1], [1, 0]])])
def test_a_map_that_grows_is_neither_mirrored_nor_turned(change: np.ndarray) -> None:
    embeddings, _ = groups(400, k=3)
    few = Embeddings(KEY, "grid", embeddings.tiles[:60], embeddings.vectors[:60])
    first = pca_map(few)
    seen = MapCoordinates(first.tiles, (first.xy @ change).astype(np.float32), "PCA")
    grown = pca_map(embeddings, like=seen)
    assert len(grown) == 400
    cosine = (grown.xy[:60] * seen.xy).sum(1)
    assert (cosine > 0).mean() > 0.95
    alone = pca_map(embeddings).xy
    np.testing.assert_allclose(
        np.linalg.norm(grown.xy - grown.xy[0], axis=1),
        np.linalg.norm(alone - alone[0], axis=1),
        atol=1e-4,
    )


@pytest.mark.parametrize("count", [0, 1, 2])
def test_pca_of_almost_nothing(count: int) -> None:
    embeddings, _ = groups(4, dim=1)
    few = Embeddings(KEY, "grid", embeddings.tiles[:count], embeddings.vectors[:count])
    assert pca_map(few).xy.shape == (count, 2)
    assert np.isfinite(pca_map(few).xy).all()


def test_umap_of_few_tiles_is_a_pca_and_says_so() -> None:
    embeddings, _ = groups(FEW)
    made = run(umap_map(embeddings))
    assert made.method == "PCA"
    assert "too few" in made.note


def test_umap_separates_groups_reports_and_repeats() -> None:
    embeddings, group = groups(240)
    reports: list[Progress] = []
    made = run(umap_map(embeddings), reports.append)
    assert made.method == "UMAP"
    assert made.xy.shape == (240, 2)
    assert (made.tiles == embeddings.tiles).all()
    assert spread(made.xy, group) < 0.5
    assert any(r.unit == "tiles" and r.total == 240 for r in reports)
    assert (run(umap_map(embeddings)).xy == made.xy).all()


@pytest.mark.soak  # its compilation takes half a minute
def test_umap_by_descent_separates_groups_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("napari_pathfm.analysis.map._EXACT", 100)
    embeddings, group = groups(240)
    assert spread(run(umap_map(embeddings)).xy, group) < 0.5


def test_a_cancelled_umap_leaves_its_thread() -> None:
    embeddings, _ = groups(3000)
    job = umap_map(embeddings)
    for progress in job:
        if progress.unit == "epochs" and progress.done:
            assert progress.total > progress.done
            break
    job.close()
    for thread in threading.enumerate():
        if thread.name == "umap":
            thread.join(5)
            assert not thread.is_alive()
    # tqdm's lock is one for all bars of the process: others, in other threads, go on.
    bar = threading.Thread(target=lambda: list(tqdm(range(3), file=io.StringIO())), daemon=True)
    bar.start()
    bar.join(20)
    assert not bar.is_alive()


def test_exact_neighbors() -> None:
    vectors = np.random.default_rng(2).normal(size=(700, 6)).astype(np.float32)
    indices, distances = run(_exact_neighbors(vectors, 5))
    assert (indices[:, 0] == np.arange(700)).all()
    full = np.linalg.norm(vectors[:, None] - vectors[None], axis=2)
    np.testing.assert_allclose(distances[:, 1:], np.sort(full, 1)[:, 1:5], atol=1e-3)


def test_too_few_neighbours_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2"):
        run(umap_map(groups(50)[0], neighbors=1))


def test_clusters_find_groups_the_largest_first() -> None:
    embeddings, group = groups(400, k=4)
    keep = (group != 2) | (np.arange(400) < 200)
    some = Embeddings(KEY, "grid", embeddings.tiles[keep], embeddings.vectors[keep])
    found = cluster(some, 4)
    assert found.dtype == np.int32
    assert (np.diff(np.bincount(found)) <= 0).all()
    assert (found[group[keep] == 2] == 3).all()
    assert (cluster(some, 4) == found).all()


def test_more_clusters_than_tiles_are_refused() -> None:
    with pytest.raises(ValueError, match="ask for 1 to 5"):
        cluster(groups(5)[0], 6)

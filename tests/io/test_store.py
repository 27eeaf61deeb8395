from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.io import store as store_file
from napari_pathfm.io.store import FeatureStore, ProjectError, stored_features

KEY = FeatureKey("vit/s", "cls", "ab12", "224 bicubic")
LEVELS = (Level((5000, 5000), 1.0, (256, 256)),)
GRID = make_grid("ab", LEVELS, 0.5, TileSpec())
DIM = 7


def vectors(tiles: NDArray[np.integer]) -> NDArray[np.float32]:
    return np.outer(tiles + 1, np.arange(1, DIM + 1)).astype(np.float32)


def opened(folder: Path, key: FeatureKey = KEY, grid: TileGrid = GRID) -> FeatureStore:
    return FeatureStore(folder / "slides" / "ab.zarr", key, grid)


def fill(store: FeatureStore, tiles: NDArray[np.integer]) -> None:
    with store.lock():
        store.append(tiles, vectors(tiles))


def test_an_empty_store_makes_nothing(tmp_path: Path) -> None:
    store = opened(tmp_path)
    assert store.count == 0
    assert len(store.read()) == 0
    assert stored_features(store.path) == []
    assert not list(tmp_path.iterdir())


@settings(max_examples=10, deadline=None)
@given(st.permutations(range(200)), st.lists(st.integers(1, 90), min_size=1, max_size=6))
def test_any_order_in_any_batches_comes_back_as_it_was_appended(
    tmp_path_factory: pytest.TempPathFactory, order: list[int], sizes: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("s")
    done = 0
    for size in sizes:
        tiles = np.array(order[done : done + size], np.int64)
        store = opened(folder)
        with store.lock():
            for part in np.array_split(tiles, 3):
                store.append(part, vectors(part).reshape(len(part), DIM))
                assert store.count == len(store.read())
        done += len(tiles)
    embeddings = opened(folder).read()
    assert embeddings.tiles.tolist() == order[:done]
    np.testing.assert_array_equal(embeddings.vectors, vectors(embeddings.tiles))
    assert embeddings.vectors.dtype == np.float32
    assert embeddings.grid_hash == GRID.hash


def test_what_is_stored_can_be_listed_and_gone_on_with(tmp_path: Path) -> None:
    fill(opened(tmp_path), np.arange(5, 80))
    (stored,) = stored_features(tmp_path / "slides" / "ab.zarr")
    assert (stored.key, stored.count, stored.total, stored.dim) == (KEY, 75, len(GRID), DIM)
    assert stored.slide_id == "ab"
    grid = stored.grid()
    assert grid.hash == GRID.hash == stored.grid_hash
    np.testing.assert_array_equal(grid.origins, GRID.origins)
    assert (grid.spec, grid.plan, grid.side) == (GRID.spec, GRID.plan, GRID.side)
    fill(stored.open(), np.arange(5))
    assert stored.open().read().tiles.tolist() == [*range(5, 80), *range(5)]
    assert stored.read().tiles.tolist() == list(range(5, 80))


def test_other_weights_have_a_group_of_their_own_and_another_precision_has_not(
    tmp_path: Path,
) -> None:
    fill(opened(tmp_path), np.arange(3))
    fill(opened(tmp_path, replace(KEY, weights="cd34")), np.arange(4))
    fill(opened(tmp_path, replace(KEY, precision="bfloat16")), np.arange(3, 6))
    other = make_grid("ab", LEVELS, 0.5, TileSpec(tile_px=512))
    fill(opened(tmp_path, grid=other), np.arange(2))
    counts = sorted(features.count for features in stored_features(opened(tmp_path).path))
    assert counts == [2, 4, 6]
    assert opened(tmp_path, replace(KEY, precision="bfloat16")).read().key == KEY


def test_a_group_made_in_another_way_is_refused(tmp_path: Path) -> None:
    store = opened(tmp_path)
    fill(store, np.arange(3))
    group = zarr.open_group(store.path / "features" / store.name, mode="r+")
    group.attrs["key"] = {**group.attrs["key"], "pooling": "avg"}
    with pytest.raises(ValueError, match="pooling: 'avg' here, 'cls' there"):
        opened(tmp_path)


def test_one_writer_and_many_readers(tmp_path: Path) -> None:
    store = opened(tmp_path)
    with store.lock():
        store.append(np.arange(70), vectors(np.arange(70)))
        assert opened(tmp_path).count == 70
        with pytest.raises(ProjectError, match="is being written"), opened(tmp_path).lock():
            pass
    with opened(tmp_path).lock():
        pass
    with pytest.raises(RuntimeError, match="lock"):
        store.append(np.arange(1), vectors(np.arange(1)))


def test_what_was_appended_is_kept_when_an_error_ends_it(tmp_path: Path) -> None:
    def cancelled(store: FeatureStore) -> None:
        with store.lock():
            store.append(np.arange(3), vectors(np.arange(3)))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cancelled(opened(tmp_path))
    assert opened(tmp_path).count == 3


@pytest.mark.parametrize(
    ("tiles", "rows", "message"),
    [
        ([0], np.zeros((1, DIM)), "already"),
        ([5, 5], np.zeros((2, DIM)), "already"),
        ([len(GRID)], np.zeros((1, DIM)), "not in this grid"),
        ([5], np.zeros((2, DIM)), "disagree"),
        ([5], np.full((1, DIM), np.nan), "finite"),
        (np.arange(5, 100), np.zeros((95, DIM + 1)), "stored ones"),
    ],
)
def test_bad_vectors_are_refused(
    tmp_path: Path, tiles: list[int], rows: NDArray[np.float64], message: str
) -> None:
    store = opened(tmp_path)
    fill(store, np.arange(3))
    with pytest.raises(ValueError, match=message), store.lock():
        store.append(np.array(tiles), rows)
    assert opened(tmp_path).count == 3


def test_a_full_disk_loses_nothing_that_was_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from zarr.storage import _local

    store = opened(tmp_path)
    fill(store, np.arange(70))
    real = _local._put

    def full(path: Path, *args: object, **kwargs: object) -> int:
        if "vectors" in path.parts:
            raise OSError(28, "No space left on device")
        return real(path, *args, **kwargs)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr(_local, "_put", full)
        with pytest.raises(ProjectError, match="no space left"), store.lock():
            store.append(np.arange(70, 200), vectors(np.arange(70, 200)))
    assert opened(tmp_path).read().tiles.tolist() == list(range(70))
    fill(opened(tmp_path), np.arange(100, 110))
    embeddings = opened(tmp_path).read()
    assert embeddings.tiles.tolist() == [*range(70), *range(100, 110)]
    np.testing.assert_array_equal(embeddings.vectors, vectors(embeddings.tiles))


def test_it_is_written_by_rows_or_by_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(store_file.time, "monotonic", lambda: now[0])
    store, reader = opened(tmp_path), opened(tmp_path)
    with store.lock():
        store.append(np.arange(8), vectors(np.arange(8)))
        assert (store.count, reader.count) == (8, 0)
        now[0] = 1.1
        store.append(np.arange(8, 9), vectors(np.arange(8, 9)))
        assert reader.count == 9
        store.append(np.arange(10, 80), vectors(np.arange(10, 80)))
        assert reader.count == 79

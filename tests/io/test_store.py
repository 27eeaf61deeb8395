from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import IO

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.io import columns
from napari_pathfm.io import store as store_file
from napari_pathfm.io.store import FeatureStore, ProjectError, stored_features

KEY = FeatureKey("vit/s", "cls", "ab12", "224 bicubic")
LEVELS = (Level((5000, 5000), 1.0, (256, 256)),)
GRID = make_grid("ab", LEVELS, 0.5, TileSpec())
SMALL = GRID.where(np.arange(len(GRID)) < 90)
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
    fill(opened(tmp_path), np.arange(5))
    assert opened(tmp_path).read().tiles.tolist() == [*range(5, 80), *range(5)]
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


def test_a_run_that_goes_on_in_another_precision_says_so(tmp_path: Path) -> None:
    def add(first: int, precision: str | None) -> None:
        store = opened(tmp_path)
        with store.lock():
            store.append(np.arange(first, first + 3), np.ones((3, DIM)), precision)

    add(0, None)
    assert opened(tmp_path).read().key == KEY
    add(3, "bfloat16")
    add(6, "bfloat16")
    # A killed run that had only begun with its first unit.
    group = zarr.open_group(opened(tmp_path)._folder, mode="r+")
    assert group.attrs["precisions"] == [[0, "float32"], [3, "bfloat16"]]
    group.attrs["precisions"] = [*group.attrs["precisions"], [9, "float16"]]
    (stored,) = stored_features(opened(tmp_path).path)
    assert stored.key.precision == opened(tmp_path).read().key.precision == "float32; bfloat16"
    add(9, "float32")
    group = zarr.open_group(opened(tmp_path)._folder, mode="r")
    assert group.attrs["precisions"] == [[0, "float32"], [3, "bfloat16"], [9, "float32"]]
    assert stored.key.difference(KEY) is None


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
    store = opened(tmp_path)
    fill(store, np.arange(70))
    real = columns._write

    def full(file: IO[bytes], place: int, data: NDArray[np.float32]) -> None:
        real(file, place, data[:20])
        raise OSError(28, "No space left on device")

    with store.lock():
        with monkeypatch.context() as patch:
            patch.setattr(columns, "_write", full)
            with pytest.raises(ProjectError, match="no space left"):
                store.append(np.arange(70, 200), vectors(np.arange(70, 200)))
        assert store.read().tiles.tolist() == list(range(70))
        store.append(np.arange(100, 110), vectors(np.arange(100, 110)))
    embeddings = opened(tmp_path).read()
    assert embeddings.tiles.tolist() == [*range(70), *range(100, 110)]
    np.testing.assert_array_equal(embeddings.vectors, vectors(embeddings.tiles))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, 30), min_size=2, max_size=6), st.data())
def test_whatever_was_written_last_all_that_counts_is_whole(
    tmp_path_factory: pytest.TempPathFactory, sizes: list[int], data: st.DataObject
) -> None:
    """Written is byte by byte; a run is cut off after any of them, and another one goes on."""
    store = opened(tmp_path_factory.mktemp("s"), grid=SMALL)
    left = data.draw(st.integers(0, 5000))
    real = columns._write

    def cut(file: IO[bytes], place: int, rows: NDArray[np.generic]) -> None:
        nonlocal left
        written = np.frombuffer(rows.tobytes()[:left], np.uint8)
        # Eight bytes within a page are written at once.
        if rows.nbytes > 8 or len(written) == 8:
            real(file, place, written)
        left -= len(written)
        if not left:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, suppress(KeyboardInterrupt), store.lock():
        patch.setattr(store_file, "CHUNK_ROWS", 16)
        patch.setattr(columns, "_write", cut)
        for size in sizes:
            numbers = np.arange(store.count, min(store.count + size, len(SMALL)))
            store.append(numbers, vectors(numbers))
    before = store.read()
    assert before.tiles.tolist() == list(range(len(before)))
    if len(before):
        np.testing.assert_array_equal(before.vectors, vectors(before.tiles))
    rest = np.arange(len(before), len(SMALL))[::-1]
    fill(opened(store.path.parents[1], grid=SMALL), rest)
    after = opened(store.path.parents[1], grid=SMALL).read()
    assert after.tiles.tolist() == [*before.tiles, *rest]
    np.testing.assert_array_equal(after.vectors, vectors(after.tiles))
    group = zarr.open_group(store._folder, mode="r")
    assert group["tiles"][:].tolist() == after.tiles.tolist()  # type: ignore[index, union-attr]


def test_each_unit_is_there_at_once(tmp_path: Path) -> None:
    store, reader = opened(tmp_path), opened(tmp_path)
    with store.lock():
        for unit in np.array_split(np.arange(30), 7):
            store.append(unit, vectors(unit))
            assert reader.read().tiles.tolist() == list(range(unit[-1] + 1))


def test_a_store_of_an_earlier_version_is_continued(tmp_path: Path) -> None:
    """It had chunks of 64 vectors and said once for all in which precision they are."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_file, "CHUNK_ROWS", 64)
        fill(opened(tmp_path), np.arange(100))
    group = zarr.open_group(opened(tmp_path)._folder, mode="r+")
    assert group["vectors"].chunks == (64, DIM)  # type: ignore[union-attr]
    del group.attrs["precisions"]
    store = opened(tmp_path)
    with store.lock():
        store.append(np.arange(100, 300), vectors(np.arange(100, 300)), "float16")
    embeddings = opened(tmp_path).read()
    assert embeddings.tiles.tolist() == list(range(300))
    np.testing.assert_array_equal(embeddings.vectors, vectors(embeddings.tiles))
    assert embeddings.key.precision == "float32; float16"


def test_what_another_program_has_compressed_is_not_continued(tmp_path: Path) -> None:
    fill(opened(tmp_path), np.arange(3))
    group = zarr.open_group(opened(tmp_path)._folder, mode="r+")
    kept = group["vectors"][:]  # type: ignore[index]
    group.create_array("vectors", data=kept, overwrite=True)  # type: ignore[arg-type]
    assert opened(tmp_path).read().vectors.shape == (3, DIM)
    with pytest.raises(ProjectError, match="computed anew"):
        fill(opened(tmp_path), np.arange(3, 5))

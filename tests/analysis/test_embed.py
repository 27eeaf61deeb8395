"""The embedding job: all tiles once, resumable, in short units, whatever happens on the way."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.analysis import embed as module
from napari_pathfm.analysis.embed import embed
from napari_pathfm.analysis.tile_order import TileOrder
from napari_pathfm.core.embeddings import Embeddings, FeatureKey
from napari_pathfm.core.inference import InferenceQueue, Priority
from napari_pathfm.core.jobs import Progress, run
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.io.errors import ProjectError
from napari_pathfm.io.store import FeatureStore
from napari_pathfm.models.base import DeviceLost, EncoderSpec, ModelError
from napari_pathfm.models.catalog import encoder_specs, get_encoder
from napari_pathfm.models.precision import agreement_of, cosine

Tiles = NDArray[np.uint8]


@pytest.fixture
def grid() -> TileGrid:
    """103 tiles of 16 px: no batch size divides them."""
    made = make_grid("slide", [Level((160, 176), 1.0, (64, 64))], 0.5, TileSpec(16, 0.5))
    return replace(made, origins=made.origins[:103])


@dataclass
class Source:
    """A slide whose tiles hold their own number."""

    walked: list[int] = field(default_factory=list)
    closed: int = 0

    def tiles(
        self, grid: TileGrid, order: NDArray[np.integer] | None = None, batch: int = 32
    ) -> Generator[tuple[NDArray[np.int64], Tiles], None, None]:
        numbers = np.arange(len(grid)) if order is None else np.asarray(order, np.int64)
        try:
            for start in range(0, len(numbers), batch):
                part = numbers[start : start + batch]
                self.walked.extend(part)
                tiles = np.zeros((len(part), 16, 16, 3), np.uint8)
                tiles += part[:, None, None, None].astype(np.uint8)
                yield part, tiles
        finally:
            self.closed += 1


class MeanEncoder:
    """Embeds a tile as its mean, its square and one; slow or short of memory if told so."""

    device = "cpu"

    def __init__(self, pause: float = 0.0, fits: int = 1000) -> None:
        self.spec: EncoderSpec = replace(encoder_specs()["efficientnet-lite0"], name="mean", dim=3)
        self.key = FeatureKey("mean", "avg", "none", "16 px")
        self.pause, self.fits = pause, fits
        self.sizes: list[int] = []
        self.threads: set[str] = set()

    def embed(self, tiles: Tiles) -> NDArray[np.float32]:
        self.sizes.append(len(tiles))
        self.threads.add(threading.current_thread().name)
        if len(tiles) > self.fits:
            raise MemoryError("the card is full; close other programs")
        time.sleep(self.pause * len(tiles))
        mean = tiles.mean((1, 2, 3))
        return np.stack([mean, mean**2, np.ones(len(tiles))], 1).astype(np.float32)

    def tokens(self, tiles: Tiles) -> NDArray[np.float32]:
        raise NotImplementedError


@pytest.fixture
def queue() -> InferenceQueue:
    return InferenceQueue("of the test")


def expected(tiles: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.stack([tiles, tiles**2, np.ones(len(tiles))], 1).astype(np.float32)


def test_every_tile_once_in_the_inference_thread(grid: TileGrid, queue: InferenceQueue) -> None:
    encoder, source, seen = MeanEncoder(), Source(), list[Progress]()
    made = run(embed(source, grid, encoder, queue=queue), seen.append)
    assert (made.key, made.grid_hash) == (encoder.key, grid.hash)
    assert sorted(made.tiles) == list(range(103))
    np.testing.assert_array_equal(made.vectors, expected(made.tiles))
    assert encoder.threads == {"of the test"}
    assert (seen[0].done, seen[0].total) == (0, 103)
    assert (seen[-1].done, seen[-1].total, seen[-1].unit) == (103, 103, "tiles")
    assert [p.done for p in seen] == sorted(p.done for p in seen)
    assert source.closed == 1


def test_order_is_kept(grid: TileGrid, queue: InferenceQueue) -> None:
    order = np.array([50, 3, 99, 7])
    made = run(embed(Source(), grid, MeanEncoder(), queue=queue, order=order))
    assert made.tiles.tolist() == [50, 3, 99, 7]
    np.testing.assert_array_equal(made.vectors, expected(order))


def test_what_is_looked_at_comes_first_and_the_order_follows_the_view(
    grid: TileGrid, queue: InferenceQueue
) -> None:
    order, encoder, source = TileOrder(grid), MeanEncoder(pause=0.002), Source()
    order.look(100, 100, 110, 110)
    queue.unit_seconds = 0.004
    moved_at = 0
    job = embed(source, grid, encoder, queue=queue, order=order)
    try:
        while True:
            progress = next(job)
            if progress.done >= 9 and not moved_at:
                moved_at = progress.done
                order.look(0, 0, 15, 15)
    except StopIteration as end:
        made = end.value
    assert sorted(made.tiles) == list(range(103))
    np.testing.assert_array_equal(made.vectors, expected(made.tiles))
    seen_first = set(made.tiles[:4].tolist())
    assert {grid.at(100, 100), grid.at(109, 109)} <= seen_first
    # At most the units that were under way come before what is looked at now.
    after = made.tiles.tolist().index(grid.at(2, 2))
    assert after <= moved_at + 8
    assert source.closed == 2


def test_somebody_may_watch_it_grow(
    grid: TileGrid, queue: InferenceQueue, store: FeatureStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.0)
    monkeypatch.setattr(module, "WATCH_SHARE", 1e9)  # after each unit, however slow the machine
    seen: list[Embeddings] = []
    run(embed(Source(), grid, MeanEncoder(pause=0.002), store, queue, watch=seen.append))
    counts = [len(each) for each in seen]
    assert len(counts) > 2
    assert counts == sorted(counts)
    for each in seen:
        np.testing.assert_array_equal(each.vectors, expected(each.tiles))


def test_it_says_where_how_and_what_limits(grid: TileGrid, queue: InferenceQueue) -> None:
    seen: list[Progress] = []
    run(embed(Source(), grid, MeanEncoder(pause=0.002), queue=queue), seen.append)
    assert re.fullmatch(
        r"Embedding with mean \(cpu, float32, \d+ at a time; limited by the network\)",
        seen[-1].text,
    )


def test_a_card_that_is_gone_is_an_error_and_keeps_what_is_done(
    grid: TileGrid, queue: InferenceQueue, store: FeatureStore
) -> None:
    class Unplugged(MeanEncoder):
        def embed(self, tiles: Tiles) -> NDArray[np.float32]:
            if len(self.sizes) == 5:
                raise DeviceLost("cuda:0 does not answer any more")
            return super().embed(tiles)

    with pytest.raises(DeviceLost):
        run(embed(Source(), grid, Unplugged(), store, queue))
    assert 0 < store.count < 103
    made = run(embed(Source(), grid, MeanEncoder(), store, queue))
    np.testing.assert_array_equal(made.vectors, expected(made.tiles))


def test_units_are_short_while_a_window_is_open(grid: TileGrid, queue: InferenceQueue) -> None:
    encoder = MeanEncoder(pause=0.005)
    queue.unit_seconds = 0.03
    run(embed(Source(), grid, encoder, queue=queue))
    assert encoder.sizes[0] == 1
    assert 4 in encoder.sizes
    assert max(encoder.sizes) <= 8


def test_click_is_served_between_units(grid: TileGrid, queue: InferenceQueue) -> None:
    queue.unit_seconds = 0.03
    waited = []
    job = embed(Source(), grid, MeanEncoder(pause=0.005), queue=queue)
    for number, _ in enumerate(job):
        if number % 5 == 4:
            start = time.perf_counter()
            queue.call(lambda: None, Priority.CLICK)
            waited.append(time.perf_counter() - start)
    assert len(waited) > 3
    assert np.median(waited) < 0.06


@pytest.fixture
def store(tmp_path: Path, grid: TileGrid) -> FeatureStore:
    return FeatureStore(tmp_path / "slide.zarr", MeanEncoder().key, grid)


def test_cancel_keeps_what_is_done_and_resumes(
    grid: TileGrid, queue: InferenceQueue, store: FeatureStore, tmp_path: Path
) -> None:
    source = Source()
    job = embed(source, grid, MeanEncoder(), store, queue)
    while next(job).done < 40:
        pass
    job.close()
    assert source.closed == 1
    kept = store.count
    assert 40 <= kept < 103
    again, seen = FeatureStore(store.path, store.key, grid), list[Progress]()
    source = Source()
    made = run(embed(source, grid, MeanEncoder(), again, queue), seen.append)
    assert (seen[0].done, seen[0].total) == (kept, 103)
    assert len(source.walked) == 103 - kept
    assert sorted(made.tiles) == list(range(103))
    np.testing.assert_array_equal(made.vectors, expected(made.tiles))


def test_each_unit_is_kept_before_the_next_one_begins(
    grid: TileGrid, queue: InferenceQueue, store: FeatureStore
) -> None:
    """Also while reading is what everything waits for, and where memory is short."""
    kept = list[int]()

    class Counting(MeanEncoder):
        def embed(self, tiles: Tiles) -> NDArray[np.float32]:
            kept.append(store.count)
            return super().embed(tiles)

    class Slow(Source):
        def tiles(
            self, *args: object, **options: object
        ) -> Generator[tuple[NDArray[np.int64], Tiles], None, None]:
            for batch in super().tiles(*args, **options):  # type: ignore[arg-type]
                time.sleep(0.05)
                yield batch

    encoder = Counting(fits=11)
    run(embed(Slow(), grid, encoder, store, queue))
    done = [0, *np.cumsum([size * (size <= encoder.fits) for size in encoder.sizes])]
    assert kept == done[:-1]
    assert store.count == done[-1] == 103


def test_an_error_of_the_slide_keeps_also_what_nobody_has_waited_for(
    grid: TileGrid, queue: InferenceQueue, store: FeatureStore
) -> None:
    class Gone(Source):
        def tiles(
            self, *args: object, **options: object
        ) -> Generator[tuple[NDArray[np.int64], Tiles], None, None]:
            yield next(super().tiles(*args, **options))  # type: ignore[arg-type]
            end = time.monotonic() + 10
            while store.count < 1 and time.monotonic() < end:
                time.sleep(0.01)
            raise OSError("gone")

    encoder = MeanEncoder()
    with pytest.raises(OSError, match="gone"):
        run(embed(Gone(), grid, encoder, store, queue))
    assert store.count == sum(encoder.sizes) > 0


def test_nothing_left_reads_nothing(
    grid: TileGrid, queue: InferenceQueue, store: FeatureStore
) -> None:
    run(embed(Source(), grid, MeanEncoder(), store, queue))
    source, encoder = Source(), MeanEncoder()
    assert len(run(embed(source, grid, encoder, store, queue))) == 103
    assert not source.walked
    assert not encoder.sizes


def test_error_of_the_slide_keeps_what_is_done(
    grid: TileGrid, queue: InferenceQueue, store: FeatureStore
) -> None:
    class Damaged(Source):
        def tiles(
            self, *args: object, **options: object
        ) -> Generator[tuple[NDArray[np.int64], Tiles], None, None]:
            for number, batch in enumerate(super().tiles(*args, **options)):  # type: ignore[arg-type]
                if number == 2:
                    raise OSError("a segment is damaged")
                yield batch

    with pytest.raises(OSError, match="damaged"):
        run(embed(Damaged(), grid, MeanEncoder(), store, queue))
    assert store.count >= 32
    assert len(run(embed(Source(), grid, MeanEncoder(), store, queue))) == 103


def test_only_one_writes(grid: TileGrid, queue: InferenceQueue, store: FeatureStore) -> None:
    job = embed(Source(), grid, MeanEncoder(), store, queue)
    next(job)
    other = FeatureStore(store.path, store.key, grid)
    with pytest.raises(ProjectError):
        run(embed(Source(), grid, MeanEncoder(), other, queue))
    job.close()
    assert len(run(embed(Source(), grid, MeanEncoder(), other, queue))) == 103


def test_too_little_memory_halves_the_batch_visibly(grid: TileGrid, queue: InferenceQueue) -> None:
    encoder, seen = MeanEncoder(fits=3), list[Progress]()
    made = run(embed(Source(), grid, encoder, queue=queue), seen.append)
    np.testing.assert_array_equal(made.vectors, expected(made.tiles))
    assert sorted(made.tiles) == list(range(103))
    assert "2 at a time; the memory of cpu is too small for more; limited by" in seen[-2].text
    assert sum(size > 3 for size in encoder.sizes) <= 3


def test_not_even_one_tile_fits(grid: TileGrid, queue: InferenceQueue) -> None:
    with pytest.raises(ModelError, match="the card is full"):
        run(embed(Source(), grid, MeanEncoder(fits=0), queue=queue))


def test_no_tiles(grid: TileGrid) -> None:
    empty = replace(grid, origins=grid.origins[:0])
    with pytest.raises(ValueError, match="The grid has no tiles"):
        run(embed(Source(), empty, MeanEncoder()))


def test_store_of_another_encoder(grid: TileGrid, tmp_path: Path) -> None:
    key = FeatureKey("mean", "avg", "other weights", "16 px")
    store = FeatureStore(tmp_path / "slide.zarr", key, grid)
    with pytest.raises(ValueError, match="weights: 'other weights' here, 'none' there"):
        run(embed(Source(), grid, MeanEncoder(), store))


@pytest.mark.real
def test_real_slide_with_the_default_encoder(material: Path, tmp_path: Path) -> None:
    from napari_pathfm.io.reader import open_slide

    encoder = get_encoder("efficientnet-lite0", device="cpu")
    with open_slide(material / "slides" / "CMU-1-Small-Region.svs") as slide:
        grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(224, 0.5))
        store = FeatureStore(tmp_path / "slide.zarr", encoder.key, grid)
        order = np.arange(0, len(grid), len(grid) // 20)[:20]
        seen: list[Progress] = []
        made = run(embed(slide, grid, encoder, store, order=order), seen.append)
        tiles = np.stack([slide.tile(grid, int(number)) for number in made.tiles])
    assert any("choosing the precision" in progress.text for progress in seen)
    assert made.key.precision == encoder.key.precision
    assert made.key.precision in {trial.precision.name for trial in encoder.trials}  # type: ignore[attr-defined]
    told = agreement_of(encoder)
    assert told.startswith("cosine to float32") == made.key.precision.startswith("bfloat16")
    assert told in seen[-1].text
    assert made.tiles.tolist() == order.tolist()
    exact = get_encoder("efficientnet-lite0", device="cpu")
    singles = np.concatenate([exact.embed(tile[None]) for tile in tiles])
    assert exact.key.precision == "float32"
    cosines = cosine(made.vectors, singles)
    assert cosines.mean() > 0.9985
    assert cosines.min() > 0.99

"""Encoded crops on disk: what comes back, what goes first, and what may happen to the files."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.ndimage import find_objects

from napari_pathfm.analysis import crop_store
from napari_pathfm.analysis.crop import Square, make_crop
from napari_pathfm.analysis.crop_cache import CropCache
from napari_pathfm.analysis.crop_store import (
    STALE_SECONDS,
    CropStore,
    Origin,
    _name,
    _parsed,
    origin_of,
    user_store,
)
from napari_pathfm.analysis.segment import preview, segment
from napari_pathfm.core.jobs import run
from napari_pathfm.io.reader import open_slide
from napari_pathfm.models.base import ImageEmbedding
from napari_pathfm.models.catalog import get_segmenter

from .test_segment import DarkSegmenter, DiscSlide, point

ORIGIN = Origin("a slide", "a model", "its weights")
SQUARE = Square(1, -3.25, 1e7 / 3, 512, 4.006, 8)


def embedding(fill: float = 1.0, square: Square = SQUARE) -> ImageEmbedding:
    features = np.full((4, 8, 8), fill, np.float32)
    return ImageEmbedding(ORIGIN.segmenter, (square.px, square.px), features)


def at(place: float) -> Square:
    return replace(SQUARE, y=place)


def kept(store: CropStore, square: Square = SQUARE, fill: float = 1.0) -> Path:
    """Keep a crop and return its file."""
    store.keep(ORIGIN, square, embedding(fill, square))
    store.settle()
    return store._folder / _name(ORIGIN, square)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "crops"


@pytest.fixture
def store(folder: Path) -> CropStore:
    return CropStore(folder)


numbers = st.floats(allow_nan=False, allow_infinity=False)
squares = st.builds(
    Square,
    st.integers(0, 20),
    numbers,
    numbers,
    st.integers(1, 9**9),
    numbers,
    st.integers(1, 9**5),
)


@given(squares)
def test_a_name_loses_nothing_of_a_square(square: Square) -> None:
    found = _parsed(_name(ORIGIN, square))
    assert found is not None
    assert found[1] == square
    assert len(_name(ORIGIN, square)) < 200


@given(
    arrays.arrays(
        st.sampled_from([np.float32, np.uint8, np.float64, np.int64]),
        arrays.array_shapes(min_dims=0, max_dims=4, min_side=0),
    )
)
def test_features_come_back_as_they_were(features: NDArray[np.generic]) -> None:
    found = crop_store._unpacked(crop_store._packed(features))
    assert (found.dtype, found.shape) == (features.dtype, features.shape)
    if features.dtype == np.float32 and features.size:
        largest = np.abs(features).max()
        close = np.abs(found - features) <= crop_store.CLOSE * largest
        assert (close | (found == features) | np.isnan(features)).all()
    else:
        np.testing.assert_array_equal(found, features)


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_numbers_that_half_precision_cannot_hold_stay_whole(scale: float) -> None:
    features = (np.arange(1, 99) * scale).astype(np.float32)
    np.testing.assert_allclose(
        crop_store._unpacked(crop_store._packed(features)), features, rtol=1e-3
    )


def test_what_is_kept_is_found_by_another_store(store: CropStore, folder: Path) -> None:
    other = CropStore(folder)
    other.look()
    assert not other.squares(ORIGIN)
    kept(store, fill=3)
    assert store.squares(ORIGIN) == (SQUARE,)
    assert not other.squares(ORIGIN), "it has not looked since"
    other.look()
    assert other.squares(ORIGIN) == (SQUARE,)
    found = other.read(ORIGIN, SQUARE)
    assert found is not None
    assert (found.model, found.shape) == ("a model", (8, 8))
    assert found.features.dtype == np.float32
    assert (found.features == 3).all()


@pytest.mark.parametrize("part", ["slide_id", "segmenter", "weights_id"])
def test_slides_models_and_weights_are_not_mixed(store: CropStore, part: str) -> None:
    kept(store)
    other = ORIGIN._replace(**{part: "another"})
    assert not store.squares(other)
    assert store.read(other, SQUARE) is None


def test_what_was_not_used_for_longest_goes_first(folder: Path) -> None:
    size = kept(CropStore(folder)).stat().st_size
    store = CropStore(folder, limit=3 * size)
    files = [kept(store, at(place)) for place in (10.0, 20.0)]
    for file, age in zip([folder / _name(ORIGIN, SQUARE), *files], (300, 200, 100), strict=True):
        os.utime(file, (time.time() - age,) * 2)
    assert store.read(ORIGIN, SQUARE) is not None  # used now
    kept(store, at(30.0))
    assert set(store.squares(ORIGIN)) == {SQUARE, at(20.0), at(30.0)}
    assert store.squares(ORIGIN)[0] == at(30.0), "the newest first"


Step = tuple[str, int, int]
steps = st.lists(
    st.tuples(
        st.sampled_from(["keep", "read", "cut", "flip", "remove", "look"]),
        st.integers(0, 5),
        st.integers(0, 1),
    ),
    max_size=25,
)


@given(steps)
@settings(max_examples=40)
def test_whatever_happens_answers_are_right_and_the_folder_is_bounded(
    tmp_path_factory: pytest.TempPathFactory, steps: list[Step]
) -> None:
    """Two stores on one folder, and somebody who damages and removes files."""
    folder = tmp_path_factory.mktemp("crops")
    limit = 3 * len(crop_store._packed(embedding().features))
    stores = [CropStore(folder, limit) for _ in range(2)]
    for fill, (verb, place, which) in enumerate(steps):
        store, square = stores[which], at(float(place))
        file = folder / _name(ORIGIN, square)
        if verb == "keep":
            kept(store, square, fill)
            assert square in store.squares(ORIGIN)
            found = store.read(ORIGIN, square)
            assert found is not None
            assert (found.features == fill).all()
            assert sum(each.stat().st_size for each in folder.iterdir()) <= limit
        elif verb == "read":
            store.look()
            found = store.read(ORIGIN, square)
            assert (found is not None) == file.exists()
            assert found is not None or square not in store.squares(ORIGIN)
            assert found is None or len(np.unique(found.features)) == 1
        elif verb == "look":
            store.look()
        elif file.exists():
            data = bytearray(file.read_bytes())
            data[len(data) // 2 + place] ^= 1 << place
            damaged = {"cut": data[: len(data) * place // 6], "flip": data}
            if verb == "remove":
                file.unlink()
            else:
                file.write_bytes(damaged[verb])
                assert store.read(ORIGIN, square) is None
                assert not file.exists(), "it is of no use to anybody"


@pytest.mark.parametrize("left", [0, 3, 60, -1])
def test_a_file_that_was_cut_off_is_removed(store: CropStore, left: int) -> None:
    file = kept(store)
    file.write_bytes(file.read_bytes()[:left])
    assert store.read(ORIGIN, SQUARE) is None
    assert not file.exists()
    assert not store.squares(ORIGIN)
    kept(store)
    assert store.read(ORIGIN, SQUARE) is not None, "and is made anew"


def test_files_of_others_are_no_obstacle_and_unfinished_ones_go(
    store: CropStore, folder: Path
) -> None:
    folder.mkdir(parents=True)
    old, new, other = (folder / name for name in (".old.npy.x", ".new.npy.x", "notes_1_2.npy"))
    for file in (old, new, other):
        file.write_bytes(b"?")
    (folder / "a folder").mkdir()
    os.utime(old, (time.time() - 2 * STALE_SECONDS,) * 2)
    kept(store)
    assert store.squares(ORIGIN) == (SQUARE,)
    assert not old.exists()
    assert new.exists()
    assert other.exists()


def test_where_nothing_can_be_written_nothing_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"")
    store = CropStore(tmp_path / "file" / "crops")
    for _ in range(2 * crop_store.WAITING):
        kept(store)
    assert not store.squares(ORIGIN)
    full = CropStore(tmp_path / "full")

    def no_space(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", no_space)
    kept(full)
    assert not full.squares(ORIGIN)
    assert not list((tmp_path / "full").iterdir()), "nothing half written is left"
    monkeypatch.undo()
    kept(full)
    assert full.squares(ORIGIN) == (SQUARE,)


class Remembering(ImageEmbedding):
    """Holds more than a file would."""


def test_what_would_come_back_as_something_else_is_not_kept(store: CropStore) -> None:
    features = embedding().features
    for odd in (
        Remembering("a model", (8, 8), features),
        ImageEmbedding("a model", (8, 8), features.astype(np.float16)),
        ImageEmbedding("a model", (8, 8), np.array([{}], object)),
        ImageEmbedding("a model", (7, 8), features),
    ):
        store.keep(ORIGIN, SQUARE, odd)
    store.settle()
    assert not store.squares(ORIGIN)


def test_memory_is_bounded_while_the_disk_is_slow(
    store: CropStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    from threading import Event

    go_on, write = Event(), store._write
    monkeypatch.setattr(store, "_write", lambda *what: (go_on.wait(60), write(*what)))
    for place in range(3 * crop_store.WAITING):
        store.keep(ORIGIN, at(place), embedding())
    go_on.set()
    store.settle()
    assert len(store.squares(ORIGIN)) == crop_store.WAITING


# -- with the cache in memory, and segmenters ------------------------------------------------------


@pytest.fixture
def reopened(folder: Path) -> CropCache:
    """A cache of a later session over what was encoded around the disc."""
    store = CropStore(folder)
    first = DarkSegmenter()
    run(segment(DiscSlide(), point(900, 1300), first, 3.0, CropCache(store=store)))
    assert first.encoded == 1
    store.settle()
    return CropCache(store=CropStore(folder))


def test_the_next_session_encodes_nothing_again(reopened: CropCache) -> None:
    slide, segmenter = DiscSlide(), DarkSegmenter()
    origin = origin_of(slide, segmenter)
    found = preview(slide, point(905, 1305), segmenter, reopened, 768)
    assert found is not None
    again = run(segment(slide, point(910, 1290), segmenter, 3.0, reopened))
    assert not segmenter.encoded
    assert not slide.read_levels, "nor is the slide read"
    np.testing.assert_array_equal(again.mask, found.mask)
    assert len(reopened) == 1
    reopened.clear()
    assert reopened.knows(origin, point(905, 1305), 768), "it is still on disk"
    assert not reopened.knows(origin, point(900, 1900), 768)
    assert not reopened.knows(origin, point(905, 1305), 90)


def test_other_weights_encode_anew(reopened: CropCache) -> None:
    segmenter = DarkSegmenter()
    segmenter.weights_id = "trained further"
    run(segment(DiscSlide(), point(900, 1300), segmenter, 3.0, reopened))
    assert segmenter.encoded == 1


def test_whether_a_crop_is_known_is_told_without_the_disk(
    reopened: CropCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    origin = origin_of(DiscSlide(), DarkSegmenter())

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the window waits for the disk")

    for name in ("stat", "read_bytes", "open"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    assert not reopened.knows(origin, point(905, 1305), 768), "nobody has looked yet"
    monkeypatch.undo()
    assert reopened.find(origin, point(905, 1305), 768) is not None
    reopened.clear()
    for name in ("stat", "read_bytes", "open"):
        monkeypatch.setattr(Path, name, refuse)
    monkeypatch.setattr(os, "scandir", refuse)
    assert reopened.knows(origin, point(905, 1305), 768)


def test_what_memory_lets_go_of_is_read_again(folder: Path) -> None:
    store, slide, segmenter = CropStore(folder), DiscSlide(), DarkSegmenter()
    cache = CropCache(limit=1, store=store)
    for place in (900, 1900, 900, 1900):
        run(segment(slide, point(900, place), segmenter, 2.0, cache))
        store.settle()
    assert segmenter.encoded == 2
    assert len(cache) == 1


def test_an_answer_is_not_kept_waiting(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Crops are handed to the store once they have been decoded."""
    happened: list[str] = []
    store, segmenter = CropStore(folder), DarkSegmenter()
    decode = segmenter.decode
    monkeypatch.setattr(segmenter, "decode", lambda *a: (happened.append("decode"), decode(*a))[1])
    monkeypatch.setattr(store, "keep", lambda *_: happened.append("keep"))
    cache = CropCache(store=store)
    for _ in range(2):
        run(segment(DiscSlide(), point(900, 1300), segmenter, 3.0, cache))
    assert happened == ["decode", "keep"]


def test_the_user_can_do_without(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert user_store() is None, "no test writes to the user's own folder"
    monkeypatch.setattr("platformdirs.user_cache_dir", lambda _: str(tmp_path))
    monkeypatch.delenv(crop_store.OFF)
    store = user_store()
    assert store is not None
    assert kept(store).parent == tmp_path / "crops"


def test_masks_of_the_click_model_are_the_same_from_disk(folder: Path, synthetic: Path) -> None:
    """But for a few pixels of the edge: nuclei, clicked on in their middle."""
    truth = tifffile.imread(synthetic.with_name("synthetic_nuclei.tif"))
    boxes = [found for found in find_objects(truth) if found is not None]
    segmenter, store = get_segmenter("pathfm-click", device="cpu"), CropStore(folder)
    ious = []
    with open_slide(synthetic) as slide:
        origin = origin_of(slide, segmenter)
        for rows, cols in np.random.default_rng(0).permutation(np.array(boxes, object))[:10]:
            asked = point((rows.start + rows.stop) / 2, (cols.start + cols.stop) / 2)
            crop = make_crop(slide, asked, segmenter.input_px, 0.5)
            seen = segmenter.encode(crop.rgb)
            store.keep(origin, crop.square, seen)
            store.settle()
            read = store.read(origin, crop.square)
            assert read is not None
            inside = [crop.prompts(asked)]
            first, second = (segmenter.decode(each, inside) for each in (seen, read))
            np.testing.assert_allclose(second.scores, first.scores, atol=0.02)
            one, other = first.masks[0, 0], second.masks[0, 0]
            assert one.any()
            ious.append((one & other).sum() / (one | other).sum())
    assert np.mean(ious) > 0.99
    assert min(ious) > 0.98
    file = store._folder / _name(origin, crop.square)
    assert file.stat().st_size < 0.51 * seen.features.nbytes

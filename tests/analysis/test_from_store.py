"""What is said of embeddings that are there already, and of those that cannot be used."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.analysis.from_store import FromStore, look_in_project, look_in_store
from napari_pathfm.analysis.text_search import FOR_TEXT
from napari_pathfm.core.embeddings import FeatureKey
from napari_pathfm.core.slide import Level
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.io.project import Project, SlideRow
from napari_pathfm.io.store import FeatureStore

LEVELS = (Level((2000, 2000), 1.0, (256, 256)),)
GRID = make_grid("ab", LEVELS, 0.5, TileSpec(200, 0.5))
COARSE = make_grid("ab", LEVELS, 0.5, TileSpec(200, 1.0))
KEY = FeatureKey("vit", "cls", "ab12", "224 px bicubic mean=0.5")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "slides" / "ab.zarr"


def embedded(store: Path, count: int, key: FeatureKey = KEY, grid: TileGrid = GRID) -> None:
    features = FeatureStore(store, key, grid)
    with features.lock():
        features.append(np.arange(count), np.ones((count, 3), np.float32))


def test_nothing_is_there(store: Path) -> None:
    found = look_in_store(store, GRID, "vit", KEY)
    assert found == FromStore(0, 100)
    assert (found.before, found.difference) == ("", "")
    assert found.after(100) == "100 tiles embedded"


@pytest.mark.parametrize("key", [None, KEY, replace(KEY, precision="bfloat16")])
def test_all_or_some_are_there(store: Path, key: FeatureKey | None) -> None:
    embedded(store, 30)
    some = look_in_store(store, GRID, "vit", key)
    assert some.before == "30 of 100 tiles are in the store"
    assert some.after(100) == "100 tiles, 30 of them from the store"
    features = FeatureStore(store, KEY, GRID)
    with features.lock():
        features.append(np.arange(30, 100), np.ones((70, 3), np.float32))
    every = look_in_store(store, GRID, "vit", key)
    assert every.before == "100 tiles are in the store"
    assert every.after(100) == "100 tiles, from the store"
    assert every.difference == ""


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weights": "cd34"}, "other weights (ab12; now cd34)"),
        ({"pooling": "avg"}, "other pooling (cls; now avg)"),
        (
            {"preprocessing": "224 px bilinear mean=0.5"},
            "other preprocessing (bicubic; now bilinear)",
        ),
        (
            {"preprocessing": f"{KEY.preprocessing}; stain macenko"},
            "other preprocessing (none; now stain macenko)",
        ),
    ],
)
def test_what_differs_is_named(store: Path, changes: dict[str, str], words: str) -> None:
    embedded(store, 100)
    now = replace(KEY, **changes)
    found = look_in_store(store, GRID, "vit", now)
    assert found.count == 0
    assert found.before == found.difference == f"embedded before with {words}"
    both = look_in_store(store, COARSE, "vit", now)
    assert words in both.difference
    assert "and other tiles (200 px at 0.5 µm/px, 50% tissue; now 200 px at 1 µm" in both.difference
    if "weights" in changes:
        assert look_in_store(store, GRID, "vit", weights="cd34") == found
        assert look_in_store(store, GRID, "vit", weights="ab12") == FromStore(100, 100)
    embedded(store, 5, now)
    assert look_in_store(store, GRID, "vit", now) == FromStore(5, 100)


def test_another_content_of_the_file_is_named_and_another_place_does_not_matter(
    tmp_path: Path,
) -> None:
    place, now = tmp_path / "liver.svs", datetime.now(UTC)
    with Project.open(tmp_path / "project") as project:
        project.add_slide(SlideRow("ab", "liver", place, 0.5, now))
        embedded(project.slide_store("ab"), 60)
        for path in (place, tmp_path / "elsewhere" / "liver.svs"):
            assert look_in_project(project, path, GRID, "vit", KEY) == FromStore(60, 100)
        project.add_slide(SlideRow("cd", "liver", place, 0.5, now))
        other = replace(GRID, slide_id="cd")
        found = look_in_project(project, place, other, "vit", KEY)
        assert found.before == "embedded before with other content of liver.svs (60 tiles)"
        assert not look_in_project(project, place, other, "cnn").others
        embedded(project.slide_store("cd"), 5, grid=other)
        assert look_in_project(project, place, other, "vit", KEY) == FromStore(5, 100)


def test_other_tiles_are_named_before_the_encoder_is_loaded(store: Path) -> None:
    embedded(store, 100)
    fewer = GRID.where(np.arange(100) < 60)
    words = look_in_store(store, fewer, "vit").difference
    assert words == "embedded before with other tiles (100 of the same size; now 60)"


def test_neither_other_encoders_nor_vectors_for_texts_count(store: Path) -> None:
    embedded(store, 100)
    embedded(store, 50, replace(KEY, encoder="cnn", pooling=FOR_TEXT))
    assert look_in_store(store, GRID, "cnn") == FromStore(0, 100)


def test_normalised_stains_count_for_those_who_ask_for_them(store: Path) -> None:
    embedded(store, 100, KEY.normalised("macenko to 1a2b"))
    assert look_in_store(store, GRID, "vit", stain="macenko to 1a2b").count == 100
    found = look_in_store(store, GRID, "vit", stain="")
    assert not found.count
    assert "other preprocessing (stain macenko to 1a2b; now none)" in found.difference
    assert not look_in_store(store, GRID, "vit", KEY, stain="reinhard to 0").count

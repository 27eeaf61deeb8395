"""The dataset's files, and files that appear whole or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from napari_pathfm.io.atomic import new_folder, replacing
from napari_pathfm.io.interop.dataset import folder_names, write_index, write_pair


def test_the_index_is_exactly_what_was_agreed(tmp_path: Path) -> None:
    pair = write_pair(
        tmp_path, "p", np.full((4, 5, 3), 7, np.uint8), np.full((4, 5), 255, np.uint8)
    )
    write_index(tmp_path, 3, {"train": [pair]}, {"mpp": 0.5})
    assert json.loads((tmp_path / "dataset.json").read_text()) == {
        "num_classes": 3,
        "data": {
            "train": [{"image_path": "images/p.png", "mask_path": "masks/p.png"}],
            "val": [],
            "test": [],
        },
    }
    assert json.loads((tmp_path / "manifest.json").read_text()) == {"mpp": 0.5}
    mask = Image.open(tmp_path / "masks/p.png")
    assert (mask.mode, mask.size, mask.getpixel((0, 0))) == ("L", (5, 4), 255)


def test_folders_of_classes_are_safe_and_differ() -> None:
    names = folder_names({1: "a/b", 2: "a b", 3: "../..", 4: "Tumor", 5: "Stroma"})
    assert names == {1: "a_b_1", 2: "a_b_2", 3: "class_3", 4: "Tumor", 5: "Stroma"}


def test_an_earlier_file_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(path) as temporary:
        temporary.write_text(f"half {1 / 0}")
    assert path.read_text() == "old"
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_appears_when_it_is_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out") as folder:
        (folder / "a").write_text("1")
        assert not (tmp_path / "out").exists()
    assert (tmp_path / "out" / "a").read_text() == "1"


def test_nothing_is_left_of_a_folder_that_failed(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), new_folder(tmp_path / "out") as folder:
        (folder / "a" / "missing").write_text("1")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("")
    with pytest.raises(ValueError, match="not empty"), new_folder(tmp_path):
        pass
    assert (tmp_path / "mine").exists()

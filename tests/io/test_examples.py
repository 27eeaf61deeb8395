"""Examples are kept by name, whole or not at all, and nothing in their files is run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.io.errors import ProjectError
from napari_pathfm.io.examples import (
    Example,
    delete_examples,
    example_names,
    load_examples,
    save_examples,
)
from napari_pathfm.io.project import Project


def example(name: str = "gland", seed: int = 0, mpp: float | None = 0.5) -> Example:
    rng = np.random.default_rng(seed)
    mask = np.zeros((60, 60), bool)
    mask[20:40, 10:30] = True
    return Example(name, "a", rng.integers(0, 256, (60, 60, 3), np.uint8), mask, 1.5, mpp)


def test_pairs_of_a_name_come_back_in_their_order(tmp_path: Path) -> None:
    with Project.open(tmp_path / "p") as project:
        assert example_names(project) == []
        pairs = [example(seed=seed, mpp=None if seed % 2 else 0.25) for seed in range(11)]
        save_examples(project, pairs)
        save_examples(project, [example("Fat")])
    with Project.open(tmp_path / "p", read_only=True) as project:
        assert example_names(project) == ["Fat", "gland"]
        found = load_examples(project, "gland")
        assert len(found) == 11
        for one, other in zip(found, pairs, strict=True):
            np.testing.assert_array_equal(one.rgb, other.rgb)
            np.testing.assert_array_equal(one.mask, other.mask)
            assert (one.slide, one.downsample, one.mpp) == ("a", 1.5, other.mpp)
        with pytest.raises(ProjectError, match="reading only"):
            save_examples(project, pairs)


def test_the_size_of_a_pixel_is_carried_to_another_slide() -> None:
    assert example(mpp=0.5).downsample_on(0.25) == pytest.approx(3.0)
    assert example(mpp=None).downsample_on(0.25) == example(mpp=0.5).downsample_on(None) == 1.5


@pytest.mark.parametrize("name", ["", "..", "../up", "a/b", "a\\b", ".hidden", "a:b", "a\nb", "*"])
def test_names_that_are_no_folder_are_refused(tmp_path: Path, name: str) -> None:
    with Project.open(tmp_path / "p") as project:
        for act in (
            lambda: save_examples(project, [example("fine"), example(name)]),
            lambda: load_examples(project, name),
            lambda: delete_examples(project, name),
        ):
            with pytest.raises(ProjectError, match="cannot be the name of an example"):
                act()
        assert example_names(project) == []


def test_what_is_not_there_or_damaged_is_said(tmp_path: Path) -> None:
    with Project.open(tmp_path / "p") as project:
        with pytest.raises(ProjectError, match="has none yet"):
            load_examples(project, "gland")
        save_examples(project, [example(), example(seed=1)])
        with pytest.raises(ProjectError, match="There are: gland"):
            load_examples(project, "fat")
        path = project.examples / "gland" / "2.npz"
        path.write_bytes(path.read_bytes()[:-400])
        with pytest.raises(ProjectError, match=r"2\.npz is damaged"):
            load_examples(project, "gland")
        pickled = np.array([object()], dtype=object)
        np.savez(path, rgb=pickled, mask=pickled, facts=pickled, allow_pickle=True)
        with pytest.raises(ProjectError, match=r"2\.npz is damaged"):
            load_examples(project, "gland")
        delete_examples(project, "gland")
        assert example_names(project) == []


def test_an_example_shows_what_is_meant_and_what_is_not() -> None:
    rgb = np.zeros((8, 8, 3), np.uint8)
    for mask in (np.zeros((8, 8), bool), np.ones((8, 8), bool)):
        with pytest.raises(ValueError, match="what is meant and what is not"):
            Example("a", "s", rgb, mask, 1.0, None)
    with pytest.raises(ValueError, match="an example is"):
        Example("a", "s", rgb, np.eye(9, dtype=bool), 1.0, None)

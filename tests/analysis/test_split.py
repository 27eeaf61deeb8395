"""Regions stay whole, and train is never empty."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.analysis.split import Patch, assign, regions


def at(
    slide: str, row: int, col: int, objects: frozenset[int] = frozenset(), side: float = 128.08
) -> Patch:
    return Patch(slide, row * 128.08, col * 128.08, side, objects)


def test_neighbours_and_shared_objects_are_one_region() -> None:
    patches = [
        at("a", 0, 0),
        at("a", 1, 1),  # over a corner
        at("a", 1, 3),  # apart
        at("b", 0, 0),  # another slide
        at("a", 5, 5, frozenset({9})),
        at("a", 8, 8, frozenset({9, 4})),  # parts of one object
        at("b", 8, 8, frozenset({9})),  # another slide's object 9
        at("a", 1, 2),  # joins the first three
    ]
    assert regions(patches) == [0, 0, 0, 1, 2, 2, 3, 0]


def test_squares_of_other_sizes_are_joined_where_they_overlap() -> None:
    tile, far = Patch("a", 100, 100, 30), Patch("a", 129.5, 300, 30)
    assert regions([at("a", 0, 0), tile, far, at("a", 0, 0, side=300)]) == [0, 0, 0, 0]
    assert regions([at("a", 0, 0), tile, far]) == [0, 0, 1]


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (2, 0, 0)), (20, (14, 3, 3)), (100, (70, 15, 15))],
)
def test_shares(count: int, expected: tuple[int, int, int]) -> None:
    chosen = assign([1] * count)
    assert tuple(chosen.count(split) for split in range(3)) == expected


@given(st.lists(st.integers(1, 50), min_size=1, max_size=30), st.integers(0, 99))
def test_train_is_never_empty_and_the_seed_decides(sizes: list[int], seed: int) -> None:
    chosen = assign(sizes, (0.2, 0.4, 0.4), seed)
    assert 0 in chosen
    assert chosen == assign(sizes, (0.2, 0.4, 0.4), seed)


def test_the_seed_matters() -> None:
    assert len({tuple(assign([1] * 12, seed=seed)) for seed in range(5)}) > 1


@pytest.mark.parametrize("split", [(0.5, 0.5, 0.5), (0, 0.5, 0.5), (1.2, -0.1, -0.1)])
def test_fractions_that_are_none(split: tuple[float, float, float]) -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        assign([1], split)

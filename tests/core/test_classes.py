from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.core.classes import Classes
from napari_pathfm.core.edits import AnnotationClass


def classes(*ids: int) -> Classes:
    return Classes(tuple(AnnotationClass(number, f"c{number}", "#ff0000") for number in ids))


def test_names_colours_and_order() -> None:
    made = classes(1, 2).added(AnnotationClass(7, " tumor ", "#00ff00"))
    assert made.get(7).name == "tumor"
    assert made.renamed(1, "x").get(1).name == "x"
    assert made.renamed(1, "c1") == made
    assert made.recolored(2, "#000000").get(2).color == "#000000"
    assert made.ordered([7, 1, 2]).ids == (7, 1, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.renamed(1, "c2"), "name of its own"),
        (lambda c: c.renamed(1, "  "), "name of its own"),
        (lambda c: c.added(AnnotationClass(3, "c2", "#000000")), "name of its own"),
        (lambda c: c.added(AnnotationClass(2, "new", "#000000")), "same id"),
        (lambda c: c.recolored(9, "#000000"), "no class 9"),
        (lambda c: c.without(1, 1), "with itself"),
        (lambda c: c.without(1, 9), "no class 9"),
        (lambda c: c.ordered([1]), "order them again"),
    ],
)
def test_what_cannot_be_is_refused(change: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        change(classes(1, 2))  # type: ignore[operator]


def test_a_merged_class_and_all_that_went_to_it_are_the_other() -> None:
    merged = classes(1, 2, 3, 4).without(1, 2).without(2, 3)
    assert merged.ids == (3, 4)
    assert merged.lookup[[0, 1, 2, 3, 4, 5]].tolist() == [0, 3, 3, 3, 4, 5]
    assert merged.given(3) == (3, 1, 2)
    assert merged.given(4) == (4,)
    gone = merged.without(3)
    assert gone.lookup[[1, 2, 3, 4]].tolist() == [0, 0, 0, 4]


def test_a_class_that_is_given_again_is_itself() -> None:
    merged = classes(1, 2).without(1, 2)
    back = merged.replaced(classes(1).rows)
    assert back.lookup[[1, 2]].tolist() == [1, 2]
    assert not back.merged


@given(st.lists(st.tuples(st.integers(1, 6), st.integers(0, 6)), max_size=8))
def test_objects_follow_every_merge(merges: list[tuple[int, int]]) -> None:
    now, objects = classes(*range(1, 7)), {number: number for number in range(1, 7)}
    for old, into in merges:
        if old not in now.ids or into == old or (into and into not in now.ids):
            continue
        now = now.without(old, into)
        objects = {number: into if held == old else held for number, held in objects.items()}
    assert {number: int(now.lookup[number]) for number in objects} == objects
    for held in now.ids:
        assert sorted(now.given(held)) == [n for n, value in objects.items() if value == held]

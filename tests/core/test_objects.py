from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.core.objects import (
    ROW,
    WORDS,
    ObjectArray,
    ObjectChange,
    ObjectRow,
    RowChanges,
    text_key,
)

corners = st.integers(0, 2**31 - 1)
rows = st.builds(
    ObjectRow,
    id=st.integers(1, 2**32 - 1),
    class_id=st.integers(0, 254),
    how=st.sampled_from(["brush", "prompt", "import"]),
    model=st.text(max_size=3),
    prompts=st.text(max_size=3),
    score=st.floats(0, 1),
    corrected=st.booleans(),
    author=st.text(max_size=3),
    area=st.integers(0, 2**40),
    box=st.tuples(corners, corners, corners, corners),
)


@given(st.lists(rows, unique_by=lambda row: row.id))
def test_rows_come_out_of_an_array_as_they_went_in(some: list[ObjectRow]) -> None:
    array = ObjectArray.of(some)
    assert list(array) == sorted(some, key=lambda row: row.id)
    at, found = array.find(np.array([row.id for row in some], np.uint32))
    assert found.all()
    assert [array[int(place)] for place in at] == some


def test_new_objects_are_described_all_at_once() -> None:
    array = ObjectArray.new([7, 3], class_id=[1, 2], how="import", model="stardist", score=0.5)
    assert list(array) == [
        ObjectRow(3, 2, "import", "stardist", score=0.5),
        ObjectRow(7, 1, "import", "stardist", score=0.5),
    ]
    with pytest.raises(ValueError, match="same id"):
        ObjectArray.new([3, 3])
    with pytest.raises(ValueError, match="same id"):
        ObjectArray.of([ObjectRow(3), ObjectRow(3)])


def test_what_is_not_there_is_not_found() -> None:
    array = ObjectArray.of([ObjectRow(3), ObjectRow(9)])
    _, found = array.find(np.array([1, 3, 5, 9, 11], np.uint32))
    assert found.tolist() == [False, True, False, True, False]
    _, found = ObjectArray(np.zeros(0, ROW)).find(np.array([1], np.uint32))
    assert not found.any()


def test_changes_are_a_sequence_with_an_inverse() -> None:
    born = ObjectChange(None, ObjectRow(2))
    gone = ObjectChange(ObjectRow(5, prompts="p"), None)
    other = ObjectChange(ObjectRow(1), ObjectRow(1, class_id=3))
    changes = RowChanges.of([gone, born, other])
    assert changes == (other, born, gone)
    assert changes[:2] == (other, born)
    assert (len(changes), changes[2].id) == (3, 5)
    assert changes.inverse() == tuple(each.inverse() for each in (other, born, gone))
    assert not RowChanges()


def test_words_and_texts_have_numbers_of_their_own() -> None:
    assert WORDS.text(WORDS.code("a word")) == "a word"
    assert WORDS.code("a word") == WORDS.code("a word") != WORDS.code("another")
    assert (WORDS.code(""), text_key("")) == (0, 0)
    assert text_key("a") == text_key("a") != text_key("b")

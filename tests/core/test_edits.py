from __future__ import annotations

import numpy as np
import pytest

from napari_pathfm.core.edits import (
    CHUNK,
    AnnotationClass,
    ChunkChange,
    Edit,
    ObjectChange,
    ObjectRow,
)


@pytest.mark.parametrize("number", [0, 255, -1])
def test_class_ids_leave_room_for_background_and_ignore(number: int) -> None:
    with pytest.raises(ValueError, match="between 1 and 254"):
        AnnotationClass(number, "x", "#ffffff")


def test_inverse_swaps_both_sides_and_is_its_own_inverse() -> None:
    after = np.ones((CHUNK, CHUNK), np.uint32)
    row = ObjectRow(3, area=5)
    edit = Edit("a", "t", (ChunkChange(1, 2, None, after),), (ObjectChange(None, row),))
    back = edit.inverse()
    assert back.chunks[0].before is after
    assert back.chunks[0].after is None
    assert back.objects == (ObjectChange(row, None),)
    again = back.inverse()
    assert (again.chunks[0].row, again.chunks[0].col) == (1, 2)
    assert again.chunks[0].after is after
    assert again.objects == edit.objects
    assert (again.layer, again.text) == ("a", "t")


def test_an_edit_without_changes_is_false() -> None:
    assert not Edit("a", "nothing")
    assert Edit("a", "class", objects=(ObjectChange(None, ObjectRow(1)),))


def test_rows_are_copied_with_other_values() -> None:
    row = ObjectRow(1, area=5)
    assert row.with_(area=7) == ObjectRow(1, area=7)
    assert row.area == 5

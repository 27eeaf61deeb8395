from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_pathfm.core.objects import ObjectArray, ObjectChange, ObjectRow, RowChanges
from napari_pathfm.io.object_pages import PAGE
from napari_pathfm.io.objects import ObjectTable

TEXTS: dict[int, str] = {}
EMPTY = ObjectTable({}, TEXTS.__getitem__)

ids = st.one_of(st.integers(1, 9), st.integers(PAGE - 3, PAGE + 3), st.just(2**32 - 1))
rows = st.builds(
    ObjectRow,
    id=ids,
    class_id=st.integers(0, 3),
    area=st.integers(1, 99),
    box=st.tuples(*[st.integers(0, 9)] * 4),
)
edits = st.lists(st.one_of(rows, ids), max_size=6, unique_by=lambda one: getattr(one, "id", one))


def after(table: ObjectTable, edit: list[ObjectRow | int]) -> RowChanges:
    """Rows are put in, numbers are taken out."""
    changes = []
    for one in edit:
        number, new = (one, None) if isinstance(one, int) else (one.id, one)
        old = table.get(number)
        if old is not None or new is not None:
            changes.append(ObjectChange(old, new))
    return RowChanges.of(changes)


@settings(max_examples=60)
@given(st.lists(edits, max_size=8))
def test_a_table_is_what_a_plain_dict_is(sequence: list[list[ObjectRow | int]]) -> None:
    table, plain = EMPTY, dict[int, ObjectRow]()
    for edit in sequence:
        changes, older, before = after(table, edit), table, dict(plain)
        assert table.agrees(changes)
        for change in changes:
            plain.pop(change.id, None)
            if change.after is not None:
                plain[change.id] = change.after
        table = table.with_changes(changes)
        assert dict(older) == before, "a snapshot stays"
        assert table.with_changes(changes.inverse()) == older
        same = list(changes.before) == list(changes.after)
        assert same or not table.agrees(changes)
    assert list(table.items()) == sorted(plain.items())
    assert len(table) == len(plain)
    assert table.largest_id == max(plain, default=0)
    assert table.column("area").tolist() == [plain[number].area for number in sorted(plain)]
    assert list(table.all()) == list(table.values())
    sums = table.sums()
    for class_id in range(4):
        areas = [row.area for row in plain.values() if row.class_id == class_id]
        assert (sums.count[class_id], sums.area[class_id]) == (len(areas), sum(areas))
    near = [n for n, r in sorted(plain.items()) if _meets(r.box, (2, 3, 6, 7))]
    assert table.touching(2, 3, 6, 7).tolist() == near


def _meets(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    return one[0] < other[2] and one[2] > other[0] and one[1] < other[3] and one[3] > other[1]


def test_many_ids_are_looked_up_at_once() -> None:
    wanted = np.array([5, 6, PAGE + 1, 9 * PAGE], np.uint32)
    table = EMPTY.with_changes(RowChanges(after=ObjectArray.new([6, PAGE + 1], class_id=[3, 4])))
    assert table.class_of(wanted, missing=77).tolist() == [77, 3, 4, 77]
    assert list(table.select([PAGE + 1, 6, 6])) == [ObjectRow(6, 3), ObjectRow(PAGE + 1, 4)]
    for unknown in (5, -4294967290, 1 << 40):
        with pytest.raises(KeyError, match=str(unknown)):
            table.select([6, unknown])
    assert 6 in table
    assert "6" not in table
    assert -1 not in table
    with pytest.raises(KeyError):
        table[5]


def test_an_edit_shares_all_pages_but_its_own() -> None:
    many = np.arange(1, 20 * PAGE)
    table = EMPTY.with_changes(RowChanges(after=ObjectArray.new(many)))
    one = table.select([5 * PAGE + 3])
    new = table.with_changes(RowChanges(one, one.with_(class_id=1)))
    changed = [number for number in table.pages if table.pages[number] is not new.pages[number]]
    assert changed == [5]


def test_classes_are_seen_as_what_they_have_become() -> None:
    table = EMPTY.with_changes(RowChanges(after=ObjectArray.new([6, 7], class_id=[3, 4])))
    lookup = np.arange(256, dtype=np.uint8)
    lookup[3] = 5
    seen = table.seen(lookup)
    assert seen == {6: ObjectRow(6, 5), 7: ObjectRow(7, 4)}
    assert seen.class_of(np.array([5, 6, 7])).tolist() == [0, 5, 4]
    assert seen.column("class_id").tolist() == [5, 4]
    assert [row.class_id for row in seen.all()] == [5, 4]
    assert seen.sums().count[[3, 4, 5]].tolist() == [0, 1, 1]
    assert table[6].class_id == 3

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from napari_pathfm.core.objects import NO_ROWS, ObjectArray, ObjectRow
from napari_pathfm.io.row_blobs import pack, unpack

rows = st.lists(
    st.builds(
        ObjectRow,
        id=st.integers(1, 99),
        class_id=st.integers(0, 254),
        how=st.text(max_size=2),
        model=st.text(max_size=2),
        author=st.text(max_size=2),
        score=st.floats(),
        corrected=st.booleans(),
        area=st.integers(0, 2**40),
    ),
    max_size=5,
    unique_by=lambda row: row.id,
).map(ObjectArray.of)


@given(rows, rows)
def test_both_sides_come_back_to_the_last_bit(before: ObjectArray, after: ObjectArray) -> None:
    old, new = unpack(pack(before.rows, after.rows))
    assert old.tobytes() == before.rows.tobytes()
    assert new.tobytes() == after.rows.tobytes()


def test_what_does_not_change_is_written_once() -> None:
    rng = np.random.default_rng(0)
    many = ObjectArray.new(np.arange(1, 10_001), score=rng.random(10_000), class_id=1)
    alone = len(pack(NO_ROWS.rows, many.rows))
    both = pack(many.rows, many.with_(class_id=2).rows)
    assert len(both) < 1.01 * alone
    assert (unpack(both)[1]["class_id"] == 2).all()

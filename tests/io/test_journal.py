from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from napari_pathfm.core.edits import CHUNK, ChunkChange, Edit, ObjectChange, ObjectRow
from napari_pathfm.core.objects import RowChanges
from napari_pathfm.io.chunks import PackedChange, packed
from napari_pathfm.io.journal import Journal
from napari_pathfm.io.project import Project
from napari_pathfm.io.steps import Steps

ROW = ObjectRow(5, 2, "prompt", "sam", '{"points": []}', 0.5, True, "ann", 7, (1, 2, 3, 4))


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with Project.open(tmp_path) as project:
        yield project


@pytest.fixture
def journal(project: Project) -> Journal:
    journal = Journal(project.database, "ab", "regions")
    journal.register((100, 200))
    return journal


def record(journal: Journal, text: str, row: ObjectRow | None = None) -> int:
    chunk = np.full((CHUNK, CHUNK), 5, np.uint32)
    changes = (packed(ChunkChange(1, 2, None, chunk)), PackedChange(0, 0, None, None))
    objects = () if row is None else (ObjectChange(None, row),)
    return journal.record(Edit("regions", text, changes, objects), changes, "ann").edit


def test_an_edit_comes_back_whole(journal: Journal) -> None:
    edit = journal.load(record(journal, "stroke", ROW))
    assert (edit.layer, edit.text) == ("regions", "stroke")
    assert edit.objects == (ObjectChange(None, ROW),)
    empty, full = sorted(edit.chunks, key=lambda change: change.row)
    assert (empty.before, empty.after) == (None, None)
    assert (full.row, full.col, full.before) == (1, 2, None)
    assert full.after is not None
    assert (full.after == 5).all()
    back = edit.inverse()
    assert {change.after is None for change in back.chunks} == {True}
    assert journal.objects() == {5: ROW}


def test_numbers_of_numpy_are_taken(journal: Journal) -> None:
    row = ObjectRow(
        np.uint32(9), np.int64(1), score=np.float32(0.5), area=np.int64(4), box=(np.int64(1),) * 4
    )  # type: ignore[arg-type]
    record(journal, "import", row)
    assert journal.objects()[9] == ObjectRow(9, 1, score=0.5, area=4, box=(1, 1, 1, 1))


def test_a_chunk_is_as_the_last_done_edit_left_it(journal: Journal) -> None:
    record(journal, "one")
    assert journal.newest_chunk(1, 2) is not None
    assert journal.newest_chunk(9, 9) is None


def test_pending_is_what_was_recorded_after_the_last_applied(journal: Journal) -> None:
    number = record(journal, "one")
    operation = journal.switch(number, "undo", RowChanges())
    assert [o.direction for o in journal.pending()] == ["do", "undo"]
    journal.mark_applied(operation.number - 1)
    assert journal.pending() == [operation]
    journal.mark_applied(operation.number)
    assert journal.pending() == []


def test_an_edit_that_fails_is_not_there_at_all(project: Project, journal: Journal) -> None:
    gone = RowChanges.of([ObjectChange(ROW, None)])
    journal.switch(record(journal, "one", ROW), "undo", gone)

    def broken() -> Iterator[PackedChange]:
        yield PackedChange(0, 0, None, b"x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        journal.record(Edit("regions", "two", (), (ObjectChange(None, ROW),)), broken(), "ann")
    steps = Steps(project.database, "ab", "regions").history()
    assert [(s.text, s.done) for s in steps] == [("one", False)]
    assert journal.objects() == {}
    assert len(journal.pending()) == 2


def test_layers_do_not_see_each_other(project: Project, journal: Journal) -> None:
    other = Journal(project.database, "ab", "nuclei")
    other.register((100, 200))
    record(journal, "one", ROW)
    assert other.objects() == {}
    assert other.pending() == []
    assert other.largest_id() == 0
    assert journal.largest_id() == 5

"""A project of schema 1 holds a row of SQL an object, and JSON for each object of an edit."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import asdict
from pathlib import Path

import pytest

from napari_pathfm.core.edits import ObjectChange, ObjectRow
from napari_pathfm.io import schema
from napari_pathfm.io.database import Database
from napari_pathfm.io.journal import Journal
from napari_pathfm.io.project import Project

OLD = ObjectRow(5, 2, "prompt", "sam", '{"points": [1]}', 0.5, True, "ann", 7, (1, 2, 3, 4))
NEW = OLD.with_(class_id=3, prompts='{"points": [2]}')
FAR = ObjectRow(70_000, author="bob", area=1, box=(0, 0, 1, 1))
GONE = ObjectRow(6, prompts="only in the journal")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", 1)
        Database(tmp_path / "project.sqlite").close()
    with sqlite3.connect(tmp_path / "project.sqlite") as database:
        database.execute("INSERT INTO layers VALUES ('ab', 'regions', 100, 200, 0)")
        for row in (NEW, FAR):
            *facts, box = asdict(row).values()
            values = ("ab", "regions", *facts, *box)
            database.execute(f"INSERT INTO objects VALUES ({', '.join('?' * 15)})", values)
        for number, text in ((1, "one"), (2, "two")):
            values = (number, "ab", "regions", text, "ann", "2024-05-01T10:00:00+00:00", 1)
            database.execute("INSERT INTO edits VALUES (?, ?, ?, ?, ?, ?, ?)", values)
        whole = json.dumps(asdict(OLD))
        part = json.dumps({"class_id": 3, "prompts": NEW.prompts})
        for values in (
            (1, 5, None, whole),
            (1, 6, None, json.dumps(asdict(GONE))),
            (2, 5, whole, part),
            (2, 6, json.dumps(asdict(GONE)), None),
            (2, 70_000, None, json.dumps(asdict(FAR))),
        ):
            database.execute("INSERT INTO edit_objects VALUES (?, ?, ?, ?)", values)
    database.close()
    return tmp_path


@pytest.mark.parametrize("read_only", [False, True])
def test_its_objects_and_its_journal_are_those_of_before(folder: Path, read_only: bool) -> None:
    before = (folder / "project.sqlite").read_bytes()
    with Project.open(folder, read_only=read_only) as project:
        journal = Journal(project.database, "ab", "regions")
        assert dict(journal.objects()) == {5: NEW, 70_000: FAR}
        assert journal.load(1).objects == (ObjectChange(None, OLD), ObjectChange(None, GONE))
        assert journal.load(2).objects == (
            ObjectChange(OLD, NEW),
            ObjectChange(GONE, None),
            ObjectChange(None, FAR),
        )
        assert journal.largest_id() == 70_000
    if read_only:
        assert (folder / "project.sqlite").read_bytes() == before

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from napari_pathfm.core.edits import AnnotationClass
from napari_pathfm.io.database import Database, on_network
from napari_pathfm.io.errors import explained
from napari_pathfm.io.project import Project, ProjectError
from napari_pathfm.io.schema import APPLICATION_ID, MIGRATIONS, SCHEMA_VERSION


def slide(path: str = "/data/a.svs", mpp: float | None = 0.5, id: str = "ab") -> Any:
    return SimpleNamespace(id=id, name=Path(path).stem, path=Path(path), mpp=mpp)


def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    classes = (AnnotationClass(2, "tumor", "#ff0000"), AnnotationClass(1, "stroma", "#00ff00"))
    with Project.open(tmp_path / "p") as project:
        project.add_slide(slide())
        project.set_classes(classes)
        project.set_labels("ab", "grid", {3: 2, 4: 1, 5: 1})
        project.set_labels("ab", "grid", {4: 0, 5: 2})
    with Project.open(tmp_path / "p") as project:
        (row,) = project.slides()
        assert (row.id, row.name, row.path, row.mpp) == ("ab", "a", Path("/data/a.svs"), 0.5)
        assert project.classes() == classes
        assert project.labels("ab", "grid") == {3: 2, 5: 2}
        assert project.labels("ab", "other") == {}
        assert project.exports.is_dir()
        assert project.models.is_dir()
        assert project.slide_store("ab").name == "ab.zarr"


def test_a_moved_slide_is_the_same_slide_and_keeps_the_users_mpp(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        project.add_slide(slide(mpp=None))
        assert project.mpp("ab") is None
        project.set_mpp("ab", 0.25)
        project.add_slide(slide("/elsewhere/b.svs", mpp=0.5))
        (row,) = project.slides()
        assert (row.path, row.mpp) == (Path("/elsewhere/b.svs"), 0.25)


def test_the_files_mpp_is_taken_while_the_user_has_said_nothing(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        project.add_slide(slide(mpp=None))
        project.add_slide(slide(mpp=0.5))
        project.add_slide(slide(mpp=None))
        assert project.mpp("ab") == 0.5


def test_bad_values_are_refused(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        project.add_slide(slide())
        with pytest.raises(ValueError, match="between"):
            project.set_mpp("ab", 0)
        with pytest.raises(ProjectError, match="add it first"):
            project.mpp("nobody")
        with pytest.raises(ValueError, match="same id"):
            project.set_classes([AnnotationClass(1, "a", "#fff"), AnnotationClass(1, "b", "#fff")])


def test_a_second_opening_is_told_who_has_it(tmp_path: Path) -> None:
    with Project.open(tmp_path):
        with pytest.raises(ProjectError, match=f"process {os.getpid()}"):
            Project.open(tmp_path)
        code = (
            "import sys; from napari_pathfm.io.project import Project, ProjectError\n"
            "try: Project.open(sys.argv[1])\n"
            "except ProjectError as error: print(error)\n"
            "with Project.open(sys.argv[1], read_only=True) as p: print(p.read_only)"
        )
        result = subprocess.run(
            [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
        )
        assert f"process {os.getpid()} on " in result.stdout
        assert result.stdout.endswith("True\n")
    Project.open(tmp_path).close()


def test_the_lock_of_a_dead_process_is_no_obstacle(tmp_path: Path) -> None:
    code = (
        "import os, sys; from napari_pathfm.io.project import Project\n"
        "p = Project.open(sys.argv[1]); os._exit(9)"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert (tmp_path / "project.lock").stat().st_size
    Project.open(tmp_path).close()


def test_nothing_is_written_for_reading_only(tmp_path: Path) -> None:
    with pytest.raises(ProjectError, match="no project"):
        Project.open(tmp_path / "p", read_only=True)
    with pytest.raises(ProjectError, match="no project"):
        Project.open(tmp_path / "p", create=False)
    assert not (tmp_path / "p").exists()
    Project.open(tmp_path / "p").close()
    with (
        Project.open(tmp_path / "p", read_only=True) as project,
        pytest.raises(ProjectError, match="cannot be written"),
    ):
        project.set_classes([])


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    Project.open(tmp_path).close()
    newer = SCHEMA_VERSION + 1
    with sqlite3.connect(tmp_path / "project.sqlite") as database:
        database.execute("UPDATE meta SET value = ? WHERE key = 'schema'", (str(newer),))
    database.close()
    for read_only in (False, True):
        with pytest.raises(ProjectError, match=rf"newer napari-pathfm \(schema {newer}.*Update"):
            Project.open(tmp_path, read_only=read_only)


@pytest.mark.parametrize("version", range(1, SCHEMA_VERSION + 1))
def test_every_earlier_schema_is_brought_up_to_date(tmp_path: Path, version: int) -> None:
    from napari_pathfm.io import schema

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "SCHEMA_VERSION", version)
        Database(tmp_path / "project.sqlite").close()
    with Project.open(tmp_path, read_only=True) as project:
        assert project.classes() == ()
    with Project.open(tmp_path) as project:
        ((found,),) = project.database.rows("SELECT value FROM meta WHERE key = 'schema'")
        assert int(found) == SCHEMA_VERSION


def test_an_older_project_can_be_read_where_it_cannot_be_written(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "project.sqlite", isolation_level=None) as database:
        database.executescript(
            f"PRAGMA application_id = {APPLICATION_ID};"
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL);"
            f"INSERT INTO meta VALUES ('schema', '1'); {MIGRATIONS[0]}"
            "INSERT INTO classes VALUES (4, 'tumor', '#ff0000', 0);"
            "INSERT INTO tile_labels VALUES ('ab', 'grid', 3, 4), ('ab', 'grid', 4, 9);"
        )
    database.close()
    before = (tmp_path / "project.sqlite").read_bytes()
    with Project.open(tmp_path, read_only=True) as project:
        assert [one.name for one in project.classes()] == ["tumor"]
        assert project.labels("ab", "grid") == {3: 4, 4: 9}
        with pytest.raises(ProjectError, match="cannot be written"):
            project.set_classes([])
    assert (tmp_path / "project.sqlite").read_bytes() == before
    with Project.open(tmp_path) as project:
        assert project.class_book.new_ids(8) == [1, 2, 3, 5, 6, 7, 8, 10]


def test_a_migration_that_fails_leaves_the_old_schema(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_pathfm.io import schema

    Project.open(tmp_path).close()
    broken = (*MIGRATIONS, "CREATE TABLE later (a); CREATE TABLE slides (a)")
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", broken)
        patch.setattr(schema, "SCHEMA_VERSION", len(broken))
        with pytest.raises(sqlite3.OperationalError, match="already exists"):
            Project.open(tmp_path)
    with Project.open(tmp_path) as project:
        tables = project.database.rows("SELECT name FROM sqlite_master WHERE name = 'later'")
        assert tables == []


def test_foreign_and_broken_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    with sqlite3.connect(tmp_path / "a" / "project.sqlite") as database:
        database.execute("CREATE TABLE other (x)")
    database.close()
    with pytest.raises(ProjectError, match="another program"):
        Project.open(tmp_path / "a")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "project.sqlite").write_bytes(b"not a database at all" * 100)
    for read_only in (False, True):
        with pytest.raises(ProjectError, match="damaged"):
            Project.open(tmp_path / "b", read_only=read_only)
    (tmp_path / "c").write_text("a file")
    with pytest.raises(ProjectError, match="is a file"):
        Project.open(tmp_path / "c")


def test_a_full_disk_is_explained_and_changes_nothing(tmp_path: Path) -> None:
    with Project.open(tmp_path) as project:
        project.set_classes([AnnotationClass(1, "a", "#ffffff")])
        ((pages,),) = project.database.rows("PRAGMA page_count")
        project.database.rows(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(ProjectError, match="no space left"):
            project.set_labels("ab", "grid", dict.fromkeys(range(50000), 1))
        assert project.labels("ab", "grid") == {}
        project.database.rows("PRAGMA max_page_count = 100000")
        project.set_labels("ab", "grid", {7: 1})
        assert project.labels("ab", "grid") == {7: 1}


def test_errors_of_the_disk_get_a_remedy_and_others_pass() -> None:
    import errno

    with (
        pytest.raises(ProjectError, match=r"^It failed: there is no space"),
        explained("It failed"),
    ):
        raise OSError(errno.ENOSPC, "full")
    with pytest.raises(ProjectError, match="cannot be written"), explained("It failed"):
        raise OSError(errno.EROFS, "read-only")
    with pytest.raises(FileNotFoundError), explained("It failed"):
        raise FileNotFoundError("ours")


def test_network_file_systems_are_recognised(tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(
        "/dev/sda / ext4 rw 0 0\nserver:/x /data nfs4 rw 0 0\n/dev/sdb /data/local ext4 rw 0 0\n"
        "//nas/my\\040share /mnt/my\\040share cifs rw 0 0\n"
    )
    if not sys.platform.startswith("linux"):
        assert not on_network(Path("/data/p"), mounts)
        return
    assert on_network(Path("/data/p/project.sqlite"), mounts)
    assert on_network(Path("/mnt/my share/project.sqlite"), mounts)
    assert not on_network(Path("/data/local/project.sqlite"), mounts)
    assert not on_network(Path("/database/project.sqlite"), mounts)


def test_wal_only_on_local_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from napari_pathfm.io import database

    for network, mode in ((True, "delete"), (False, "wal"), (True, "delete")):
        monkeypatch.setattr(database, "on_network", lambda path, network=network: network)
        with Project.open(tmp_path) as project:
            assert project.database.rows("PRAGMA journal_mode") == [(mode,)]
            project.set_labels("ab", "grid", {1: 1})

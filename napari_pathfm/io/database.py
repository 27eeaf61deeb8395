"""The SQLite database of a project: one connection, shared by the threads of one process."""

from __future__ import annotations

import sqlite3
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .errors import ProjectError, explained
from .schema import SCHEMA_VERSION, check_version, schema_version, upgrade

_NETWORK = {
    "nfs", "nfs4", "cifs", "smb", "smb2", "smb3", "smbfs", "afs", "9p", "lustre", "gpfs", "beegfs",
    "ceph", "glusterfs", "fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.rclone", "fuse.s3fs",
}  # fmt: skip


class Database:
    """Statements and transactions; open it through :class:`~napari_pathfm.io.project.Project`.

    Parameters
    ----------
    path : Path
        ``project.sqlite``; it is made if it is missing (not for `read_only`).
    read_only : bool

    Raises
    ------
    ProjectError
        The file is damaged, another program's, a newer version's, or cannot be opened.
    """

    def __init__(self, path: Path, read_only: bool = False) -> None:
        self._lock = threading.RLock()
        with explained(f"The project {path.parent} cannot be opened"):
            self._connection = _connect_to_read(path) if read_only else _connect(path)
            try:
                if read_only:
                    self._connection = _readable(self._connection)
                else:
                    self._prepare(path)
            except BaseException:
                self._connection.close()
                raise

    def _prepare(self, path: Path) -> None:
        # A foreign file is recognised before anything in it is changed.
        check_version(schema_version(self._connection))
        # WAL needs memory shared between processes, which network file systems do not give.
        mode = "DELETE" if on_network(path) else "WAL"
        self._connection.execute(f"PRAGMA journal_mode = {mode}").fetchall()
        self._connection.execute("PRAGMA foreign_keys = ON")
        upgrade(self._connection)

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return all rows of a query."""
        with self._lock, explained("The project cannot be read"):
            return self._connection.execute(sql, values).fetchall()

    @contextmanager
    def transaction(self, action: str, lazy: bool = False) -> Iterator[Database]:
        """Everything inside happens, or nothing.

        Parameters
        ----------
        action : str
            Begin of the error's message: ``"The classes could not be saved"``.
        lazy : bool
            Do not wait for the disk: it outlives the process, but maybe not a power cut.

        Raises
        ------
        ProjectError
            The disk is full, the project is read-only, ...
        """
        with self._lock, explained(action):
            self._connection.execute(f"PRAGMA synchronous = {'NORMAL' if lazy else 'FULL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has already rolled back by itself after some errors (a full disk).
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def execute(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement inside a :meth:`transaction`; return the number of the new row."""
        return self._connection.execute(sql, values).lastrowid or 0

    def execute_many(self, sql: str, values: Iterable[Sequence[Any]]) -> None:
        """Run one statement for many rows inside a :meth:`transaction`, streamed."""
        self._connection.executemany(sql, values)

    def copy_to(self, path: Path) -> None:
        """Write the database as it is now to a new file; nothing is changed in this one.

        Raises
        ------
        ProjectError
            The disk of the new file is full, ...
        """
        with self._lock, explained(f"The project cannot be copied to {path.parent}"):
            copy = _connect(path)
            try:
                self._connection.backup(copy)
            finally:
                copy.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._connection.close()


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, timeout=5, isolation_level=None, check_same_thread=False)


def _connect_to_read(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise ProjectError(f"There is no project in {path.parent}: choose another folder.")
    address = path.resolve().as_uri() + "?mode=ro"
    connection = sqlite3.connect(address, uri=True, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        # In a folder that cannot be written SQLite cannot make the files that guard WAL; then
        # nobody can be writing either.
        connection.close()
        address += "&immutable=1"
        connection = sqlite3.connect(
            address, uri=True, isolation_level=None, check_same_thread=False
        )
    return connection


def _readable(connection: sqlite3.Connection) -> sqlite3.Connection:
    """Return the connection, or where an older program has written, one to a newer copy."""
    version = schema_version(connection)
    check_version(version)
    if not version:
        raise ProjectError("The project is empty: open it for writing first.")
    if version == SCHEMA_VERSION:
        return connection
    # SQLite keeps a database without a name in a temporary file and deletes it by itself.
    copy = sqlite3.connect("", isolation_level=None, check_same_thread=False)
    try:
        connection.backup(copy)
        upgrade(copy)
        copy.execute("PRAGMA query_only = ON")
    except BaseException:
        copy.close()
        raise
    connection.close()
    return copy


def on_network(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether a file lies on a network file system (known on Linux only, ``False`` elsewhere)."""
    if not sys.platform.startswith("linux") or not mounts.is_file():
        return False
    place, best, kind = path.resolve(), -1, ""
    for line in mounts.read_text(errors="replace").splitlines():
        fields = line.split()
        if len(fields) < 3:
            continue
        point = Path(fields[1].replace("\\040", " "))
        # The last of several mounts at one place is the one that is seen.
        if place.is_relative_to(point) and len(point.parts) >= best:
            best, kind = len(point.parts), fields[2]
    return kind in _NETWORK

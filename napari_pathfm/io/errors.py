"""What goes wrong when a project is read or written, in words that say what to do about it."""

from __future__ import annotations

import errno
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager


class ProjectError(Exception):
    """A project cannot be opened, read or written; the message says what to do about it."""


_FULL = "there is no space left on the disk; free some and try again, nothing was lost"
_READ_ONLY = (
    "the project's folder cannot be written; copy the project to a place where you may write, "
    "or open it for reading only"
)
_BUSY = "another program is using the project's database; close it and try again"
_BROKEN = (
    "the file project.sqlite is not a project's database, or it is damaged; choose another "
    "folder, or restore the file from a backup"
)

_OS_REMEDIES = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: _FULL,
    errno.EROFS: _READ_ONLY,
    errno.EACCES: _READ_ONLY,
    errno.EPERM: _READ_ONLY,
}
_SQLITE_REMEDIES = {
    "is full": _FULL,
    "readonly": _READ_ONLY,
    "unable to open": _READ_ONLY,
    "is locked": _BUSY,
    "not a database": _BROKEN,
    "malformed": _BROKEN,
    "disk i/o error": (
        "the disk could not be read or written; check that it is there and has space left, and "
        "try again"
    ),
}


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn errors of the disk and of SQLite into :class:`ProjectError` with a remedy.

    Parameters
    ----------
    action : str
        What could not be done: ``"The edit could not be saved"``.

    Raises
    ------
    ProjectError
        For a full disk, a read-only folder, a busy or damaged database. Everything else is a
        mistake of ours and passes unchanged.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _OS_REMEDIES:
            raise
        raise ProjectError(f"{action}: {_OS_REMEDIES[error.errno]} ({error}).") from error
    except sqlite3.DatabaseError as error:
        text = str(error).lower()
        remedy = next((remedy for sign, remedy in _SQLITE_REMEDIES.items() if sign in text), None)
        if remedy is None:
            raise
        raise ProjectError(f"{action}: {remedy} ({error}).") from error

"""A lock on a file that the operating system lets go of when its process ends, however it ends."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from types import TracebackType
from typing import IO

from .errors import ProjectError, explained


class FileLock:
    """One process holds it; a file left behind by a dead process is no obstacle.

    Parameters
    ----------
    path : Path
        The lock file; it is made when needed, says who holds the lock, and stays.
    what : str
        What is locked, for people: ``"The project /data/liver"``.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path, self._what = path, what
        self._file: IO[bytes] | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the lock.

        Raises
        ------
        ProjectError
            Somebody else holds it (the message says who), or the file cannot be written.
        """
        with explained(f"{self._what} cannot be locked"):
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # Unbuffered: nothing is left that closing would have to write.
            file = open(self._path, "a+b", buffering=0)  # noqa: SIM115 - open while it is held
            try:
                if not _try_lock(file):
                    file.seek(0)
                    raise ProjectError(
                        f"{self._what} is being written by {_holder(file.read())}; close it there, "
                        "wait for it to end, or open it for reading only."
                    )
                file.truncate(0)
                file.write(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}).encode())
            except BaseException:
                file.close()
                raise
        self._file = file

    def release(self) -> None:
        """Let go of it; nothing happens if it is not held."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> FileLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def _holder(content: bytes) -> str:
    try:
        facts = json.loads(content)
        pid, host = facts["pid"], facts["host"]
    except (ValueError, KeyError, TypeError):
        return "another process"
    if host == socket.gethostname() and pid == os.getpid():
        return f"this program itself (process {pid})"
    return f"process {pid} on {host}"


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30  # beyond the text: a locked byte cannot be read by others

    def _try_lock(file: IO[bytes]) -> bool:
        file.seek(_FAR)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

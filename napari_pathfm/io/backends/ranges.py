"""Bytes of a file by offset."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from .remote import RemoteFile, RemotePath


class LocalFile:
    """Bytes of a file by offset, from any thread; closed when the last user has let go.

    Parameters
    ----------
    path : Path

    Raises
    ------
    OSError
        It cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        self._lock = threading.Lock()
        self.size = os.fstat(self._fd).st_size

    def __del__(self) -> None:
        if hasattr(self, "_fd"):
            os.close(self._fd)

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes."""
        if hasattr(os, "pread"):
            return os.pread(self._fd, count, offset)
        with self._lock:  # Windows has no pread
            os.lseek(self._fd, offset, os.SEEK_SET)
            return os.read(self._fd, count)


def open_ranges(path: Path) -> LocalFile | RemoteFile:
    """Open a file of this computer or of the network."""
    return RemoteFile(path) if isinstance(path, RemotePath) else LocalFile(path)

"""Decoded segments of all open slides, each decoded once, up to a number of bytes."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from functools import cache

from ..core.slide import RGB

DEFAULT_BYTES = 96 * 1024**2
"""Some 8 screens full: what is looked at again is there, and painting has the rest of a GiB."""


class SegmentCache:
    """Least recently used segments go first; two threads that want one segment decode it once.

    Parameters
    ----------
    max_bytes : int
        What is kept never takes more; a segment that alone is larger is handed on and not kept.
    """

    def __init__(self, max_bytes: int = DEFAULT_BYTES) -> None:
        self.max_bytes = max_bytes
        self._kept: OrderedDict[Hashable, RGB] = OrderedDict()
        self._coming: dict[Hashable, Future[RGB]] = {}
        self._bytes = 0
        self._lock = threading.Lock()

    @property
    def nbytes(self) -> int:
        """Bytes of all that is kept."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: Hashable, decode: Callable[[], RGB], once: bool = False) -> RGB:
        """Return the segment of `key`, from `decode` if it is not kept; read-only.

        One that is only wanted `once`, as a step to another, is the first to go: else the
        thousands that a coarse level is made of would push out what has been made of them.

        Whatever `decode` raises goes to everybody who waits for this segment and is not kept, so
        the next one tries again. `decode` may itself call `get` for other segments.
        """
        with self._lock:
            segment = self._kept.get(key)
            if segment is not None:
                if not once:
                    self._kept.move_to_end(key)
                return segment
            coming = self._coming.get(key)
            if coming is None:
                mine = self._coming[key] = Future()
        if coming is not None:
            return coming.result()
        try:
            segment = decode()
        except BaseException as error:
            with self._lock:
                del self._coming[key]
            mine.set_exception(error)
            raise
        segment.setflags(write=False)  # many share it
        with self._lock:
            del self._coming[key]
            self._keep(key, segment, once)
        mine.set_result(segment)
        return segment

    def peek(self, key: Hashable) -> RGB | None:
        """Return the segment if it is kept, at once, and count that as a use."""
        if key not in self._kept:
            return None
        with self._lock:
            segment = self._kept.get(key)
            if segment is not None:
                self._kept.move_to_end(key)
            return segment

    def take(self, key: Hashable) -> RGB | None:
        """Return the segment if it is kept, and keep it no longer."""
        with self._lock:
            segment = self._kept.pop(key, None)
            if segment is not None:
                self._bytes -= segment.nbytes
            return segment

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _keep(self, key: Hashable, segment: RGB, once: bool) -> None:
        if segment.nbytes > self.max_bytes:
            return
        self._kept[key] = segment
        if once:
            self._kept.move_to_end(key, last=False)
        self._bytes += segment.nbytes
        while self._bytes > self.max_bytes:
            self._bytes -= self._kept.popitem(last=False)[1].nbytes


@cache
def shared_cache() -> SegmentCache:
    """Return the one cache that all slides of this process share."""
    return SegmentCache()

"""The segmenter in memory, and the job that loads another."""

from __future__ import annotations

import threading
from pathlib import Path

from ..core.jobs import Job, Progress
from ..models import catalog
from ..models.base import Segmenter
from ..models.fetch import fetch
from ..models.weights import on_disk

POLL = 0.1
"""Seconds after which a job that waits for another looks whether it is still wanted."""


def at_hand(name: str, weights: Path | None) -> bool:
    """Whether a segmenter can be loaded without a download; a plugin's has its own ways."""
    entry = catalog.entries().get(name)
    return entry is None or on_disk(name, entry.weights, weights) is not None


class SegmenterLoader:
    """Loads one segmenter at a time, and keeps the last."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._key: tuple[str, Path | None] | None = None
        self._segmenter: Segmenter | None = None

    def loaded(self, name: str, weights: Path | None) -> Segmenter | None:
        """Return the segmenter if it is there already."""
        return self._segmenter if self._key == (name, weights) else None

    def load(self, name: str, weights: Path | None) -> Job[Segmenter]:
        """Return the segmenter; takes seconds, and a download where its weights are not here.

        Raises
        ------
        ModelError
            Its weights cannot be had, or do not fit.
        """
        loading = Progress(0, 0, f"Loading {name}")
        while not self._lock.acquire(timeout=POLL):  # one that was cancelled may not be over yet
            yield loading
        try:
            if (found := self.loaded(name, weights)) is not None:
                return found
            file = yield from fetch(name, weights)
            yield loading
            self._key = self._segmenter = None  # makes room
            found = self._segmenter = catalog.get_segmenter(name, weights=file)
            self._key = (name, weights)
            return found
        finally:
            self._lock.release()

"""Collects garbage on the GUI thread alone, and in full only while nothing is done.

Python collects in whatever thread happens to allocate. A cycle may hold a widget that was closed,
and Qt crashes when a widget is destroyed in a worker thread. And with large libraries loaded a
full collection takes 0.4 s, in which every thread waits, the window's too.
"""

from __future__ import annotations

import gc
import time

from qtpy.QtCore import QObject, QTimer
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QApplication

EVERY_MS = 500
FULL_SECONDS = 120.0
"""Between two full collections, at least."""

STILL_SECONDS = 5.0
"""So long pointer and jobs have to rest before a full collection."""

LIBRARY = 50_000
"""So many new objects at once are a library that was imported: they are looked at only in full."""

RUNAWAY = 5_000_000
"""New objects at which Python collects by itself after all: no event loop is at work then."""


class GarbageCollector(QObject):
    """Collects from a timer; made once for an application, see :func:`collect_on_this_thread`."""

    def __init__(self, parent: QObject) -> None:
        super().__init__(parent)
        self._thresholds = gc.get_threshold()
        gc.set_threshold(RUNAWAY, *self._thresholds[1:])
        self._full_at = self._used_at = time.monotonic()
        self._pointer = QCursor.pos()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self.collect)
        self._timer.start(EVERY_MS)

    def postpone(self) -> None:
        """Something is being done: no full collection now."""
        self._used_at = time.monotonic()

    def collect(self) -> None:
        """Collect what is due: new objects often, all of them rarely."""
        now, pointer = time.monotonic(), QCursor.pos()
        if pointer != self._pointer:
            self._pointer, self._used_at = pointer, now
        new, young, _ = gc.get_count()
        if now > max(self._used_at + STILL_SECONDS, self._full_at + FULL_SECONDS):
            gc.unfreeze()
            gc.collect()
            self._full_at = now
        elif new > LIBRARY:
            gc.freeze()
        elif young > self._thresholds[1]:
            gc.collect(1)
        elif new > self._thresholds[0]:
            gc.collect(0)


_collectors: dict[QApplication, GarbageCollector] = {}


def collect_on_this_thread() -> GarbageCollector | None:
    """Let the GUI thread, which has to be the calling one, collect the garbage of all threads."""
    app = QApplication.instance()
    if not isinstance(app, QApplication):
        return None
    if app not in _collectors:
        _collectors[app] = GarbageCollector(app)
    return _collectors[app]

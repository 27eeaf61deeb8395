"""Reads what the edit window is to show, in a thread of its own."""

from __future__ import annotations

import contextlib
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Qt, Signal

from ..io.masks import AnnotationLayer
from ..io.painting import Paint
from .label_codes import HIGHLIGHT, Codes, encode
from .place import Place
from .strokes import lay_over


@dataclass(frozen=True, eq=False)
class Filling:
    """What is to be shown.

    Attributes
    ----------
    store : AnnotationLayer
    place : Place
    strokes : tuple of Paint
        What lies on the screen and is not yet in the store, oldest first.
    class_id : int
        Class of what the store does not know yet.
    highlighted : int
        Object that is pointed out; 0 for none.
    """

    store: AnnotationLayer
    place: Place
    strokes: tuple[Paint, ...]
    class_id: int
    highlighted: int

    def codes(self) -> Codes:
        """Read it: ``(height, width)`` codes of the place."""
        place = self.place
        ids = self.store.read(place.level, place.y, place.x, place.height, place.width)
        for stroke in self.strokes:
            lay_over(ids, stroke, place.level, place.y, place.x)
        return encode(ids, self._classes_of)

    def _classes_of(self, numbers: NDArray[np.uint32]) -> NDArray[np.int64]:
        table = self.store.objects
        found = table.class_of(numbers, missing=self.class_id).astype(np.int64)
        found[numbers == self.highlighted] = HIGHLIGHT
        return found


class Filler(QObject):
    """Reads fillings one after the other; only the one that was asked for last counts."""

    filled = Signal(object, object)
    """A :class:`Filling` and its codes."""

    _read = Signal(int, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._thread = ThreadPoolExecutor(1, "edit-window")
        self._number = 0
        self._asked: Future[None] | None = None
        self._read.connect(self._on_read, Qt.ConnectionType.QueuedConnection)

    @property
    def busy(self) -> bool:
        """Whether something is on its way."""
        return self._asked is not None

    def ask(self, filling: Filling) -> None:
        """Read this and drop what was asked for before."""
        self.drop()
        self._asked = self._thread.submit(self._work, self._number, filling)

    def drop(self) -> None:
        """What is on its way is not wanted any more."""
        self._number += 1
        if self._asked is not None:
            self._asked.cancel()
            self._asked = None

    def close(self) -> None:
        """Let the thread end."""
        self.drop()
        self._thread.shutdown(wait=True)

    def _work(self, number: int, filling: Filling) -> None:
        # Read while it is current only, and the window may be gone by then.
        if number == self._number:
            codes = filling.codes()
            with contextlib.suppress(RuntimeError):
                self._read.emit(number, filling, codes)

    def _on_read(self, number: int, filling: Filling, codes: Codes) -> None:
        if number == self._number:
            self._asked = None
            self.filled.emit(filling, codes)

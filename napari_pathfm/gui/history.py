"""Changes of the annotation layer, one after the other, large ones behind the window."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from ..core.edits import Edit
from ..core.jobs import Job, Progress
from ..io.masks import AnnotationLayer
from ..session import Session
from . import notify
from .runner import Runner, RunningJob

LARGE_PX = 1 << 20
"""Strokes that touch a box of more level-0 pixels than this are written in a worker."""


@dataclass(frozen=True, eq=False)
class Stroke:
    """Pixels painted by hand at one level of the annotation layer.

    Attributes
    ----------
    level : int
        Level of the annotation layer.
    y, x : int
        Upper left corner, pixels of that level.
    ids : ndarray
        ``(h, w)`` uint32.
    mask : ndarray
        ``(h, w)`` bool: the pixels that were painted.
    """

    level: int
    y: int
    x: int
    ids: NDArray[np.uint32]
    mask: NDArray[np.bool_]

    @property
    def area(self) -> int:
        """Level-0 pixels of its box."""
        return int(self.mask.size) * 4**self.level


@dataclass(eq=False)
class Change:
    """One change that waits to be written."""

    text: str
    layer: AnnotationLayer
    write: Callable[[AnnotationLayer], object]
    stroke: Stroke | None = None
    large: bool = False
    done: Callable[[], None] = lambda: None
    busy: bool = False
    written: bool = False


class History(QObject):
    """Writes changes in their order and knows what can be undone.

    A stroke that cannot be written stays here and on screen, and is tried again with the next
    change; undo takes it back.
    """

    changed = Signal()
    """Something was written, undone or is waiting."""

    dropped = Signal(object)
    """A stroke that was never written was taken back (:class:`Stroke`)."""

    def __init__(self, session: Session, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._waiting: deque[Change] = deque()
        self._running: RunningJob | None = None
        runner.finished.connect(self._on_finished)

    @property
    def writing(self) -> Stroke | None:
        """The stroke that is being written just now."""
        head = self._waiting[0] if self._waiting else None
        return head.stroke if head is not None and head.busy else None

    def strokes(self, layer: AnnotationLayer) -> list[Stroke]:
        """Strokes on a layer that are on screen but not yet in the store, oldest first."""
        return [c.stroke for c in self._waiting if c.stroke is not None and c.layer is layer]

    def commit(
        self,
        text: str,
        build: Callable[[AnnotationLayer], Edit],
        stroke: Stroke | None = None,
        large: bool = False,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """Build an edit and commit it, after all that came before it.

        Parameters
        ----------
        text : str
            What is done, for messages.
        build : callable
            Makes the edit; may run in a worker.
        stroke : Stroke, optional
            What it shows on screen already.
        large : bool
            Whether it takes long enough to be written in a worker.
        done : callable, optional
            Called once it is written.
        """

        def write(layer: AnnotationLayer) -> None:
            layer.commit(build(layer))

        self._do(text, write, stroke, large, done)

    def undo(self) -> None:
        """Take the last change back."""
        last = self._waiting[-1] if self._waiting else None
        if last is not None and last.stroke is not None and not last.busy:
            self._waiting.pop()
            self.dropped.emit(last.stroke)
            self.changed.emit()
            return
        if last is None and not self.undo_text():
            notify.tell("There is nothing to undo")
            return
        self._do("Undo", lambda layer: layer.undo())

    def redo(self) -> None:
        """Do the last change that was taken back once more."""
        if not self._waiting and not self.redo_text():
            notify.tell("There is nothing to redo")
            return
        self._do("Redo", lambda layer: layer.redo())

    def undo_text(self) -> str:
        """What would be undone; empty for nothing."""
        if self._waiting:
            return self._waiting[-1].text
        return next((step.text for step in reversed(self._steps()) if step.done), "")

    def redo_text(self) -> str:
        """What would be done again; empty for nothing."""
        undone = next((step.text for step in self._steps() if not step.done), "")
        return undone

    def flush(self) -> None:
        """Write everything that waits before returning; for the end of the program."""
        if self._running is not None and self._running.thread is not None:
            self._running.thread.join()
        waiting, self._waiting = list(self._waiting), deque()
        for change in waiting:
            if not change.written:
                change.write(change.layer)

    def _steps(self) -> list[Any]:
        layer = self._session.annotations
        return list(layer.history()) if layer is not None else []

    def _do(
        self,
        text: str,
        write: Callable[[AnnotationLayer], object],
        stroke: Stroke | None = None,
        large: bool = False,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        layer = self._session.annotations
        if layer is None:
            notify.warn("Open a slide and a project first: there is no layer to write to.")
            return
        self._waiting.append(Change(text, layer, write, stroke, large, done))
        self._work()

    def _work(self) -> None:
        while self._waiting and not self._waiting[0].busy:
            head = self._waiting[0]
            head.busy = True
            if head.large:
                self._running = self._runner.start(
                    _job(head), head.text, lambda _: None, failed=self._failed
                )
                break
            try:
                head.write(head.layer)
            except notify.EXPECTED as error:
                self._failed(error)
                return
            self._waiting.popleft()
            head.done()
        self.changed.emit()

    def _on_finished(self, running: RunningJob) -> None:
        if running is not self._running:
            return
        self._running = None
        if not self._waiting:
            return
        head = self._waiting[0]
        head.busy = False
        if head.written:
            self._waiting.popleft()
            head.done()
            self._work()
        # Else it failed, and _failed is told next, or it was cancelled before it began: then it
        # waits for the next change, and undo takes it back.

    def _failed(self, error: BaseException) -> None:
        head = self._waiting[0]
        head.busy = False
        if head.stroke is None:
            self._waiting.popleft()
            notify.fail(head.text, error)
        elif head.layer is not self._session.annotations:
            self._waiting.popleft()
            notify.fail(f"{head.text} on a slide that is closed could not be written", error)
        else:
            notify.fail(f"{head.text} (still on screen, tried again with the next change)", error)
        self.changed.emit()


def _job(change: Change) -> Job[None]:
    # In one piece on purpose: what was begun is written to its end, whoever presses cancel.
    yield Progress(0, 1, f"Writing {change.text}")
    change.write(change.layer)
    change.written = True

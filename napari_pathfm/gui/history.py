"""Changes of the annotation layer, written one after the other behind the window.

A commit waits for the disk (about 40 ms), longer than a frame, so that even the smallest stroke is
written in a worker; until then it is laid over what the store says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qtpy.QtCore import QObject, Signal

from ..core.edits import Edit
from ..core.jobs import Job, Progress, run
from ..io.masks import AnnotationLayer
from ..session import Session
from . import notify
from .runner import Runner, RunningJob


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


@dataclass(eq=False)
class Change:
    """One change that waits to be written."""

    text: str
    layer: AnnotationLayer
    write: Callable[[AnnotationLayer], Job[Any]]
    stroke: Stroke | None = None
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
    def busy(self) -> bool:
        """Whether something is being written."""
        return bool(self._waiting) and self._waiting[0].busy

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
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """Build an edit and commit it, after all that came before it.

        Parameters
        ----------
        text : str
            What is done, for messages.
        build : callable
            Makes the edit; runs in a worker.
        stroke : Stroke, optional
            What it shows on screen already.
        done : callable, optional
            Called once it is written.
        """

        def write(layer: AnnotationLayer) -> Job[None]:
            yield from layer.commit_job(build(layer))

        self._do(text, write, stroke, done)

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
        self._do("Undo", lambda layer: layer.undo_job())

    def redo(self) -> None:
        """Do the last change that was taken back once more."""
        if not self._waiting and not self.redo_text():
            notify.tell("There is nothing to redo")
            return
        self._do("Redo", lambda layer: layer.redo_job())

    def undo_text(self) -> str:
        """What would be undone; empty for nothing."""
        if self._waiting:
            return self._waiting[-1].text if self._waiting[-1].stroke is not None else ""
        layer = self._session.annotations
        return layer.last_done.text if layer is not None and layer.last_done else ""

    def redo_text(self) -> str:
        """What would be done again; empty for nothing."""
        layer = self._session.annotations
        return layer.first_undone.text if layer is not None and layer.first_undone else ""

    def flush(self) -> None:
        """Write everything that waits before returning; for the end of the program."""
        if self._running is not None and self._running.thread is not None:
            self._running.thread.join()
        waiting, self._waiting = list(self._waiting), deque()
        for change in waiting:
            if change.written:
                continue
            try:
                run(change.write(change.layer))
            except notify.EXPECTED as error:
                notify.fail(change.text, error)

    def _do(
        self,
        text: str,
        write: Callable[[AnnotationLayer], Job[Any]],
        stroke: Stroke | None = None,
        done: Callable[[], None] = lambda: None,
    ) -> None:
        layer = self._session.annotations
        if layer is None:
            notify.warn("Open a slide and a project first: there is no layer to write to.")
            return
        self._waiting.append(Change(text, layer, write, stroke, done))
        self._work()

    def _work(self) -> None:
        if self._waiting and not self._waiting[0].busy:
            head = self._waiting[0]
            head.busy = True
            self._running = self._runner.start(
                _job(head), head.text, lambda _: None, failed=self._failed
            )
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
        elif running.cancelled and head.stroke is None:
            self._waiting.popleft()
            self.changed.emit()
        # Else it failed, and _failed is told next; or a stroke was cancelled: it stays on screen,
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
    yield Progress(0, 0, change.text)
    yield from change.write(change.layer)
    change.written = True

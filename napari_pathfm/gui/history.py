"""Changes of the annotation layer, written one after the other behind the window.

A commit waits for the disk (about 40 ms), longer than a frame, so that even the smallest stroke is
written in a worker; until then it is laid over what the store says.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from qtpy.QtCore import QObject, QTimer, Signal

from ..core.edits import Edit
from ..core.jobs import Job, Progress, run
from ..io.masks import AnnotationLayer, HandStroke
from ..io.painting import Paint
from ..session import Session
from . import notify
from .keeping import Keeping
from .runner import Runner, RunningJob

RETRY_MS = 5000
"""What could not be written is tried again so often."""


@dataclass(eq=False)
class Change:
    """One change that waits to be written; `layer` is ``None`` for one of the classes."""

    text: str
    layer: AnnotationLayer | None
    write: Callable[[Any], Job[Any]]
    stroke: Paint | None = None
    done: Callable[[], None] = lambda: None
    failed: Callable[[], None] = lambda: None
    long: bool = False
    keeping: Keeping | None = None
    busy: bool = False
    written: bool = False


class History(QObject):
    """Writes changes in their order and knows what can be undone.

    A stroke that cannot be written stays here and on screen, whatever slide is shown then. It is
    tried again with the next change and every few seconds; undo takes it back.
    """

    changed = Signal()
    """Something was written, undone or is waiting."""

    dropped = Signal(object)
    """A stroke that was never written was taken back."""

    def __init__(self, session: Session, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._waiting: deque[Change] = deque()
        self._running: RunningJob | None = None
        self._held = False
        self.trouble = ""
        self._timer = QTimer(self)
        self._timer.setInterval(RETRY_MS)
        self._timer.timeout.connect(self.try_again)
        runner.finished.connect(self._on_finished)

    trouble: str
    """Why strokes could not be written; empty while all is well."""

    @property
    def busy(self) -> bool:
        """Whether something is being written."""
        return bool(self._waiting) and self._waiting[0].busy

    @property
    def writing(self) -> Paint | None:
        """The stroke that is being written just now."""
        head = self._waiting[0] if self._waiting else None
        return head.stroke if head is not None and head.busy else None

    @property
    def unsaved(self) -> tuple[Change, ...]:
        """Strokes that could not be written, oldest first; none while all is well."""
        kept = (change for change in self._waiting if change.stroke is not None)
        return tuple(kept) if self.trouble else ()

    def strokes(self, layer: AnnotationLayer) -> list[Paint]:
        """Strokes on a layer that are on screen but not yet in the store, oldest first."""
        return [c.stroke for c in self._waiting if c.stroke is not None and c.layer is layer]

    def commit(
        self,
        text: str,
        build: Callable[[AnnotationLayer], Edit],
        done: Callable[[], None] = lambda: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Build an edit and commit it, after all that came before it.

        Parameters
        ----------
        text : str
            What is done, for messages.
        build : callable
            Makes the edit; runs in a worker.
        done, failed : callable, optional
            Called once it is written, or is known not to be.
        """

        def write(layer: AnnotationLayer) -> Job[None]:
            yield from layer.commit_job(build(layer))

        self._do(text, write, done, failed)

    def work(
        self,
        text: str,
        write: Callable[[AnnotationLayer], Job[Any]],
        done: Callable[[], None] = lambda: None,
    ) -> None:
        """Let a long job change the layer, after all that came before it.

        When the window is closed before its end, it is stopped.

        Parameters
        ----------
        text : str
            What is done, for messages.
        write : callable
            Makes the job; it runs in a worker.
        done : callable, optional
            Called once it has ended well.
        """
        self._do(text, write, done=done, long=True)

    def paint(self, stroke: HandStroke) -> None:
        """Write a stroke that is on screen, after all that came before it.

        A kill does not lose it while it waits for others.
        """
        layer = self._layer()
        if layer is None:
            return
        keeping = Keeping(layer, stroke)
        if self._waiting:
            # Should it fail, writing the stroke fails as well, and that is told.
            title = "Keeping a stroke"
            self._runner.start(keeping.keep_job(), title, lambda _: None, failed=lambda _: None)
        change = Change(stroke.text, layer, keeping.write_job, stroke.paint, keeping=keeping)
        self._add(change)

    def change_classes(
        self,
        text: str,
        write: Callable[[], object],
        done: Callable[[], None] = lambda: None,
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        """Change the project's classes, after all that came before.

        Parameters
        ----------
        text : str
            What is done, for messages.
        write : callable
            Changes and writes them; runs in a worker.
        done, failed : callable, optional
            Called at the end.
        """

        def job(_: object) -> Job[None]:
            write()
            yield Progress(1, 1, text)

        self._add(Change(text, None, job, done=done, failed=failed))

    def undo(self) -> None:
        """Take the last change back."""
        last = self._waiting[-1] if self._waiting else None
        if last is not None and self._is_here(last) and not last.busy:
            self.forget([last])
            self.dropped.emit(last.stroke)
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

    def go_to(self, number: int) -> None:
        """Undo or redo until a step of the history is the last one that is done (0: none)."""
        self._do("Going through the history", lambda layer: layer.go_to_job(number))

    def try_again(self) -> None:
        """Try once more to write what could not be written."""
        if self._waiting:
            self._work()

    def hold(self, held: bool) -> None:
        """Write nothing for a while: somebody is reading the whole project."""
        self._held = held
        if not held:
            self.try_again()

    def forget(self, changes: Iterable[Change]) -> None:
        """Drop strokes that wait here because they are safe elsewhere, or not wanted any more."""
        for change in changes:
            if change.busy:
                change.stroke = None  # should it fail once more, it is told and gone
            elif change in self._waiting:
                self._waiting.remove(change)
                if change.keeping is not None:
                    job = change.keeping.drop_job()
                    self._runner.start(job, "Taking a stroke back", lambda _: None)
        self._settle()
        self.changed.emit()

    def undo_text(self) -> str:
        """What would be undone; empty for nothing."""
        if self._waiting:
            return self._waiting[-1].text if self._is_here(self._waiting[-1]) else ""
        layer = self._session.annotations
        return layer.last_done.text if layer is not None and layer.last_done else ""

    def redo_text(self) -> str:
        """What would be done again; empty for nothing."""
        layer = self._session.annotations
        return layer.first_undone.text if layer is not None and layer.first_undone else ""

    def flush(self) -> None:
        """Write everything that waits before returning; for the end of the program."""
        if self._running is not None and self._running.thread is not None:
            if self._waiting and self._waiting[0].long:
                self._running.cancel()
            self._running.thread.join()
        waiting, self._waiting = list(self._waiting), deque()
        for change in waiting:
            if change.written or change.long:
                continue
            try:
                run(change.write(change.layer))
            except notify.EXPECTED as error:
                notify.fail(change.text, error)

    def _is_here(self, change: Change) -> bool:
        return change.stroke is not None and change.layer is self._session.annotations

    def _layer(self) -> AnnotationLayer | None:
        layer = self._session.annotations
        if layer is None:
            notify.warn("Open a slide and a project first: there is no layer to write to.")
        return layer

    def _do(
        self,
        text: str,
        write: Callable[[AnnotationLayer], Job[Any]],
        done: Callable[[], None] = lambda: None,
        failed: Callable[[], None] = lambda: None,
        long: bool = False,
    ) -> None:
        layer = self._layer()
        if layer is not None:
            self._add(Change(text, layer, write, done=done, failed=failed, long=long))

    def _add(self, change: Change) -> None:
        self._waiting.append(change)
        self._work()

    def _work(self) -> None:
        if self._waiting and not self._waiting[0].busy and not self._held:
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
            self.trouble = ""
            self._settle()
            head.done()
            self._work()
        elif running.cancelled and head.stroke is None:
            self._waiting.popleft()
            head.failed()
            self._work()
        # Else it failed, and _failed is told next; or a stroke was cancelled: it stays on screen,
        # waits for the next change, and undo takes it back.

    def _failed(self, error: BaseException) -> None:
        head = self._waiting[0]
        head.busy = False
        if head.stroke is None:
            self._waiting.popleft()
            notify.fail(head.text, error)
            head.failed()
            self._work()
        else:
            if not self.trouble:
                notify.fail(f"{head.text} (still on screen, and tried again)", error)
            self.trouble = str(error)
            self._timer.start()
        self.changed.emit()

    def _settle(self) -> None:
        if not self.trouble or not any(change.stroke for change in self._waiting):
            self.trouble = ""
            self._timer.stop()


def _job(change: Change) -> Job[None]:
    yield Progress(0, 0, change.text)
    yield from change.write(change.layer)
    change.written = True

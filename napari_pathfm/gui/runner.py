"""Runs jobs in worker threads, with progress, remaining time and cancel."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Qt, Signal

from ..core.jobs import Job, Progress, Rate, duration
from ..core.threads import be_polite
from . import notify
from .garbage import collect_on_this_thread

REPORT_EVERY = 0.4
"""Seconds between two reports of progress to the window; a fast job must not flood it."""


@dataclass(eq=False)
class RunningJob:
    """A job at work.

    Attributes
    ----------
    title : str
        For people; empty if nobody asked for it, so that it is not shown.
    slot : str
        Only the newest job of a slot counts; empty for none.
    progress : Progress
        The last report.
    """

    title: str
    slot: str
    done: Callable[[Any], None]
    failed: Callable[[BaseException], None]
    so_far: Callable[[Any], None]
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    rate: Rate = field(default_factory=Rate)
    _cancel: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None

    @property
    def cancelled(self) -> bool:
        """Whether it was told to stop; its result is dropped."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Ask it to stop; it is closed in its own thread, and its store stays resumable."""
        self._cancel.set()

    def status(self) -> str:
        """One line for people: what, how far, how fast, how long still."""
        parts = [self.progress.text or self.title]
        if self.progress.total:
            parts.append(f"{self.progress.done:,} of {self.progress.total:,}")
        if self.progress.unit and self.rate.per_second:
            parts.append(f"{self.rate.per_second:,.0f} {self.progress.unit}/s")
        remaining = self.rate.remaining(self.progress)
        if remaining is not None and self.progress.done < self.progress.total:
            parts.append(f"{duration(remaining)} left")
        return " · ".join(parts)


class Runner(QObject):
    """Starts jobs, hands their results to the GUI thread and drops late ones.

    A worker thread never touches the session: results are passed to `done` on the GUI thread.
    """

    started = Signal(object)
    progressed = Signal(object)
    finished = Signal(object)
    _reported = Signal(object, object)
    _ended = Signal(object, object, object)

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._garbage = collect_on_this_thread()
        self.running: list[RunningJob] = []
        self._reported.connect(self._on_report, Qt.ConnectionType.QueuedConnection)
        self._ended.connect(self._on_end, Qt.ConnectionType.QueuedConnection)

    def start(
        self,
        job: Job[Any],
        title: str,
        done: Callable[[Any], None],
        *,
        slot: str = "",
        failed: Callable[[BaseException], None] | None = None,
        so_far: Callable[[Any], None] | None = None,
    ) -> RunningJob:
        """Run a job in a thread of its own.

        Parameters
        ----------
        job : Job
        title : str
            For people, and the subject of an error's message; empty for what nobody asked for,
            which is not shown.
        done : callable
            Gets the result, on the GUI thread, unless the job was cancelled or superseded, or it is
            a method of a widget that is gone.
        slot : str
            A job in the same slot is cancelled first.
        failed : callable, optional
            Gets the error instead of the user (on the GUI thread).
        so_far : callable, optional
            Gets what the job has on the way to its result (:attr:`Progress.so_far`), as `done`.
        """
        if slot:
            self.cancel(slot)
        failed = failed or (lambda error: notify.fail(title, error))
        running = RunningJob(title, slot, done, failed, so_far or _nothing)
        running.thread = threading.Thread(
            target=self._drive, args=(running, job), name=f"job-{title or slot}", daemon=True
        )
        self.running.append(running)
        self.started.emit(running)
        running.thread.start()
        return running

    def cancel(self, slot: str) -> None:
        """Cancel what runs in a slot."""
        for running in self.running:
            if running.slot == slot:
                running.cancel()

    def busy(self, slot: str) -> bool:
        """Whether a job that still counts runs in a slot."""
        return any(job.slot == slot and not job.cancelled for job in self.running)

    def shutdown(self, seconds: float = 5.0) -> None:
        """Cancel everything and wait until the jobs have left their stores in order."""
        for running in self.running:
            running.cancel()
        end = time.monotonic() + seconds
        for running in self.running:
            if running.thread is not None:
                running.thread.join(max(0.0, end - time.monotonic()))
            # Its end may never be told any more, and must not keep the window alive.
            running.done = running.failed = running.so_far = _nothing
        self.running.clear()  # what does not end now is not waited for a second time

    def _drive(self, running: RunningJob, job: Job[Any]) -> None:
        be_polite()
        result: Any = None
        error: BaseException | None = None
        last = 0.0
        try:
            with contextlib.closing(job):
                while not running.cancelled:
                    progress = next(job)
                    if progress.so_far is not None or time.monotonic() - last > REPORT_EVERY:
                        last = time.monotonic()
                        self._reported.emit(running, progress)
        except StopIteration as end:
            result = end.value
        except Exception as raised:  # noqa: BLE001 - the one place where a job's errors end
            error = raised
        # The window may be gone by now: then there is nobody to tell.
        with contextlib.suppress(RuntimeError):
            self._ended.emit(running, result, error)

    def _on_report(self, running: RunningJob, progress: Progress) -> None:
        if running in self.running and not running.cancelled:
            running.progress = progress
            running.rate.update(progress)
            if progress.so_far is not None and not _destroyed(running.so_far):
                running.so_far(progress.so_far)
            if self._garbage is not None:
                self._garbage.postpone()
            self.progressed.emit(running)

    def _on_end(self, running: RunningJob, result: Any, error: BaseException | None) -> None:
        if running in self.running:
            self.running.remove(running)
        self.finished.emit(running)
        done, failed = running.done, running.failed
        # The worker may let go of its job last, and must not be the one who destroys a widget.
        running.done = running.failed = running.so_far = _nothing
        if running.cancelled:
            return
        if error is not None:
            failed(error)
        elif not _destroyed(done):
            done(result)


def _destroyed(callback: Callable[..., Any]) -> bool:
    """Whether it is a method of a widget that Qt has destroyed: nobody waits for it any more."""
    owner = getattr(callback, "__self__", None)
    return isinstance(owner, QObject) and not isalive(owner)


def _nothing(_: Any) -> None:
    """Stands for what was called already."""

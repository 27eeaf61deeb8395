"""One line for each running job: what it does, how fast, how long still, and a way to stop it."""

from __future__ import annotations

from qtpy.QtWidgets import (
    QHBoxLayout,
    QProgressBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from .runner import Runner, RunningJob
from .status_text import StatusText

SHOW_AFTER_MS = 300
"""Jobs that are over sooner than this never show, so that the window does not flicker."""


class JobLine(QWidget):
    """A running job."""

    def __init__(self, running: RunningJob, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.running = running
        self.label = StatusText(running.title)
        self.bar = QProgressBar()
        self.bar.setTextVisible(False)
        self.bar.setFixedHeight(10)
        self.bar.setRange(0, 0)
        self.button = QToolButton()
        self.button.setText("Cancel")
        self.button.setToolTip("Stop; what is done is kept, and starting again goes on from there")
        self.button.clicked.connect(self._cancel)
        row = QHBoxLayout()
        row.addWidget(self.bar)
        row.addWidget(self.button)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 2, 4, 2)
        column.setSpacing(1)
        column.addWidget(self.label)
        column.addLayout(row)

    def update_progress(self) -> None:
        """Show the last report."""
        progress = self.running.progress
        self.label.setText(self.running.status())
        self.bar.setRange(0, progress.total)
        self.bar.setValue(progress.done)

    def _cancel(self) -> None:
        self.running.cancel()
        self.button.setEnabled(False)
        self.label.setText(f"Stopping: {self.running.title}")


class JobBar(QWidget):
    """All running jobs, below the steps."""

    def __init__(self, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._lines: dict[RunningJob, JobLine] = {}
        self._young: dict[int, RunningJob] = {}  # by the timer that shows it
        self._layout = QVBoxLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setSpacing(0)
        runner.started.connect(self._on_started)
        runner.progressed.connect(self._on_progressed)
        runner.finished.connect(self._on_finished)

    def _on_started(self, running: RunningJob) -> None:
        if running.title:
            self._young[self.startTimer(SHOW_AFTER_MS)] = running

    def timerEvent(self, event: object) -> None:
        timer: int = event.timerId()  # type: ignore[attr-defined]
        self.killTimer(timer)
        running = self._young.pop(timer, None)
        if running is not None:
            line = self._lines[running] = JobLine(running, self)
            line.update_progress()
            self._layout.addWidget(line)

    def _on_progressed(self, running: RunningJob) -> None:
        if running in self._lines:
            self._lines[running].update_progress()

    def _on_finished(self, running: RunningJob) -> None:
        # A widget that comes and goes with each click would have the whole dock laid out anew.
        for timer in [timer for timer, young in self._young.items() if young is running]:
            self.killTimer(timer)
            del self._young[timer]
        line = self._lines.pop(running, None)
        if line is not None:
            self._layout.removeWidget(line)
            line.deleteLater()

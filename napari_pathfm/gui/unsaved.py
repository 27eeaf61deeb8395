"""Says that strokes could not be saved, and offers ways to keep them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtCore import QEvent, QObject, QTimer
from qtpy.QtWidgets import (
    QFileDialog,
    QFrame,
    QHBoxLayout,
    QLabel,
    QMessageBox,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from ..analysis.save_elsewhere import save_elsewhere_job
from . import notify
from .embedding import SLOT as EMBEDDING
from .workspace import Workspace

SLOT = "save elsewhere"
AGAIN_MS = 100


class UnsavedBar(QFrame):
    """Hidden while everything is saved.

    Parameters
    ----------
    place : Workspace
    """

    def __init__(self, place: Workspace, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._place, self._history = place, place.edit_window.history
        self.label = QLabel()
        self.label.setWordWrap(True)
        self.again_button = QPushButton("Try again")
        self.save_button = QPushButton("Save to another folder…")
        self.save_button.setToolTip("A copy of the project with the unsaved strokes in it")
        row = QHBoxLayout()
        row.addWidget(self.again_button)
        row.addWidget(self.save_button)
        column = QVBoxLayout(self)
        column.addWidget(self.label)
        column.addLayout(row)
        self.setFrameShape(QFrame.Shape.StyledPanel)
        self.again_button.clicked.connect(self._history.try_again)
        self.save_button.clicked.connect(self.ask)
        self._history.changed.connect(self._on_history)
        self._guard = _Guard(self)
        place.viewer.window._qt_window.installEventFilter(self._guard)
        self._on_history()

    def ask(self) -> None:
        """Ask for a folder and save everything there."""
        folder = QFileDialog.getExistingDirectory(self, "New or empty folder for the project")
        if folder:
            self.save_to(Path(folder))

    def save_to(self, folder: Path) -> None:
        """Save the project with the unsaved strokes in another folder, and go on there."""
        project, history, runner = self._place.session.project, self._history, self._place.runner
        if project is None:
            return
        if runner.busy(EMBEDDING):
            notify.warn("Cancel the embedding first: the project must rest while it is copied.")
            return
        history.hold(True)
        if history.busy:  # it is being tried once more; that is over soon
            QTimer.singleShot(AGAIN_MS, partial(self.save_to, folder))
            return
        changes = history.unsaved
        strokes = [change.keeping.unsaved for change in changes if change.keeping is not None]

        def saved(_: None) -> None:
            history.forget(changes)
            self._place.open_project(folder)
            notify.tell(f"Saved in {folder}: the work goes on there.")

        job = save_elsewhere_job(project, folder, strokes)
        running = runner.start(job, "Saving elsewhere", saved, slot=SLOT)

        def over(ended: object) -> None:
            if ended is running:
                runner.finished.disconnect(over)
                QTimer.singleShot(0, partial(history.hold, False))  # when what was saved is gone

        runner.finished.connect(over)

    def lose(self) -> None:
        """Give the unsaved strokes up."""
        self._history.forget(self._history.unsaved)

    @property
    def count(self) -> int:
        """Number of unsaved strokes."""
        return len(self._history.unsaved)

    def _on_history(self) -> None:
        count = self.count
        self.setVisible(bool(count))
        if count:
            what = f"{count} stroke{' is' if count == 1 else 's are'} not saved"
            self.label.setText(f"<b>{what}</b>: {self._history.trouble}")


class _Guard(QObject):
    """Asks before the window is closed with something unsaved in it."""

    def __init__(self, bar: UnsavedBar) -> None:
        super().__init__(bar)
        self._bar = bar

    def eventFilter(self, _: QObject | None, event: QEvent | None) -> bool:
        if event is None or event.type() != QEvent.Type.Close or not self._bar.count:
            return False
        answer = ask_at_the_end(self._bar, self._bar.count)
        if answer == "lose":
            self._bar.lose()
            return False
        event.ignore()
        if answer == "save":
            self._bar.ask()
        return True


def ask_at_the_end(parent: QWidget, count: int) -> str:
    """Ask what becomes of unsaved strokes: "save", "lose" or "stay"."""
    box = QMessageBox(parent)
    box.setWindowTitle("Unsaved strokes")
    box.setText(f"{count} stroke{'' if count == 1 else 's'} could not be saved.")
    save = box.addButton("Save to another folder…", QMessageBox.ButtonRole.AcceptRole)
    lose = box.addButton("Close and lose them", QMessageBox.ButtonRole.DestructiveRole)
    box.addButton(QMessageBox.StandardButton.Cancel)
    box.exec()
    chosen = box.clickedButton()
    return "save" if chosen is save else "lose" if chosen is lose else "stay"

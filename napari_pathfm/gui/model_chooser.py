"""A choice of a model: its name, what is known of it, weights of one's own, and its licence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QFileDialog, QLabel, QPushButton, QVBoxLayout, QWidget

from ..models import catalog
from ..models.base import ModelError
from ..models.check import Check, Memory, check
from ..models.fetch import in_project
from ..session import Session
from . import notify
from .follow import follow
from .licence_question import LicenceQuestion
from .model_facts import describe, rich
from .model_picker import ModelPicker, look
from .runner import Runner, RunningJob

ENOUGH = Memory(1 << 60, "computer")
"""Too little memory is no reason not to try: it may be free in the meantime."""


class ModelChooser(QWidget):
    """Chooses a model of one kind; :attr:`question` is to be put where it is to be seen.

    Parameters
    ----------
    kind : str
        "encoder" or "segmenter".
    session : Session
    runner : Runner
    slot : str
        Slot of the jobs that may download the model.
    searchable : bool
        Of :class:`~napari_pathfm.gui.model_picker.ModelPicker`.
    """

    changed = Signal()
    """Another model, or another file with its weights."""

    def __init__(
        self,
        kind: str,
        session: Session,
        runner: Runner,
        slot: str,
        searchable: bool = True,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._kind, self._session, self._runner, self._slot = kind, session, runner, slot
        self._entries, self._checks = catalog.entries(), dict[str, Check]()
        self.given: Path | None = None
        self.picker = ModelPicker(kind, searchable)
        self.facts = QLabel()
        self.facts.setWordWrap(True)
        self.facts.setOpenExternalLinks(True)
        self.unknown = QLabel()
        self.unknown.setWordWrap(True)
        self.unknown.hide()
        self.question = LicenceQuestion()
        self.weights_button = QPushButton("Weights file…")
        self.weights_button.setToolTip("Use a checkpoint on this computer instead of a download")
        self.weights = QLabel()
        self.weights.setWordWrap(True)
        self.weights.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        for part in (self.picker, self.unknown, self.facts, self.weights_button, self.weights):
            column.addWidget(part)
        self.picker.chosen.connect(self._on_chosen)
        self.picker.not_found.connect(self._on_not_found)
        self.weights_button.clicked.connect(self._choose_weights)
        follow(self, (session.events.project, self._show_facts))
        runner.finished.connect(self._on_finished)
        self._show_facts()
        self._look()

    @property
    def name(self) -> str:
        """Name of the model."""
        return self.picker.name

    @property
    def file(self) -> Path | None:
        """Weights that the user gave, or that lie in the project."""
        project = self._session.project
        if self.given is not None or project is None:
            return self.given
        return in_project(project.models, self.name)

    def weights_file(self, path: Path) -> None:
        """Load the model from a checkpoint on this computer."""
        self.given = path
        self.weights.setText(f"from {path.name}")
        self.weights.show()
        self._show_facts()
        self.changed.emit()

    def permit(self, name: str, file: Path | None, what: str, then: Callable[[], None]) -> None:
        """Do something with a model at once, after a yes to its licence, or say why not.

        Parameters
        ----------
        name : str
        file : Path or None
            Weights of one's own.
        what : str
            What is to be done, for a message ("Embedding").
        then : callable
        """
        entry = self._entries.get(name)
        if entry is None:  # a plugin's
            then()
        elif stopped := check(entry, file, ENOUGH).obstacles:
            why = " ".join(map(str, stopped))
            notify.fail(what, ModelError(f"{name} cannot be used yet. {why}"))
        else:
            self.question.ask(entry.spec, then)

    def _on_chosen(self, _: str) -> None:
        self.given = None
        self.weights.hide()
        self.question.hide()
        self._show_facts()
        self.changed.emit()

    def _on_not_found(self, why: str) -> None:
        self.unknown.setText(rich(why))
        self.unknown.setVisible(bool(why))

    def _show_facts(self) -> None:
        entry = self._entries.get(self.name)
        if entry is None:
            self.facts.setText("from a plugin")
            return
        found = self._checks.get(self.name)
        if (file := self.file) is not None:
            found = check(entry, file, ENOUGH)
        self.facts.setText(describe(entry.spec, found))

    def _look(self) -> None:
        title = "Looking which models are here"
        self._runner.start(look(self._kind), title, self._on_look, slot=f"look for {self._kind}")

    def _on_look(self, checks: dict[str, Check]) -> None:
        self._checks = checks
        self.picker.sort(checks)
        self._show_facts()

    def _on_finished(self, running: RunningJob) -> None:
        known = self._checks.get(self.name)
        if running.slot == self._slot and known is not None and known.on_disk is None:
            self._look()  # it may have been downloaded

    def _choose_weights(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Weights", "", "Weights (*.safetensors *.pth *.pt *.bin *.ckpt);;All files (*)"
        )
        if path:
            self.weights_file(Path(path))

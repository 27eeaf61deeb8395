"""Step 2: let a foundation model look at every tile."""

from __future__ import annotations

from collections.abc import Callable

from qtpy.QtWidgets import QGroupBox, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from ..models.base import Encoder
from ..session import Session
from .device_question import DeviceQuestion
from .embedding import SLOT, Embedding
from .follow import follow
from .model_chooser import ModelChooser
from .runner import Runner
from .slide_list import SlideList
from .stain_box import StainBox
from .store_label import StoreLabel


class EmbedPanel(QWidget):
    """Chooses an encoder and embeds the tile grid with it.

    Parameters
    ----------
    session : Session
    runner : Runner
    embedding : Embedding, optional
        What does it; it may outlive the panel.
    """

    def __init__(
        self,
        session: Session,
        runner: Runner,
        embedding: Embedding | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._embedding = embedding or Embedding(session, runner, parent=self)
        self.model = ModelChooser("encoder", session, runner, SLOT)
        self.encoder, self.question = self.model.picker, self.model.question
        self.stain = StainBox()
        self.device = DeviceQuestion()
        self.embed_button = QPushButton("Embed tiles")
        self.cancel_button = QPushButton("Cancel")
        self.stored = StoreLabel(session, runner)
        self.slides = SlideList(session, runner, self.model, self._embedding.encoders, self.stain)
        self.state = QLabel()
        self.state.setWordWrap(True)
        self._lay_out()
        self._connect()
        self._on_embeddings()
        self._show_busy()

    def blocked(self) -> str:
        grid = self._session.grid
        if self._session.slide is None:
            return "open a slide first"
        if grid is None:
            return "find tissue and tiles first"
        return "" if len(grid) else "no tile holds enough tissue"

    def embed(self) -> None:
        """Embed the grid; what the project already has is not computed again."""
        name, file = self.model.name, self.model.file
        if self.blocked():
            return
        if self._embedding.encoders.known(name, file):
            self._start()
        else:
            self.model.permit(name, file, "Embedding", self._start)

    def loader(self, name: str) -> Callable[[], Encoder]:
        """Return what loads an encoder: the one in memory, from the file chosen for it if any."""
        chosen = self.model.given if name == self.model.name else None
        return self._embedding.encoders.loader(name, chosen)

    def _start(self) -> None:
        self.device.hide()
        self.stored.clear()
        self.state.clear()
        self._embedding.start(self.model.name, self.model.file, self.stain.value())
        self._show_busy()

    def _go_on(self, device: str | None) -> None:
        self._embedding.encoders.start_anew(device)
        self._start()

    def _show_busy(self) -> None:
        busy = self._embedding.busy
        self.embed_button.setEnabled(not busy)
        self.cancel_button.setEnabled(busy)
        self.stored.setVisible(not busy)

    def _look_in_store(self) -> None:
        if self._embedding.busy:
            return
        name, file = self.model.name, self.model.file
        known = self._embedding.encoders.known(name, file)
        key, reference = None if known is None else known.key, self.stain.value()
        self.stored.look(name, key, file, "" if reference is None else reference.name)

    def _on_ended(self, stopped: bool) -> None:
        self._show_busy()
        self.slides.look()
        if stopped:
            self.state.setText("Stopped. What is done is kept: “Embed tiles” goes on from there.")

    def _on_embeddings(self) -> None:
        found = self._session.embeddings
        self.state.setText("" if found is None else self._embedding.summary(found))
        self._look_in_store()

    def _connect(self) -> None:
        self.model.changed.connect(self._look_in_store)
        self.stain.currentIndexChanged.connect(self._look_in_store)
        self.embed_button.clicked.connect(self.embed)
        self.cancel_button.clicked.connect(self._embedding.cancel)
        self.device.answered.connect(self._go_on)
        self._embedding.said.connect(self.state.setText)
        self._embedding.lost.connect(self.device.ask)
        self._embedding.ended.connect(self._on_ended)
        events = self._session.events
        follow(
            self,
            (events.embeddings, self._on_embeddings),
            (events.grid, self._look_in_store),
            (events.project, self._look_in_store),
        )

    def _lay_out(self) -> None:
        column = QVBoxLayout(self)
        column.addWidget(self.model)
        column.addWidget(self.stain)
        column.addWidget(self.stored)
        row = QHBoxLayout()
        row.addWidget(self.embed_button)
        row.addWidget(self.cancel_button)
        column.addLayout(row)
        for widget in (self.question, self.device, self.state):
            column.addWidget(widget)
        box = QGroupBox("Slides of the project")
        QVBoxLayout(box).addWidget(self.slides)
        column.addWidget(box, 1)

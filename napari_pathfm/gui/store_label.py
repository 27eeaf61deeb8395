"""Says which embeddings need not be computed, before anything is."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from qtpy.QtWidgets import QLabel, QWidget

from ..analysis.from_store import FromStore, look_in_project
from ..core.embeddings import FeatureKey
from ..core.jobs import one_step
from ..models.checkpoint import file_hash
from ..session import Session
from .runner import Runner

SLOT = "stored"


class StoreLabel(QLabel):
    """What the project has of the session's grid, unless the session shows it already."""

    def __init__(self, session: Session, runner: Runner, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._encoder = ""
        self.setWordWrap(True)

    def look(
        self, encoder: str, key: FeatureKey | None, weights: Path | None, stain: str = ""
    ) -> None:
        """Look into the store.

        Parameters
        ----------
        encoder : str
            Name in the catalogue.
        key : FeatureKey or None
            Of the encoder, if it is in memory.
        weights : Path or None
            Its file, if that is known.
        stain : str
            Stain normalisation before it, as in a key; empty for none.
        """
        slide, grid, project = self._session.slide, self._session.grid, self._session.project
        self._runner.cancel(SLOT)
        self.setText("")
        self._encoder = encoder
        if slide is None or grid is None or project is None:
            return
        look = partial(look_in_project, project, slide.path, grid, encoder, stain=stain)

        def found() -> FromStore:
            found = look(key)
            if found.count and key is None and weights is not None and weights.is_file():
                return look(weights=file_hash(weights))
            return found

        title = "Looking into the store"
        self._runner.start(one_step(title, found), title, self._show, slot=SLOT)

    def _show(self, found: FromStore) -> None:
        shown = self._session.embeddings
        told = shown is not None and shown.key.encoder == self._encoder
        self.setText(found.difference if told else found.before)

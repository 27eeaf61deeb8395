"""The segmenter that the user has chosen: loaded when it is needed, if it may be."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from weakref import WeakMethod

from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from ..core.jobs import Job
from ..models import catalog
from ..models.base import Segmenter
from ..models.fetch import in_project
from ..session import Session
from .runner import Runner
from .segmenter_loader import SegmenterLoader, at_hand

LOAD_SLOT = "segmenter"

Permit = Callable[[str, Path | None, str, Callable[[], None]], None]
"""Does the last with a model, of weights of one's own or not, if and when it may be used."""


class ChosenSegmenter(QObject):
    """Knows which segmenter is meant, and loads it in the background.

    Parameters
    ----------
    session : Session
        In whose project weights may lie.
    runner : Runner
    """

    loaded = Signal()
    """It can be asked from now on."""

    def __init__(self, session: Session, runner: Runner, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._session, self._runner = session, runner
        self._loader = SegmenterLoader()
        self._permit: WeakMethod[Permit] | None = None
        self._given: Path | None = None
        self.name = catalog.DEFAULT_SEGMENTER
        self.weights: Path | None = None  # what the user gave, or what lies in the project

    def choose(self, name: str, weights: Path | None = None) -> None:
        """Mean another one; nothing is loaded yet."""
        self.name, self._given = name, weights
        self.find_weights()
        self.cancel()

    def ask_first(self, permit: Permit) -> None:
        """Have a method of a widget, while there is one, decide whether a segmenter is loaded."""
        self._permit = WeakMethod(permit)

    def find_weights(self) -> None:
        """Take the weights that the user gave, or that lie in the project, if any."""
        project = self._session.project
        self.weights = self._given
        if self._given is None and project is not None:
            self.weights = in_project(project.models, self.name)

    @property
    def ready(self) -> Segmenter | None:
        """The segmenter, if it is in memory."""
        return self._loader.loaded(self.name, self.weights)

    @property
    def at_hand(self) -> bool:
        """Whether it can be loaded without a download."""
        return at_hand(self.name, self.weights)

    @property
    def busy(self) -> bool:
        """Whether it is being loaded."""
        return self._runner.busy(LOAD_SLOT)

    def refusal(self, kind: str) -> str:
        """Why it cannot answer "points" or "box"; empty if it can or is not loaded."""
        segmenter = self.ready
        if segmenter is None or kind in segmenter.answers:
            return ""
        other = "a box" if kind == "points" else "points"
        return f"{self.name} does not answer {kind} alone: use {other}, or choose pathfm-click"

    def when_permitted(self, what: str, then: Callable[[], None]) -> None:
        """Do something with it at once, or after a yes to its licence.

        Parameters
        ----------
        what : str
            What is to be done, for a message ("Segmenting").
        then : callable
        """
        self.find_weights()
        permit = self._permit() if self._permit is not None else None
        if permit is not None and isalive(getattr(permit, "__self__", None)):
            permit(self.name, self.weights, what, then)
        else:
            then()

    def load_job(self) -> Job[Segmenter]:
        """Load it, unless that is done; for who has asked before."""
        self.find_weights()
        return self._loader.load(self.name, self.weights)

    def load(self) -> None:
        """Load it, if and when it may be; where it is being loaded already, that goes on."""
        title = f"Loading {self.name}"

        def start() -> None:
            self._runner.start(self.load_job(), title, self._on_loaded, slot=LOAD_SLOT)

        if not self.busy:
            self.when_permitted(title, start)

    def cancel(self) -> None:
        """Stop loading."""
        self._runner.cancel(LOAD_SLOT)

    def _on_loaded(self, _: Segmenter) -> None:
        self.loaded.emit()

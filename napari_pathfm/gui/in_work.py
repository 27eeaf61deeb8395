"""The object in work: what the user has said of it, the answer that is shown, and its edit."""

from __future__ import annotations

from collections.abc import Callable

from napari import Viewer
from qtpy.QtCore import QObject, Signal

from ..analysis.again import replace
from ..analysis.candidate import Candidate, commit_edit
from ..analysis.crop import likely_size
from ..analysis.reshape import met
from ..core.edits import Edit
from ..core.prompts import Prompts
from ..io.masks import AnnotationLayer
from ..session import Session
from . import notify
from .annotate import EditWindow
from .prompt_layers import POSITIVE, PromptLayers


class InWork(QObject):
    """One object between the first prompt and its commit.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    edits : EditWindow
        Its history takes the committed object, its class is the one the object gets.

    Attributes
    ----------
    layers : PromptLayers or None
        Where the prompts are; ``None`` until one is about to be given.
    candidate : Candidate or None
        The answer that is shown; ``None`` until there is one.
    again : int
        The object that is segmented again; 0 for a new one.
    size : float or None
        Longer side of the last object that was committed here, level-0 pixels, if any.
    overwrite : bool
        Whether objects take pixels from their neighbours.
    """

    changed = Signal()
    """Another answer is shown, or none any more."""

    prompted = Signal()
    """The user has finished a point or a box, or moved or removed one."""

    removed = Signal()
    """The user has removed one of the layers."""

    hovered = Signal(float, float)
    """The pointer is at ``(y, x)``, level-0 pixels, where a click would set a point."""

    left = Signal()
    """A click would set no point any more."""

    def __init__(
        self, viewer: Viewer, session: Session, edits: EditWindow, parent: QObject | None = None
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._edits = viewer, session, edits
        self.layers: PromptLayers | None = None
        self.candidate: Candidate | None = None
        self.again = 0
        self.size: float | None = None
        self.overwrite = True
        self._unwritten: list[tuple[Candidate, int]] = []  # answers, and what they were to replace
        edits.active.changed.connect(self._on_class)

    # -- what is said and shown ---------------------------------------------------------------

    def open(self) -> PromptLayers | None:
        """Return the layers, made when first needed; ``None`` without an annotation layer."""
        # Not earlier: every layer, though hidden, makes moving the view slower.
        slide = self._session.slide
        if self.layers is None and slide is not None and self._session.annotations is not None:
            self.layers = PromptLayers(self._viewer, slide, self._edits.keys, self)
            self.layers.prompted.connect(self.prompted)
            self.layers.removed.connect(self.removed)
            self.layers.hovered.connect(self.hovered)
            self.layers.left.connect(self.left)
        return self.layers

    def close(self) -> None:
        """Take the layers away and forget all: there is another annotation layer, or none."""
        self._forget()
        self._unwritten.clear()
        self.size = None
        if self.layers is not None:
            self.layers.remove()
            self.layers.deleteLater()
            self.layers = None

    def prompts(self) -> Prompts:
        """What the user has said so far, level-0 pixels."""
        return self.layers.prompts() if self.layers is not None else Prompts()

    def expected(self, downsample: float) -> float | None:
        """About how large the object is, level-0 pixels: as its answer, or the last object."""
        if self.candidate is not None:
            return self.candidate.size
        return likely_size(self.size, downsample)

    def show(self, candidate: Candidate) -> None:
        """Show an answer."""
        self.candidate = candidate
        if self.layers is not None:
            self.layers.show(candidate, self._color())
        self.changed.emit()

    def preview(self, candidate: Candidate) -> None:
        """Show what a click would answer, fainter, instead of the answer that there is."""
        if self.layers is not None:
            self.layers.show(candidate, self._color(), preview=True)

    def end_preview(self) -> None:
        """Show the answer again, if there is one."""
        if self.layers is not None:
            self.layers.show(self.candidate, self._color())

    def take(self, number: int, prompts: Prompts) -> None:
        """Take an object into work again, with what was said of it."""
        if self.layers is not None:
            self.again = number
            self.layers.put(prompts)

    def clear(self) -> None:
        """Forget prompts and answer."""
        self._forget()
        if self.layers is not None:
            self.layers.clear()
        self._put_back()
        self.changed.emit()

    # -- what becomes of it -------------------------------------------------------------------

    def commit(self) -> None:
        """Make it an object of the annotation layer, or put it in the place of one: one edit."""
        if self.candidate is not None:
            size = self.candidate.size
            if self._write("commit object", self._edit_of(self.candidate, self.again)):
                self.size = size or self.size

    def change(self, verb: Callable[..., Edit], what: str, number: int) -> None:
        """Change an object of the annotation layer by it: one edit.

        Parameters
        ----------
        verb : callable
            Makes the edit of the layer, the object's number and the candidate.
        what : str
            What is done to it, for messages.
        number : int
            0 for the one that it lies on or touches.
        """
        candidate = self.candidate
        if candidate is None:
            return

        def build(layer: AnnotationLayer) -> Edit:
            return verb(layer, number=number or met(layer, candidate), candidate=candidate)

        self._write(f"{what} {f'object {number}' if number else 'the object below'}", build)

    def keep(self, candidate: Candidate) -> None:
        """Write an object that was answered beside the one in work."""
        self.size = candidate.size or self.size
        self._edits.history.commit("commit object", self._edit_of(candidate))

    def _edit_of(self, candidate: Candidate, again: int = 0) -> Callable[[AnnotationLayer], Edit]:
        project, overwrite = self._session.project, self.overwrite
        class_id = self._edits.active.id
        author = project.author if project is not None else ""

        def build(layer: AnnotationLayer) -> Edit:
            if again:
                return replace(layer, again, candidate, author, overwrite)
            return commit_edit(layer, candidate, class_id, author, overwrite)

        return build

    def _write(self, text: str, build: Callable[[AnnotationLayer], Edit]) -> bool:
        """Write what is in work and forget it, so that the next click begins another object.

        Its mask is shown until it is written or something else is shown. What could not be written
        is in work again, at the latest when the user has done with the object begun meanwhile.

        Returns
        -------
        bool
            Whether it is being written; else it stays in work.
        """
        history, layers, candidate, again = (
            self._edits.history,
            self.layers,
            self.candidate,
            self.again,
        )
        if layers is None or candidate is None:
            return False
        if history.trouble:
            notify.warn(
                f"What was painted before cannot be written ({history.trouble}), so this object "
                "stays in work: make room for both, then keep it."
            )
            return False
        self._forget()
        layers.clear_prompts()
        self.changed.emit()

        def done() -> None:
            if layers is self.layers:
                layers.hide(candidate)

        def failed() -> None:
            if layers is self.layers:
                layers.hide(candidate)
                self._unwritten.append((candidate, again))
                self._put_back()

        history.commit(text, build, done, failed)
        return True

    def _put_back(self) -> None:
        """Take the last object that could not be written into work, if there is none."""
        if self._unwritten and not self.prompts():
            candidate, again = self._unwritten.pop()
            self.take(again, candidate.prompts)
            self.show(candidate)

    def _forget(self) -> None:
        self.again, self.candidate = 0, None

    def _color(self) -> str:
        row = self._edits.active.row
        return row.color if row is not None else POSITIVE

    def _on_class(self, _: int) -> None:
        if self.candidate is not None and self.layers is not None:
            self.layers.show(self.candidate, self._color())

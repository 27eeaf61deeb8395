"""Segmenting by prompts: a box or points, an answer at once, a key to keep it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from weakref import WeakMethod

from app_model.types import KeyCode, KeyMod
from napari import Viewer
from qtpy.compat import isalive
from qtpy.QtCore import QObject, Signal

from ..analysis.crop import CropCache
from ..analysis.reshape import add_to, take_from
from ..analysis.segment import Candidate, commit_edit, segment
from ..core.edits import Edit
from ..core.jobs import Job
from ..core.prompts import Prompts
from ..io.masks import AnnotationLayer
from ..models import catalog
from ..models.base import Segmenter
from ..models.fetch import in_project
from ..session import Session
from . import notify
from .annotate import EditWindow
from .hover import Hover, Hovered, with_point
from .keys import Keys
from .prompt_layers import POSITIVE, PromptLayers
from .runner import Runner
from .segmenter_loader import SegmenterLoader, at_hand
from .view import view_downsample

SLOT = "segment"
LOAD_SLOT = "segmenter"

LIKELY_PX = 8.0, 500.0
"""Between these sizes on the screen an object is likely to be like the last one."""

Permit = Callable[[str, Path | None, str, Callable[[], None]], None]
"""Does the last with a model, of weights of one's own or not, if and when it may be used."""


class Prompting(QObject):
    """The object in work: its prompts, the segmenter's answer, and what becomes of it.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    runner : Runner
    edit_window : EditWindow
        Its history takes the committed object, its class is the one the object gets.
    """

    changed = Signal()
    """The prompts, the sign of the next point or the answer."""

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        runner: Runner,
        edit_window: EditWindow,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._runner = viewer, session, runner
        self._edits = edit_window
        self._loader = SegmenterLoader()
        self._permit: WeakMethod[Permit] | None = None
        self._cache = CropCache()
        self._hover = Hover(runner, self._cache, self)
        self._hover.answered.connect(self._on_preview)
        self._size: float | None = None  # of the last object, level-0 pixels
        self.layers: PromptLayers | None = None  # until a prompt is about to be given
        self.candidate: Candidate | None = None
        self.name = catalog.DEFAULT_SEGMENTER
        self._given: Path | None = None
        self.weights: Path | None = None  # what the user gave, or what lies in the project
        self._asked = False  # for an answer, of a segmenter that is not loaded yet
        self.keys: Keys = {
            KeyCode.KeyB: self.box_mode,
            KeyCode.KeyP: self.point_mode,
            KeyCode.KeyS: self.segment,
            KeyCode.KeyC: self.commit,
            KeyCode.KeyT: self.toggle_sign,
            KeyMod.Shift | KeyCode.KeyC: self.clear,
            KeyCode.KeyN: self.next_object,
            KeyCode.KeyO: self.other_mask,
            KeyCode.KeyA: self.add_to_chosen,
            KeyCode.KeyX: self.take_from_chosen,
            KeyCode.Escape: self.cancel,
        }
        edit_window.add_keys(self.keys)
        session.events.annotations.connect(self._on_annotations)
        edit_window.active.changed.connect(self._on_class)
        self._on_annotations()

    # -- what the user does -------------------------------------------------------------------

    def _find_weights(self) -> None:
        """Take the weights that the user gave, or that lie in the project, if any."""
        project = self._session.project
        self.weights = self._given
        if self._given is None and project is not None:
            self.weights = in_project(project.models, self.name)

    def ask_first(self, permit: Permit) -> None:
        """Have a method of a widget, while there is one, decide whether a segmenter is loaded."""
        self._permit = WeakMethod(permit)

    def when_permitted(self, what: str, then: Callable[[], None]) -> None:
        """Do something with the chosen segmenter at once, or after a yes to its licence.

        Parameters
        ----------
        what : str
            What is to be done, for a message ("Segmenting").
        then : callable
        """
        self._find_weights()
        permit = self._permit() if self._permit is not None else None
        if permit is not None and isalive(getattr(permit, "__self__", None)):
            permit(self.name, self.weights, what, then)
        else:
            then()

    def load_job(self) -> Job[Segmenter]:
        """Load the chosen segmenter, unless that is done; for who has asked before."""
        self._find_weights()
        return self._loader.load(self.name, self.weights)

    def set_segmenter(self, name: str, weights: Path | None = None) -> None:
        """Choose a segmenter, and answer the prompts that are there with it.

        What has to be downloaded first is so when it is used: to choose is not yet to want that.
        """
        self.name, self._given = name, weights
        self._find_weights()
        self._runner.cancel(LOAD_SLOT)
        self.changed.emit()
        if self._session.annotations is None or not at_hand(name, self.weights):
            return
        if self._prompts():
            self.segment()
        else:
            self._load()

    def refusal(self, kind: str) -> str:
        """Why the segmenter cannot answer "points" or "box"; empty if it can or is not loaded."""
        segmenter = self._loader.loaded(self.name, self.weights)
        if segmenter is None or kind in segmenter.answers:
            return ""
        other = "a box" if kind == "points" else "points"
        return f"{self.name} does not answer {kind} alone: use {other}, or choose a SAM model"

    def box_mode(self) -> None:
        """The next drag draws a box round an object."""
        layers = self._ready("box")
        if layers is not None:
            layers.take_box()

    def point_mode(self) -> None:
        """The next clicks set points."""
        layers = self._ready("points")
        if layers is not None:
            layers.take_point()

    @property
    def positive(self) -> bool:
        """Sign of the next point."""
        return self.layers.positive if self.layers is not None else True

    def toggle_sign(self) -> None:
        """Points say where the object is, then where it is not, and so on."""
        layers = self._made_layers()
        if layers is not None:
            layers.set_positive(not layers.positive)
            self.changed.emit()

    def segment(self) -> None:
        """Answer the prompts; a later call supersedes."""
        slide, prompts = self._session.slide, self._prompts()
        if slide is None or not prompts:
            notify.tell("Draw a box round an object or click on it, then segment.")
            return
        segmenter = self._loader.loaded(self.name, self.weights)
        self._asked = segmenter is None
        if segmenter is None:
            self._load()
            return
        self._hover.leave()
        downsample = view_downsample(self._viewer, slide)
        size = self._expected(downsample)
        job = segment(slide, prompts, segmenter, downsample, self._cache, size=size)
        self._runner.start(job, "Segmenting", self._take, slot=SLOT)

    def other_mask(self) -> None:
        """Show the segmenter's next best answer."""
        candidate = self.candidate
        if candidate is not None:
            choice = (candidate.choice + 1) % len(candidate.masks)
            self._show(candidate.chosen(choice))

    def commit(self) -> None:
        """Make the object in work an object of the annotation layer: one edit."""
        candidate, project = self.candidate, self._session.project
        if candidate is None:
            notify.tell("There is no object in work: draw a box or click, then commit.")
            return
        class_id = self._edits.active.id
        author = project.author if project is not None else ""

        def build(layer: AnnotationLayer) -> Edit:
            return commit_edit(layer, candidate, class_id, author)

        def done() -> None:
            self._size = candidate.size
            if self.candidate is candidate:
                self.clear()

        self._edits.history.commit("commit object", build, done=done)

    def add_to_chosen(self) -> None:
        """Give the chosen object the pixels of the object in work: one edit."""
        self._change_chosen(add_to, "add to")

    def take_from_chosen(self) -> None:
        """Take the pixels of the object in work from the chosen object: one edit."""
        self._change_chosen(take_from, "take from")

    def _change_chosen(self, verb: Callable[..., Edit], what: str) -> None:
        candidate, number = self.candidate, self._edits.chosen
        if candidate is None:
            notify.tell(f"There is no object in work to {what} another: draw a box or click.")
            return
        if not number:
            notify.tell("Choose an object first: in the table, or with napari's picker.")
            return
        build = partial(verb, number=number, candidate=candidate)
        self._edits.history.commit(f"{what} object {number}", build, done=self.clear)

    def clear(self) -> None:
        """Forget prompts and answer."""
        self._asked = False
        self._runner.cancel(SLOT)
        self._hover.leave()
        if self.layers is not None:
            self.layers.clear()
        self.candidate = None
        self.changed.emit()

    def next_object(self) -> None:
        """Keep the object in work, if there is one, and begin the next."""
        if self.candidate is not None:
            self.commit()
        else:
            self.clear()
        self._edits.new_object()

    def cancel(self) -> None:
        """Stop loading and segmenting; where nothing runs, forget prompts and answer."""
        if self._runner.busy(SLOT) or self._runner.busy(LOAD_SLOT):
            self._asked = False
            self._runner.cancel(SLOT)
            self._runner.cancel(LOAD_SLOT)
        else:
            self.clear()

    # -- what happens -------------------------------------------------------------------------

    def _take(self, candidate: Candidate) -> None:
        slide = self._session.slide
        if slide is not None and self._prompts():
            self._show(candidate)

    def _show(self, candidate: Candidate) -> None:
        self.candidate = candidate
        if self.layers is not None:
            self.layers.show(candidate, self._color())
        if not candidate.mask.any():
            notify.warn("The segmenter found nothing there: try a larger box or another point.")
        self.changed.emit()

    def _expected(self, downsample: float) -> float | None:
        """About how large the object is, level-0 pixels: as what is in work, or the last one.

        The last one says nothing where the view has been zoomed so that it would hardly be seen, or
        fill all of it.
        """
        if self.candidate is not None:
            return self.candidate.size
        low, high = (pixels * downsample for pixels in LIKELY_PX)
        return self._size if self._size is not None and low < self._size < high else None

    def _on_hovered(self, y: float, x: float) -> None:
        slide, segmenter = self._session.slide, self._loader.loaded(self.name, self.weights)
        prompts = with_point(self._prompts(), y, x, self.positive)
        says_where = prompts.box is not None or bool(prompts.positive.any())
        if slide is None or segmenter is None or "points" not in segmenter.answers:
            return
        if says_where and not self._runner.busy(SLOT):
            downsample = view_downsample(self._viewer, slide)
            size = self._expected(downsample)
            self._hover.move(Hovered(slide, segmenter, prompts, downsample, size))

    def _on_preview(self, candidate: Candidate) -> None:
        if self.layers is not None and not self._runner.busy(SLOT):
            self.layers.show(candidate, self._color(), preview=True)

    def _on_left(self) -> None:
        self._hover.leave()
        if self.layers is not None:
            self.layers.show(self.candidate, self._color())

    def _color(self) -> str:
        row = self._edits.active.row
        return row.color if row is not None else POSITIVE

    def _prompts(self) -> Prompts:
        return self.layers.prompts() if self.layers is not None else Prompts()

    def _ready(self, kind: str) -> PromptLayers | None:
        layers = self._made_layers()
        if layers is None:
            notify.tell(
                "Open a slide first."
                if self._session.slide is None
                else "Choose a project folder in the step Slide first: objects are kept there."
            )
            return None
        if self.refusal(kind):
            notify.tell(self.refusal(kind))
            return None
        if self._loader.loaded(self.name, self.weights) is None:
            self._load()  # it takes seconds, in which the user moves the mouse to the object
        return layers

    def _made_layers(self) -> PromptLayers | None:
        # Made when first needed: every layer, though hidden, makes moving the view slower.
        slide = self._session.slide
        if self.layers is None and slide is not None and self._session.annotations is not None:
            self.layers = PromptLayers(self._viewer, slide, self._edits.keys, self)
            self.layers.prompted.connect(self._on_prompted)
            self.layers.removed.connect(self._on_annotations)
            self.layers.hovered.connect(self._on_hovered)
            self.layers.left.connect(self._on_left)
        return self.layers

    def _load(self) -> None:
        self._find_weights()
        name, weights, title = self.name, self.weights, f"Loading {self.name}"
        if self._runner.busy(LOAD_SLOT):
            return

        def start() -> None:
            job = self._loader.load(name, weights)
            self._runner.start(job, title, self._on_loaded, slot=LOAD_SLOT)

        self.when_permitted(title, start)

    def _on_loaded(self, _: Segmenter) -> None:
        self.changed.emit()
        if self._asked:
            self.segment()

    def _on_annotations(self, *_: object) -> None:
        self._find_weights()
        self._runner.cancel(SLOT)
        self._hover.leave()
        self._asked, self.candidate, self._size = False, None, None
        if self.layers is not None:
            self.layers.remove()
            self.layers.deleteLater()
            self.layers = None
        self.changed.emit()

    def _on_prompted(self) -> None:
        if self._prompts():
            self.segment()
        else:
            self.clear()

    def _on_class(self, _: int) -> None:
        if self.candidate is not None and self.layers is not None:
            self.layers.show(self.candidate, self._color())

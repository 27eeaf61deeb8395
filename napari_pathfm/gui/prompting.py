"""Segmenting by prompts: a box or points, an answer at once, a key to keep it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from app_model.types import KeyCode, KeyMod
from napari import Viewer
from qtpy.QtCore import QObject, Signal

from ..analysis.again import prompts_of
from ..analysis.candidate import Candidate
from ..analysis.crop_cache import CropCache
from ..analysis.crop_store import user_store
from ..analysis.reshape import add_to, take_from
from ..analysis.segment import segment
from ..core.edits import Edit
from ..core.jobs import Job, Progress
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..io.masks import AnnotationLayer
from ..models.base import Segmenter
from ..session import Session
from . import notify
from .annotate import EditWindow
from .at_once import Ask, AtOnce
from .chosen_segmenter import ChosenSegmenter
from .hover import Hover, Hovered, with_point
from .in_work import InWork
from .keys import Keys
from .prompt_layers import PromptLayers
from .runner import Runner
from .view import view_downsample

SLOT = "segment"


class Prompting(QObject):
    """What the user's gestures and keys do with the object in work.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    runner : Runner
    edit_window : EditWindow
        Where its objects are kept.

    Attributes
    ----------
    work : InWork
        The object in work.
    segmenter : ChosenSegmenter
    """

    changed = Signal()
    """The sign of the next point, the answer, or how the next object is kept."""

    previewed = Signal()
    """The mask under the pointer is shown."""

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
        self.segmenter = ChosenSegmenter(session, runner, self)
        self.segmenter.loaded.connect(self._on_loaded)
        self._cache = CropCache(store=user_store())
        self._hover = Hover(runner, self._cache, self)
        self._hover.answered.connect(self._on_preview)
        self._hover.told.connect(self.changed)
        self._at_once = AtOnce(session, runner, self)
        self.work = InWork(viewer, session, edit_window, self)
        self.work.changed.connect(self.changed)
        self.work.prompted.connect(self._on_prompted)
        self.work.removed.connect(self._on_annotations)
        self.work.hovered.connect(self._on_hovered)
        self.work.left.connect(self._on_left)
        self._at_once.answered.connect(self.work.keep)
        self._then: Callable[[Segmenter], None] | None = None  # waits for a segmenter to be loaded
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
            KeyCode.KeyF: self.scribble_mode,
            KeyCode.KeyG: self.segment_again,
            KeyCode.KeyQ: self.toggle_at_once,
            KeyCode.KeyV: self.toggle_overwrite,
            KeyCode.Escape: self.cancel,
        }
        edit_window.add_keys(self.keys)
        session.events.annotations.connect(self._on_annotations)
        self._on_annotations()

    # -- what the user does -------------------------------------------------------------------

    def set_segmenter(self, name: str, weights: Path | None = None) -> None:
        """Choose a segmenter, and answer the prompts that are there with it.

        What has to be downloaded first is so when it is used: to choose is not yet to want that.
        """
        self._hover.leave()  # what another segmenter showed does not count
        self.segmenter.choose(name, weights)
        self.changed.emit()
        if self._session.annotations is None or not self.segmenter.at_hand:
            return
        if self.work.prompts():
            self.segment()
        else:
            self.segmenter.load()

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

    def scribble_mode(self) -> None:
        """The next drag draws a line on the object, or beside it."""
        layers = self._ready("points")
        if layers is not None:
            layers.take_scribble()

    @property
    def encoded_here(self) -> bool:
        """Whether a click under the pointer is answered at once."""
        return self._hover.encoded

    @property
    def positive(self) -> bool:
        """Sign of the next point."""
        return self.work.layers.positive if self.work.layers is not None else True

    def toggle_sign(self) -> None:
        """Points say where the object is, then where it is not, and so on."""
        layers = self.work.open()
        if layers is not None:
            layers.set_positive(not layers.positive)
            self.changed.emit()

    @property
    def at_once(self) -> bool:
        """Whether each click and each box becomes an object without another key."""
        return self._at_once.on

    def toggle_at_once(self) -> None:
        """Make each click and each box an object at once, or wait for a key again."""
        self._at_once.on = not self._at_once.on
        self.changed.emit()

    def toggle_overwrite(self) -> None:
        """Let new objects take pixels from their neighbours, or keep off them."""
        self.work.overwrite = not self.work.overwrite
        self.changed.emit()

    def segment_again(self) -> None:
        """Take the chosen object into work again; what is committed then takes its place."""
        annotations, number = self._session.annotations, self._edits.chosen
        if annotations is None or self.work.open() is None or not number:
            notify.tell("Choose an object first: in the table, or with napari's picker.")
            return
        self.clear()
        job = _said_of(annotations, number)
        self._runner.start(job, "Reading the object", self._take_again, slot=SLOT)

    def segment(self) -> None:
        """Answer the prompts; a later call supersedes."""
        if self._session.slide is None or not self.work.prompts():
            notify.tell("Draw a box round an object or click on it, then segment.")
        elif self._at_once.on and not self.work.again:
            self._segment_at_once(self._session.slide)
        else:
            self.with_segmenter(self._segment)

    def with_segmenter(self, then: Callable[[Segmenter], None]) -> None:
        """Hand over the segmenter, once it is loaded; a later call supersedes."""
        segmenter = self.segmenter.ready
        self._then = then if segmenter is None else None
        if segmenter is None:
            self.segmenter.load()
        else:
            then(segmenter)

    def _segment(self, segmenter: Segmenter) -> None:
        slide, prompts = self._session.slide, self.work.prompts()
        if slide is None or not prompts:
            return
        self._hover.pause()
        job = self._job(slide, prompts)(segmenter)
        self._runner.start(job, "Segmenting", self._take, slot=SLOT, so_far=self._take_so_far)
        previewed = self._hover.shown(prompts)
        if previewed is not None:
            self._take_so_far(previewed)

    def _segment_at_once(self, slide: Slide) -> None:
        """Keep these prompts for an object of their own, also while a segmenter is loaded."""
        self._at_once.ask(self._job(slide, self.work.prompts()))
        self.clear()
        self.with_segmenter(self._at_once.answer)

    def _job(self, slide: Slide, prompts: Prompts) -> Ask:
        """What answers prompts as the view is now."""
        downsample = view_downsample(self._viewer, slide)
        size = self.work.expected(downsample)

        def job(segmenter: Segmenter) -> Job[Candidate]:
            return segment(slide, prompts, segmenter, downsample, self._cache, size=size)

        return job

    def other_mask(self) -> None:
        """Show the segmenter's next best answer."""
        candidate = self._settled()
        if candidate is not None:
            choice = (candidate.choice + 1) % len(candidate.masks)
            self.work.show(candidate.chosen(choice))

    def commit(self) -> None:
        """Make the object in work an object of the annotation layer: one edit."""
        if self.work.candidate is None:
            notify.tell("There is no object in work: draw a box or click, then commit.")
        else:
            self._stop()
            self.work.commit()

    def add_to_chosen(self) -> None:
        """Give the chosen object, or else the one beside it, the pixels of the object in work."""
        self._change_chosen(partial(add_to, overwrite=self.work.overwrite), "add to")

    def take_from_chosen(self) -> None:
        """Take the pixels of the object in work from the chosen object, or else the one below."""
        self._change_chosen(take_from, "take from")

    def _change_chosen(self, verb: Callable[..., Edit], what: str) -> None:
        if self.work.candidate is None:
            notify.tell(f"There is no object in work to {what} another: draw a box or click.")
        else:
            self._stop()
            self.work.change(verb, what, self._edits.chosen)

    def clear(self) -> None:
        """Forget prompts and answer."""
        self._stop()
        self.work.clear()

    def _stop(self) -> None:
        """Ask nothing more about the object in work."""
        self._then = None
        self._runner.cancel(SLOT)
        self._hover.pause()

    def next_object(self) -> None:
        """Keep the object in work, if there is one, and begin the next."""
        if self.work.candidate is not None:
            self.commit()
        else:
            self.clear()
        self._edits.new_object()

    def cancel(self) -> None:
        """Stop loading and segmenting; where nothing runs, forget prompts and answer."""
        self._at_once.cancel()
        if self._runner.busy(SLOT) or self.segmenter.busy:
            self._then = None
            self._runner.cancel(SLOT)
            self.segmenter.cancel()
        else:
            self.clear()

    # -- what happens -------------------------------------------------------------------------

    def _take_again(self, found: tuple[int, Prompts]) -> None:
        self.work.take(*found)
        self.point_mode()
        self.segment()

    def _take(self, candidate: Candidate) -> None:
        slide = self._session.slide
        if slide is not None and self.work.prompts():
            self.work.show(candidate)
            if not candidate.mask.any():
                notify.warn("The segmenter found nothing there: try a larger box or another point.")

    def _take_so_far(self, candidate: Candidate) -> None:
        shown = self.work.candidate
        if not self.work.prompts() or not candidate.mask.any():
            return
        same = shown is not None and shown.prompts.key == candidate.prompts.key
        if shown is None or not same or candidate.downsample < shown.downsample:
            self.work.show(candidate)

    def _settled(self) -> Candidate | None:
        """The answer that is shown; a closer look at the same prompts does not take its place."""
        shown = self.work.candidate
        if shown is not None and shown.prompts.key == self.work.prompts().key:
            self._runner.cancel(SLOT)
        return shown

    def _on_hovered(self, y: float, x: float) -> None:
        slide, segmenter = self._session.slide, self.segmenter.ready
        prompts = with_point(self.work.prompts(), y, x, self.positive)
        says_where = prompts.box is not None or bool(prompts.positive.any())
        if slide is None or segmenter is None or "points" not in segmenter.answers:
            return
        if says_where and not self._runner.busy(SLOT):
            downsample = view_downsample(self._viewer, slide)
            size = self.work.expected(downsample)
            self._hover.move(Hovered(slide, segmenter, prompts, downsample, size))

    def _on_preview(self, candidate: Candidate) -> None:
        if not self._runner.busy(SLOT):
            self.work.preview(candidate)
            self.previewed.emit()

    def _on_left(self) -> None:
        self._hover.leave()
        self.work.end_preview()

    def _ready(self, kind: str) -> PromptLayers | None:
        layers = self.work.open()
        if layers is None:
            notify.tell(
                "Open a slide first."
                if self._session.slide is None
                else "Choose a project folder in the step Slide first: objects are kept there."
            )
            return None
        if refusal := self.segmenter.refusal(kind):
            notify.tell(refusal)
            return None
        if self.segmenter.ready is None:
            self.segmenter.load()  # meanwhile the user moves the mouse to the object
        return layers

    def _on_loaded(self) -> None:
        self.changed.emit()
        if self.segmenter.ready is not None:
            self._at_once.answer(self.segmenter.ready)
        if self._then is not None:
            self.with_segmenter(self._then)

    def _on_annotations(self, *_: object) -> None:
        self.segmenter.find_weights()
        self._runner.cancel(SLOT)
        self._hover.leave()
        self._at_once.cancel()
        self._then = None
        self.work.close()
        self.changed.emit()

    def _on_prompted(self) -> None:
        if self.work.prompts():
            self.segment()
        else:
            self.clear()


def _said_of(layer: AnnotationLayer, number: int) -> Job[tuple[int, Prompts]]:
    yield Progress(0, 1, "reading the object")
    return number, prompts_of(layer, number)

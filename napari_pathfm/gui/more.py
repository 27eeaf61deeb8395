"""More from one click: segment everything here, find more like an object."""

from __future__ import annotations

from functools import partial
from typing import Any

from app_model.types import KeyCode
from napari import Viewer
from qtpy.QtCore import QObject, Signal

from ..analysis.crop import Box
from ..analysis.everything import find_everything, keep_everything
from ..analysis.found_objects import FoundObjects
from ..analysis.more_like import Like, more_like
from ..analysis.proposals import Wanted
from ..core.jobs import Job
from ..core.slide import Slide
from ..io.masks import AnnotationLayer
from ..models.base import Segmenter
from ..session import Session
from . import notify
from .annotate import EditWindow
from .candidate_queue import CandidateQueue
from .keys import Keys
from .prompting import Prompting
from .runner import Runner
from .view import visible_region

EVERYTHING, LIKE = "everything", "more like this"


class More(QObject):
    """Starts the two jobs, and takes what they find if the layer is still the same.

    Parameters
    ----------
    viewer : Viewer
    session : Session
    runner : Runner
    edit_window : EditWindow
        Knows the chosen object and the class of the next ones.
    prompting : Prompting
        Has the segmenter.

    Attributes
    ----------
    queue : CandidateQueue
        Where the user accepts or rejects what resembles an object.
    whole : bool
        Whether the whole slide is searched, or what is in view.
    """

    found = Signal(object)
    """How many objects “Everything here” has made."""

    def __init__(
        self,
        viewer: Viewer,
        session: Session,
        runner: Runner,
        edit_window: EditWindow,
        prompting: Prompting,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self._viewer, self._session, self._runner = viewer, session, runner
        self._edits, self._prompting = edit_window, prompting
        self.queue = CandidateQueue(viewer, session, edit_window, self)
        self.whole = False
        self.size: float | None = None
        self.keys: Keys = {KeyCode.KeyW: self.everything, KeyCode.KeyL: self.like_this}
        edit_window.add_keys(self.keys)
        session.events.annotations.connect(self._on_annotations)

    size: float | None
    """Longer side of the objects that are meant, level-0 pixels; ``None``: as the example's."""

    @property
    def example(self) -> int:
        """The chosen object, or the newest one; 0 for none."""
        layer = self._session.annotations
        return self._edits.chosen or (layer.objects.largest_id if layer is not None else 0)

    def everything(self) -> None:
        """Segment all objects of the size of the example: one edit."""
        size = self.size or self._example_size()
        if size is None:
            notify.tell(
                "How large are the objects? Segment one of them first, or enter their size."
            )
        elif self._ready():
            self._prompting.with_segmenter(partial(self._everything, size))

    def like_this(self) -> None:
        """Look for objects that resemble the example, and ask about each of them."""
        if not self.example:
            notify.tell("Segment or choose an object first: more like it are looked for.")
        elif self._ready():
            self._prompting.with_segmenter(partial(self._like_this, self.example))

    def _everything(self, size: float, segmenter: Segmenter) -> None:
        slide, layer = self._session.slide, self._session.annotations
        if slide is None or layer is None:
            return
        job = find_everything(
            slide, segmenter, self._region(slide), Wanted(size), layer, self._session.tissue
        )
        done = partial(self._keep, layer)
        self._runner.start(job, "Segmenting everything", done, slot=EVERYTHING)

    def _keep(self, layer: AnnotationLayer, found: FoundObjects) -> None:
        project = self._session.project
        if layer is not self._session.annotations or project is None:
            return  # another slide or layer is open by now
        if not len(found):
            notify.tell(
                "No objects of this size were found: enter another size, or segment one of them "
                "first so that it is known."
            )
            return
        made: list[int] = []
        keep = partial(_keep, found, self._edits.active.id, project.author, made)
        self._edits.history.work("Segment everything", keep, lambda: self._tell(made))

    def _tell(self, made: list[int]) -> None:
        for count in made:
            what = "1 new object" if count == 1 else f"{count:,} new objects"
            notify.tell(f"{what}; Ctrl+Z takes everything of it back.")
            self.found.emit(count)

    def _like_this(self, example: int, segmenter: Segmenter) -> None:
        slide, layer = self._session.slide, self._session.annotations
        if slide is None or layer is None or example not in layer.objects:
            return
        job = more_like(slide, segmenter, layer, [example], self._region(slide))
        done = partial(self._ask, slide, layer, layer.objects[example].class_id)
        self._runner.start(job, "Looking for more like it", done, slot=LIKE)

    def _ask(self, slide: Slide, layer: AnnotationLayer, class_id: int, likes: list[Like]) -> None:
        if layer is not self._session.annotations:
            return
        if not likes:
            notify.tell(
                "Nothing like it was found: look in the whole slide, or choose another example."
            )
            return
        self._edits.active.choose(class_id)
        self.queue.fill(likes, slide)

    def _example_size(self) -> float | None:
        layer = self._session.annotations
        row = layer.objects.brief(self.example) if layer is not None else None
        if row is None:
            return self._prompting.last_size
        y0, x0, y1, x1 = row.box
        return float(max(y1 - y0, x1 - x0))

    def _region(self, slide: Slide) -> Box:
        if self.whole:
            height, width = slide.levels[0].shape
            return 0.0, 0.0, float(height), float(width)
        return visible_region(self._viewer, slide)

    def _ready(self) -> bool:
        if self._session.slide is None:
            notify.tell("Open a slide first.")
        elif self._session.annotations is None:
            notify.tell("Choose a project folder in the step Slide first: objects are kept there.")
        elif self._session.refusal:
            notify.warn(f"Nothing can be kept: {self._session.refusal}.")
        elif self._prompting.segmenter.refusal("points"):
            name = self._prompting.segmenter.name
            notify.tell(f"{name} answers boxes only: choose pathfm-click for this.")
        else:
            return True
        return False

    def _on_annotations(self, *_: object) -> None:
        self._runner.cancel(EVERYTHING)
        self._runner.cancel(LIKE)


def _keep(
    found: FoundObjects, class_id: int, author: str, made: list[int], layer: AnnotationLayer
) -> Job[Any]:
    made.append((yield from keep_everything(layer, found, class_id, author)))

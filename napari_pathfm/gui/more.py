"""More than one object: everything here, more like one, one for each box or point of a layer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

from app_model.types import KeyCode
from napari import Viewer
from napari.layers import Points, Shapes
from qtpy.QtCore import QObject, Signal

from ..analysis.crop import Box
from ..analysis.everything import find_everything, keep_everything
from ..analysis.found_objects import FoundObjects
from ..analysis.keep_objects import keep_candidates
from ..analysis.more_like import Like, more_like
from ..analysis.proposals import Wanted
from ..analysis.segment_each import SegmentedEach, segment_each
from ..core.jobs import Job
from ..core.prompts import Prompts
from ..core.slide import Slide
from ..io.masks import AnnotationLayer
from ..models.base import Segmenter
from ..session import Session
from . import notify
from .annotate import EditWindow
from .candidate_queue import CandidateQueue
from .keys import Keys
from .layer_prompts import layer_prompts
from .layers import is_overlay
from .prompting import Prompting
from .runner import Runner
from .view import view_downsample, visible_region

EVERYTHING, LIKE, EACH = "everything", "more like this", "each"

HIDDEN = "wholly beneath others"


class More(QObject):
    """Starts the three jobs, and takes what they find if the layer is still the same.

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
    """How many objects “Everything here” or “Segment each” has made."""

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
        self.keys: Keys = {
            KeyCode.KeyW: self.everything,
            KeyCode.KeyL: self.like_this,
            KeyCode.KeyU: self.each,
        }
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

    def each(self) -> None:
        """Segment an object for each shape or point of the layer that is active: one edit."""
        slide, layer = self._session.slide, self._viewer.layers.selection.active
        ours = self._prompting.work.layers
        if not self._can_keep() or slide is None:
            return
        if (
            not isinstance(layer, Points | Shapes)
            or is_overlay(layer)
            or (ours is not None and layer in ours.layers)
        ):
            notify.tell(
                "Choose a layer of boxes or points in the list of layers first: each of them "
                "becomes an object. One drawn in PathFM's own layer is segmented by S."
            )
            return
        prompts, left_out = layer_prompts(layer, slide)
        if not prompts:
            notify.tell(f"“{layer.name}” has neither a box nor a point. {_told(left_out)}".strip())
            return
        self._prompting.with_segmenter(partial(self._each, slide, prompts, left_out))

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
        keep = partial(
            keep_everything, found=found, class_id=self._edits.active.id, author=project.author
        )
        self._work("Segment everything", keep, lambda count: "")

    def _each(
        self, slide: Slide, prompts: list[Prompts], left_out: Counter[str], segmenter: Segmenter
    ) -> None:
        layer = self._session.annotations
        if layer is None or slide is not self._session.slide:
            return
        over = self._prompting.work.overwrite
        job = segment_each(
            slide,
            prompts,
            segmenter,
            view_downsample(self._viewer, slide),
            self.size or self._example_size(),
            None if over else layer,
        )
        done = partial(self._keep_each, layer, left_out, over)
        self._runner.start(job, "Segmenting each", done, slot=EACH)

    def _keep_each(
        self, layer: AnnotationLayer, left_out: Counter[str], over: bool, found: SegmentedEach
    ) -> None:
        project, total = self._session.project, len(found.candidates)
        if layer is not self._session.annotations or project is None:
            return  # another slide or layer is open by now
        left_out = left_out + found.left_out
        if not total:
            notify.tell(f"No object was made. {_told(left_out)}")
            return
        text = "segment each (1 object)" if total == 1 else f"segment each ({total:,} objects)"
        keep = partial(
            keep_candidates,
            candidates=found.candidates,
            class_id=self._edits.active.id,
            author=project.author,
            text=text,
            overwrite=over,
        )
        self._work("Segment each", keep, lambda made: _told(left_out + _hidden(total - made)))

    def _work(
        self,
        title: str,
        keep: Callable[[AnnotationLayer], Job[int]],
        more: Callable[[int], str],
    ) -> None:
        """Make objects, after all edits before, and tell how many; `more` says what else."""
        made: list[int] = []

        def write(layer: AnnotationLayer) -> Job[None]:
            made.append((yield from keep(layer)))

        def done() -> None:
            (count,) = made
            what = "1 new object" if count == 1 else f"{count:,} new objects"
            notify.tell(f"{what}; Ctrl+Z takes everything of it back. {more(count)}".strip())
            self.found.emit(count)

        self._edits.history.work(title, write, done)

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
            return self._prompting.work.size
        y0, x0, y1, x1 = row.box
        return float(max(y1 - y0, x1 - x0))

    def _region(self, slide: Slide) -> Box:
        if self.whole:
            height, width = slide.levels[0].shape
            return 0.0, 0.0, float(height), float(width)
        return visible_region(self._viewer, slide)

    def _ready(self) -> bool:
        if not self._can_keep():
            return False
        if self._prompting.segmenter.refusal("points"):
            name = self._prompting.segmenter.name
            notify.tell(f"{name} answers boxes only: choose pathfm-click for this.")
            return False
        return True

    def _can_keep(self) -> bool:
        if self._session.slide is None:
            notify.tell("Open a slide first.")
        elif self._session.annotations is None:
            notify.tell("Choose a project folder in the step Slide first: objects are kept there.")
        elif self._session.refusal:
            notify.warn(f"Nothing can be kept: {self._session.refusal}.")
        else:
            return True
        return False

    def _on_annotations(self, *_: object) -> None:
        self._runner.cancel(EVERYTHING)
        self._runner.cancel(LIKE)
        self._runner.cancel(EACH)


def _hidden(count: int) -> Counter[str]:
    return Counter({HIDDEN: count} if count else {})


def _told(left_out: Counter[str]) -> str:
    """Say what became no object, and why; empty for nothing."""
    reasons = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    return f"Left out: {reasons}." if reasons else ""

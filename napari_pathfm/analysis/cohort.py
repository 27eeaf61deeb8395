"""Embed many slides, one after the other; the next one is prepared while one is embedded.

What has become of a slide is not written down anywhere: its embeddings say it
(:func:`stored_state`), so that it cannot be wrong, and a run that was stopped goes on where it was.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

from ..core.inference import InferenceQueue
from ..core.jobs import Job, Progress
from ..core.slide import SlideError
from ..core.threads import be_polite
from ..io.project import Project, ProjectError
from ..io.store import stored_features
from ..models.base import Encoder, EncoderSpec
from .embed_slide import EmbeddedSlide, EmbedTask, PreparedSlide, embed_slide, prepare
from .first_tiles import read_first

T = TypeVar("T")

FAILURES = (SlideError, ValueError, ProjectError, OSError)
"""What may be wrong with one slide; all else would be wrong with the next one, too."""


class State(StrEnum):
    """What becomes of a slide."""

    WAITING = "waiting"
    READING = "reading"
    EMBEDDING = "embedding"
    DONE = "done"
    STORED = "from the store"
    FAILED = "failed"


@dataclass(frozen=True)
class SlideState:
    """How far a slide of a cohort is; it can be sent between processes.

    Attributes
    ----------
    number : int
        Of the slide in its cohort.
    task : EmbedTask
    state : State
    progress : Progress
        Of the tiles, while it is embedded.
    result : EmbeddedSlide or None
        When it is done, or all was in the store.
    reason : str
        Why it failed.
    """

    number: int
    task: EmbedTask
    state: State = State.WAITING
    progress: Progress = field(default_factory=lambda: Progress(0, 0))
    result: EmbeddedSlide | None = None
    reason: str = ""

    @property
    def ended(self) -> bool:
        """Whether nothing more becomes of it."""
        return self.state in (State.DONE, State.STORED, State.FAILED)

    def failed(self, reason: object) -> SlideState:
        """Return what has become of it when it failed."""
        return replace(self, state=State.FAILED, reason=str(reason))


Show = Callable[[SlideState], None]
"""Is told of each change of a slide, in the thread of the job."""


class Cohort:
    """The states of all slides of a run.

    Parameters
    ----------
    tasks : iterable of EmbedTask
    show : callable, optional
        Is told of each change, too.

    Attributes
    ----------
    states : list of SlideState
    """

    def __init__(self, tasks: Iterable[EmbedTask], show: Show | None = None) -> None:
        self.states = [SlideState(number, task) for number, task in enumerate(tasks)]
        self._show = show

    def note(self, state: SlideState) -> None:
        """Take notice of a change."""
        self.states[state.number] = state
        if self._show is not None:
            self._show(state)

    def progress(self) -> Progress:
        """Return how far the whole run is."""
        busy = [each for each in self.states if each.state is State.EMBEDDING]
        text = "; ".join(f"{each.task.name}: {each.progress.text}" for each in busy)
        ended = sum(each.ended for each in self.states)
        return Progress(ended, len(self.states), text or "Reading slides", "slides")


def embed_cohort(
    tasks: Iterable[EmbedTask],
    encoder: Encoder,
    project: Project,
    show: Show | None = None,
    queue: InferenceQueue | None = None,
) -> Job[tuple[SlideState, ...]]:
    """Embed slides into a project.

    One that cannot be embedded is passed over with its reason. What the store has already is not
    computed again; what was done when the job is closed is kept.

    Parameters
    ----------
    tasks : iterable of EmbedTask
        All of the same encoder.
    encoder : Encoder
    project : Project
    show : callable, optional
        Is told of each change of a slide, in the thread of the job.
    queue : InferenceQueue, optional
        Where the network runs; that of the encoder's device if absent.

    Returns
    -------
    tuple of SlideState
        How all of them ended.

    Raises
    ------
    ModelError
        The device has not enough memory for a single tile, or does not answer any more.
    """
    cohort = Cohort(tasks, show)
    waiting = iter(tuple(cohort.states))
    with closing(embed_in_turn(waiting, encoder, project, cohort.note, queue)) as job:
        for _ in job:
            yield cohort.progress()
    return tuple(cohort.states)


def embed_in_turn(
    waiting: Iterator[SlideState],
    encoder: Encoder,
    project: Project,
    show: Show,
    queue: InferenceQueue | None = None,
) -> Job[None]:
    """Embed slides that are taken from an iterator whenever there is time to prepare one more.

    Parameters and errors are those of :func:`embed_cohort`.
    """
    ahead = _Ahead(encoder.spec, project, show)
    try:
        ahead.start(next(waiting, None))
        while (reading := ahead.take()) is not None:
            state, prepared = reading
            try:
                while not prepared.done():
                    wait([prepared], 0.1)
                    yield Progress(0, 0, f"{state.task.name}: reading")
                found = prepared.result()
            except FAILURES as error:
                ahead.start(next(waiting, None))
                show(state.failed(error))
                continue
            with found.slide:
                ahead.start(next(waiting, None))
                yield from _embed(state, found, encoder, project, show, queue)
    finally:
        ahead.stop()


def _embed(
    state: SlideState,
    prepared: PreparedSlide,
    encoder: Encoder,
    project: Project,
    show: Show,
    queue: InferenceQueue | None,
) -> Job[None]:
    def shown(progress: Progress) -> None:
        show(replace(state, state=State.EMBEDDING, progress=progress))

    try:
        shown(Progress(0, len(prepared.grid), "beginning", "tiles"))
        job = embed_slide(state.task, encoder, project, prepared, queue)
        made = yield from _told(job, shown)
    except FAILURES as error:
        show(state.failed(error))
    else:
        ending = State.STORED if made.from_store else State.DONE
        show(replace(state, state=ending, result=made))


def _told(job: Job[T], shown: Callable[[Progress], None]) -> Job[T]:
    with closing(job):
        while True:
            try:
                progress = next(job)
            except StopIteration as end:
                result: T = end.value
                return result
            shown(progress)
            yield progress


class _Ahead:
    """Prepares the next slide in a thread of its own, up to its first tiles."""

    def __init__(self, encoder: EncoderSpec, project: Project, show: Show) -> None:
        self._encoder, self._project, self._show = encoder, project, show
        self._threads = ThreadPoolExecutor(1, "prepare", initializer=be_polite)
        self._stopped = threading.Event()
        self._next: tuple[SlideState, Future[PreparedSlide]] | None = None
        self._latest: deque[Future[PreparedSlide]] = deque(maxlen=2)

    def start(self, state: SlideState | None) -> None:
        """Begin with a slide, if there is one."""
        if state is not None:
            self._show(replace(state, state=State.READING))
            self._next = state, self._threads.submit(self._prepare, state.task)
            self._latest.append(self._next[1])

    def take(self) -> tuple[SlideState, Future[PreparedSlide]] | None:
        """Return the slide that was begun with."""
        taken, self._next = self._next, None
        return taken

    def stop(self) -> None:
        """Stop after the step that is under way."""
        self._stopped.set()
        self._threads.shutdown(cancel_futures=True)
        for prepared in self._latest:
            if not prepared.cancelled() and prepared.exception() is None:
                prepared.result().slide.close()

    def _prepare(self, task: EmbedTask) -> PreparedSlide:
        with closing(prepare(task, self._encoder)) as job:
            while not self._stopped.is_set():
                try:
                    next(job)
                except StopIteration as end:
                    return self._begun(end.value)
        raise CancelledError

    def _begun(self, prepared: PreparedSlide) -> PreparedSlide:
        """Read the first tiles, too, of a slide of which nothing is embedded yet."""
        slide, grid = prepared.slide, prepared.grid
        _, known, _ = stored_state(self._project, slide.id, self._encoder.name)
        if known or not len(grid) or self._stopped.is_set():
            return prepared
        try:
            return replace(prepared, first=read_first(slide, grid))
        except SlideError:
            return prepared  # whatever can be read is embedded before that is told


def stored_state(project: Project, slide_id: str, encoder: str) -> tuple[State, int, int]:
    """Say what a project has of a slide: whether all is done, vectors, and tiles of their grid.

    Of several grids the one with most vectors counts, and none that was imported; nothing of an
    encoder is :attr:`State.WAITING`, and so is a part.
    """
    found = [
        each
        for each in stored_features(project.slide_store(slide_id))
        if each.key.encoder == encoder and each.count and not each.key.imported
    ]
    if not found:
        return State.WAITING, 0, 0
    most = max(found, key=lambda each: each.count)
    return State.DONE if most.count == most.total else State.WAITING, most.count, most.total

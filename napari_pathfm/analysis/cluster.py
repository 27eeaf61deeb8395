"""Embed many slides on many machines: workers of dask.distributed embed parts of slides.

A slide is first looked at by a worker, which finds its tiles, then embedded in parts by whoever is
free. Workers keep parts as files (:mod:`.cluster_work`); only this process writes to the project,
into which it takes them up one by one. Parts that nobody has taken up, since it was stopped, are
taken up by the next run.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..core.jobs import Job, Progress
from ..io.errors import ProjectError
from ..io.parts import Parts, part_name
from ..io.project import Project
from ..io.store import FeatureStore, stored_features
from ..models.base import ModelError
from .cluster_tasks import Cluster, reason
from .cluster_work import SlidePlan, embed_part, plan_slide
from .cohort import FAILURES, Cohort, Show, SlideState, State
from .embed_slide import EmbeddedSlide, EmbedTask
from .from_store import look_in_project

PART_TILES = 2048
"""Tiles that a worker embeds at a time: what is computed again when it is killed."""


class NotSharedError(ProjectError):
    """What workers have made cannot be seen from here."""


def embed_on_cluster(
    tasks: Iterable[EmbedTask],
    client: Any,
    project: Project,
    place: str | None = None,
    show: Show | None = None,
    part_tiles: int = PART_TILES,
) -> Job[tuple[SlideState, ...]]:
    """Embed slides as :func:`~.cohort.embed_cohort` does, on the workers of a scheduler.

    Parameters
    ----------
    tasks : iterable of EmbedTask
        All of the same encoder. Workers must find the slides by the same paths, and the weights.
    client : distributed.Client
    project : Project
    place : str, optional
        Where workers leave what they have made: a folder that they share with this computer, or
        ``s3://bucket/prefix``; ``parts`` in the project if absent.
    show : callable, optional
        Is told of each change of a slide, in the thread of the job.
    part_tiles : int
        Tiles of a part.

    Returns
    -------
    tuple of SlideState
        How all of them ended. What fails :data:`~.cluster_tasks.TRIES` times has failed; so has a
        slide at which workers end again and again.

    Raises
    ------
    ModelError
        A worker cannot load the encoder.
    NotSharedError
        Workers keep parts in another place than the one that is seen from here.
    ConnectionError
        The scheduler does not answer any more.
    """
    cohort = Cohort((_for_all(task, project) for task in tasks), show)
    place = _absolute(place or str(project.folder / "parts"))
    run = _Run(cohort, client, project, place, part_tiles)
    try:
        while run.busy:
            run.submit()
            yield run.progress()
            run.take()
    finally:
        run.stop()
    return tuple(cohort.states)


class _Run:
    """Hands out work to the cluster and takes up what comes back."""

    def __init__(
        self, cohort: Cohort, client: Any, project: Project, place: str, part_tiles: int
    ) -> None:
        self._cohort, self._project = cohort, project
        self._place, self._part_tiles = place, part_tiles
        self._cluster = Cluster(client)
        known = {row.id: row.mpp for row in project.slides()}
        # A task of its own, so that every worker gets it once, and again when one has ended.
        self._known = client.submit(dict, known, pure=False)
        self._waiting = deque(cohort.states)
        self._slides: dict[int, _Slide] = {}

    @property
    def busy(self) -> bool:
        """Whether a slide has not ended."""
        return bool(self._waiting or self._slides)

    def progress(self) -> Progress:
        """Return how far the whole run is."""
        progress = self._cohort.progress()
        if self._cluster.workers:
            return progress
        return replace(progress, text="Waiting for workers")

    def submit(self) -> None:
        """Hand out as much as the workers can do; first what is left of slides begun with."""
        room = self._cluster.room()
        for slide in self._slides.values():
            while room > 0 and slide.todo:
                tiles = slide.todo.popleft()
                args = slide.task, slide.future, tiles, self._place
                slide.at_work.add(self._cluster.submit(slide.number, embed_part, *args, part=tiles))
                room -= 1
        while room > 0 and self._waiting:
            state = self._waiting.popleft()
            self._cohort.note(replace(state, state=State.READING))
            future = self._cluster.submit(state.number, plan_slide, state.task, self._known)
            self._slides[state.number] = _Slide(state, future)
            room -= 1

    def take(self) -> None:
        """Wait a little for something to be done, and take it up."""
        ended = self._cluster.next()
        if ended is None or ended[0] not in self._slides:
            return
        number, part, future = ended
        slide = self._slides[number]
        slide.at_work.discard(future)
        error = future.exception()
        if isinstance(error, ModelError) and part is None:
            raise error  # nobody could do better with the next slide
        if error is not None:
            self._fail(slide, reason(error))
            return
        try:
            if part is None:
                self._begin(slide, future.result())
            else:
                slide.take_up(part_name(part))
            self._note(slide)
        except NotSharedError:
            raise
        except FAILURES as error:
            self._fail(slide, str(error))

    def stop(self) -> None:
        """Take back what was handed out."""
        self._cluster.stop()

    def _begin(self, slide: _Slide, plan: SlidePlan) -> None:
        if not self._project.read_only:
            self._project.add_slide(plan.slide)
        store = FeatureStore(self._project.slide_store(plan.slide.id), plan.key, plan.grid)
        found = look_in_project(
            self._project, plan.slide.path, plan.grid, plan.key.encoder, plan.key
        )
        slide.remarks = tuple(filter(None, (*plan.remarks, found.difference)))
        slide.begin(plan, store, Parts(self._place, plan.slide.id, plan.group), self._part_tiles)

    def _note(self, slide: _Slide) -> None:
        if slide.todo or slide.at_work:
            self._cohort.note(
                replace(slide.state, state=State.EMBEDDING, progress=slide.progress())
            )
            return
        made = slide.finish()
        del self._slides[slide.number]
        ending = State.DONE if made.computed else State.STORED
        self._cohort.note(replace(slide.state, state=ending, result=made))

    def _fail(self, slide: _Slide, reason: str) -> None:
        del self._slides[slide.number]
        self._cluster.cancel(slide.at_work)
        self._cohort.note(slide.state.failed(reason))


class _Slide:
    """A slide that the cluster is at."""

    def __init__(self, state: SlideState, future: Any) -> None:
        self.state, self.future = state, future
        self.number, self.task = state.number, state.task
        self.todo: deque[NDArray[np.int64]] = deque()
        self.at_work: set[Any] = {future}
        self.remarks: tuple[str, ...] = ()

    def begin(self, plan: SlidePlan, store: FeatureStore, parts: Parts, part_tiles: int) -> None:
        """Take up what was left by an earlier run, and cut the rest into parts."""
        if not len(plan.grid):
            raise ValueError(
                "It has no tiles: there is no tissue, or tiles are larger than it. Ask for smaller "
                "tiles, or for less tissue in each."
            )
        self.plan, self._store, self._parts, self._start = plan, store, parts, time.monotonic()
        self._before = store.count
        for name in parts.names():
            with suppress(ValueError):  # a damaged one is made again
                self.take_up(name)
        rest = np.setdiff1d(np.arange(len(plan.grid)), store.tiles)
        cuts = range(part_tiles, len(rest), part_tiles)
        self.todo.extend(part for part in np.split(rest, cuts) if len(part))

    def take_up(self, name: str) -> None:
        """Bring a part into the store; tiles that it has already stay as they are."""
        try:
            made = self._parts.read(name)
        except FileNotFoundError as error:
            raise NotSharedError(
                f"A worker has kept a part that is not seen from here: {error.filename or error}. "
                "Name a place with --results that all computers share."
            ) from error
        except ValueError:
            self._parts.remove(name)
            raise
        with self._store.lock():
            new = ~np.isin(made.tiles, self._store.tiles)
            self._store.append(made.tiles[new], made.vectors[new], made.key.precision)
        self._parts.remove(name)

    def progress(self) -> Progress:
        """Return how many tiles are in the store."""
        text = f"parts at work: {len(self.at_work)}"
        return Progress(self._store.count, len(self.plan.grid), text, "tiles")

    def finish(self) -> EmbeddedSlide:
        """Leave nothing behind; what has become of the slide."""
        self._parts.clear()
        stored = {each.name: each for each in stored_features(self._store.path)}[self._store.name]
        seconds, plan = time.monotonic() - self._start, self.plan
        return EmbeddedSlide(
            plan.slide,
            stored.key,
            plan.grid.hash,
            stored.count,
            stored.count - self._before,
            stored.dim,
            seconds,
            self.remarks,
        )


def _for_all(task: EmbedTask, project: Project) -> EmbedTask:
    """Return a task whose paths say the same on other computers, wherever a worker was started."""
    weights = task.weights and Path(task.weights).absolute()
    return replace(task, slide=_absolute(task.slide), project=project.folder, weights=weights)


def _absolute(place: str) -> str:
    return place if "://" in place else str(Path(place).expanduser().absolute())

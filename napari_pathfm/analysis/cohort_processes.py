"""Embed many slides in several processes, each with an encoder of its own: one for each card.

The calling process owns the project and hands out slides one by one; the others write nothing but
the embeddings of their slides, each under its own lock. Every process has a pipe of its own, so
that one that is killed breaks nobody else's.
"""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from multiprocessing import connection, get_context
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnContext
from typing import Any

from ..core.jobs import Job, run
from ..core.threads import cores, share_cores
from ..io.project import Project, ProjectError, open_or_read
from ..models.base import ModelError
from .cohort import Cohort, Show, SlideState, State, embed_in_turn
from .embed_slide import EmbedTask, load_encoder

LOOK_SECONDS = 0.2
"""How often somebody may cancel."""

STOP_SECONDS = 20.0
"""A process that was told to stop is given so long to keep what it has."""


def embed_in_processes(
    tasks: Sequence[EmbedTask],
    project: Project,
    jobs: int,
    devices: Sequence[str] = (),
    show: Show | None = None,
) -> Job[tuple[SlideState, ...]]:
    """Embed slides as :func:`~.cohort.embed_cohort` does, in `jobs` processes at the same time.

    Parameters
    ----------
    tasks : sequence of EmbedTask
        All of the same encoder, whose weights should be on this computer already.
    project : Project
    jobs : int
        The cores are shared out among them.
    devices : sequence of str, optional
        Each process takes one of them in turn; that of its tasks if there is none.
    show : callable, optional
        Is told of each change of a slide, in the thread of the job.

    Returns
    -------
    tuple of SlideState
        How all of them ended. A slide in whose hands a process ended has failed.

    Raises
    ------
    ModelError
        The encoder cannot be loaded, or a device does not answer any more.
    """
    cohort = Cohort(tasks, show)
    jobs = min(jobs, len(tasks))
    waiting = deque(cohort.states)
    context = get_context("spawn")
    places: list[str | None] = [devices[n % len(devices)] if devices else None for n in range(jobs)]
    workers = [_Worker(context, cohort, waiting, place, jobs) for place in places if waiting]
    try:
        while workers:
            yield cohort.progress()
            ready = connection.wait([each.pipe for each in workers], LOOK_SECONDS)
            for worker in [each for each in workers if each.pipe in ready]:
                if not worker.listen(project):
                    workers.remove(worker)
                    worker.stop()
                    if waiting:
                        place = worker.device
                        workers.append(_Worker(context, cohort, waiting, place, jobs))
    finally:
        for worker in workers:
            worker.ask_to_stop()
        for worker in workers:
            worker.stop()
    return tuple(cohort.states)


class _Worker:
    """A process, as the one sees it that hands out the slides."""

    def __init__(
        self,
        context: SpawnContext,
        cohort: Cohort,
        waiting: deque[SlideState],
        device: str | None,
        jobs: int,
    ) -> None:
        self.device = device
        self._cohort, self._waiting = cohort, waiting
        self._mine: dict[int, SlideState] = {}
        self.pipe, theirs = context.Pipe()
        first = self._on_device(waiting[0]).task
        self._process = context.Process(target=_work, args=(theirs, first, jobs), daemon=True)
        self._process.start()
        theirs.close()

    def listen(self, project: Project) -> bool:
        """Take one message; whether the process lives on."""
        try:
            message: Any = self.pipe.recv()
        except (EOFError, OSError):
            self._ended()
            return False
        if isinstance(message, Exception):
            raise message
        if message is None:
            self._give()
        else:
            self._note(message, project)
        return True

    def ask_to_stop(self) -> None:
        """Let it keep what it has, and end: nobody listens any more."""
        self.pipe.close()

    def stop(self) -> None:
        """Wait until it has ended."""
        self._process.join(STOP_SECONDS)
        if self._process.is_alive():
            self._process.terminate()
            self._process.join()
        self.pipe.close()

    def _on_device(self, state: SlideState) -> SlideState:
        if self.device is None:
            return state
        return replace(state, task=replace(state.task, device=self.device))

    def _give(self) -> None:
        state = self._on_device(self._waiting.popleft()) if self._waiting else None
        if state is not None:
            self._mine[state.number] = state
        with suppress(OSError):  # it is gone, which the next message will say
            self.pipe.send(state)

    def _note(self, state: SlideState, project: Project) -> None:
        self._mine[state.number] = state
        if state.ended:
            del self._mine[state.number]
        if state.result is not None and not project.read_only:
            project.add_slide(state.result.slide)
        self._cohort.note(state)

    def _ended(self) -> None:
        """Say which slide it was at; another that it had begun to read is read by somebody else."""
        self._process.join(STOP_SECONDS)
        code = self._process.exitcode
        if not self._mine and not code:
            return
        if not self._mine:
            raise ModelError(
                f"A process ended before it had loaded the encoder (exit code {code}). Is there "
                "enough memory for so many? Try fewer with --jobs."
            )
        at_work = [each for each in self._mine.values() if each.state is State.EMBEDDING]
        failed = at_work or list(self._mine.values())
        for state in self._mine.values():
            if state in failed:
                why = f"the process that embedded it ended (exit code {code}); run it again"
                self._cohort.note(state.failed(why))
            else:
                again = replace(state, state=State.WAITING)
                self._waiting.appendleft(again)
                self._cohort.note(again)


def _work(pipe: Connection, first: EmbedTask, jobs: int) -> None:
    """Embed the slides that come through a pipe, in a process of its own."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl+C is for the process that hands out
    share_cores(jobs)
    import torch

    torch.set_num_threads(cores())
    with suppress(BrokenPipeError, EOFError):  # the other one is gone
        try:
            encoder = run(load_encoder(first))
            with open_or_read(first.project) as project:
                job = embed_in_turn(_asked(pipe), encoder, project, pipe.send)
                with closing(job):
                    for _ in job:
                        if pipe.poll():
                            return  # the other end was closed
        except (ModelError, ProjectError) as error:
            pipe.send(error)


def _asked(pipe: Connection) -> Iterator[SlideState]:
    while True:
        pipe.send(None)
        state: SlideState | None = pipe.recv()
        if state is None:
            return
        yield state

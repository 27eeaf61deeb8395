"""Annotation layers: a pyramid of object ids with a table of objects, edited through a journal.

An edit goes journal first, in one transaction; then its chunks, then the coarser levels of those
chunks, then the number of the last applied operation. Whatever moment the process is killed at,
opening the layer again finishes what the journal holds.
"""

from __future__ import annotations

import contextlib
import threading
import warnings
import weakref
from collections.abc import Callable, Iterable
from typing import ClassVar, Literal
from weakref import WeakKeyDictionary, WeakValueDictionary

import numpy as np
from psygnal import Signal

from ..core.edits import CHUNK, Edit, ObjectRow
from ..core.jobs import Job, Progress, run
from ..core.memory import give_back
from ..core.objects import RowChanges
from .chunks import PackedChange, packed
from .errors import ProjectError, explained
from .journal import Journal, Operation
from .layer_names import check_name, masks_folder, register, rename, staging_folder
from .layer_view import LayerView
from .mask_pyramid import ChunkPyramid
from .project import Project
from .steps import HistoryStep, Steps
from .tally import union
from .waiting import HandStroke, WaitingStrokes

__all__ = ["AnnotationLayer", "HandStroke", "HistoryStep"]

LARGE = 16
"""A stroke over more chunks is kept before it is worked out."""


class AnnotationLayer(LayerView):
    """One annotation layer of one slide. Use :meth:`open`.

    All methods may be called from any thread; edits wait for one another, reading does not wait.

    Attributes
    ----------
    name : str
    slide_id : str
    shape : tuple of int
        ``(height, width)`` of level 0.
    levels : tuple of tuple of int
        ``(height, width)`` of each level; a level is every second pixel of the one before.
    changed : Signal
        Fired with the level-0 box ``(y0, x0, y1, x1)`` in which pixels have changed.
    table_changed : Signal
        Fired when rows of :attr:`objects` have changed.
    """

    changed: ClassVar[Signal] = Signal(tuple)
    table_changed: ClassVar[Signal] = Signal()

    def __init__(self, project: Project, slide_id: str, name: str, shape: tuple[int, int]) -> None:
        self.slide_id = slide_id
        self._keep_under(project, name)
        pyramid = ChunkPyramid(
            masks_folder(project, slide_id, name),
            staging_folder(project, slide_id, name),
            shape,
            self._journal.newest_chunk,
            project.read_only,
        )
        super().__init__(project, name, shape, pyramid, self._journal.objects())
        self._noting = threading.Lock()
        self._note_steps()
        self._next_id = max(self._journal.largest_id(), self._objects.largest_id) + 1
        self._ready = self._behind = False
        self._numbering = threading.Lock()
        project.class_book.changed.connect(self._on_classes)

    @classmethod
    def open(
        cls, project: Project, slide_id: str, name: str, shape: tuple[int, int]
    ) -> AnnotationLayer:
        """Open a layer, or make a new one.

        The same object is returned while somebody holds it. What a kill has interrupted is
        finished first; else no work for chunks is done.

        Parameters
        ----------
        project : Project
        slide_id : str
        name : str
            "regions", "nuclei", ...
        shape : tuple of int
            ``(height, width)`` of the slide's level 0.

        Raises
        ------
        ProjectError
            The name cannot be used, the layer has another shape, or it cannot be written.
        """
        return run(cls.open_job(project, slide_id, name, shape))

    @classmethod
    def open_job(
        cls, project: Project, slide_id: str, name: str, shape: tuple[int, int]
    ) -> Job[AnnotationLayer]:
        """:meth:`open` with progress; what is not finished when it is closed is done next time."""
        check_name(name)
        shape = (int(shape[0]), int(shape[1]))
        with _opening:
            register(project, slide_id, name, shape)
            opened = _layers.setdefault(project, WeakValueDictionary())
            layer = opened.get((slide_id, name))
            if layer is None:
                layer = opened[slide_id, name] = cls(project, slide_id, name, shape)
        yield from layer._prepare()
        layer._note_steps()  # edits of other layers may have dropped class edits
        return layer

    def _prepare(self) -> Job[None]:
        with self._writing:
            if self._ready:
                return
            with explained(f"The annotation layer {self.name} cannot be opened"):
                if not self._project.read_only:
                    if not self._pyramid.complete:
                        # Its folder is new, or somebody has deleted it: the journal has it all.
                        self._journal.mark_applied(0)
                    self._pyramid.create()
                yield from self._replay(self._journal.pending())
            if not self._project.read_only:
                yield from self._draw_waiting()
            self._ready = True

    def _draw_waiting(self) -> Job[None]:
        # What was on screen when the program was killed.
        try:
            for number, stroke in self._strokes.all():
                yield from self.stroke_job(stroke, number)
        except ProjectError as error:
            warnings.warn(f"{error} A stroke waits until the layer is opened again.", stacklevel=2)

    def _take_stock(self) -> None:
        self._objects = self._journal.objects()
        self._note_steps()

    def _note_steps(self) -> None:
        # One at a time, so that what was read last stays.
        with self._noting:
            self._last_done = self._steps.last_done()
            self._first_undone = self._steps.first_undone()

    def _on_classes(self) -> None:
        self._note_steps()
        self.table_changed.emit()

    def _keep_under(self, project: Project, name: str) -> None:
        key = (project.database, self.slide_id, name)
        self._journal, self._steps, self._strokes = Journal(*key), Steps(*key), WaitingStrokes(*key)

    def rename(self, name: str) -> None:
        """Give the layer another name; its history goes along.

        Raises
        ------
        ProjectError
            The name cannot be used or is taken, or the project cannot be written.
        """
        project, slide_id = self._project, self.slide_id
        with self._writing, _opening:
            self._catch_up("The layer could not be renamed")
            rename(project, slide_id, self.name, name)
            opened = _layers[project]
            opened[slide_id, name] = opened.pop((slide_id, self.name))
            self.name = name
            self._keep_under(project, name)
            try:
                self._pyramid.move(
                    masks_folder(project, slide_id, name), staging_folder(project, slide_id, name)
                )
            except OSError as error:
                warnings.warn(
                    f"The folder of the layer {name} keeps its old name until the layer is opened "
                    f"again ({error}).",
                    stacklevel=2,
                )

    def new_id(self) -> int:
        """Return an id that no object has or had.

        Raises
        ------
        ValueError
            All 2**32 - 1 ids are used.
        """
        return self.new_ids(1)[0]

    def new_ids(self, count: int) -> range:
        """Return so many ids, one after the other, that no object has or had.

        Raises
        ------
        ValueError
            There are not so many left of 2**32 - 1.
        """
        # A lock of its own: the window must not wait for what is being written.
        with self._numbering:
            if self._next_id + count > 1 << 32:
                raise ValueError("this layer has no free id left: make another layer")
            self._next_id += count
            return range(self._next_id - count, self._next_id)

    def commit(self, edit: Edit) -> None:
        """Do an edit and keep it, whole or not at all.

        Raises
        ------
        ValueError
            It belongs to another layer, or the layer has changed since it was made.
        ProjectError
            The project is read-only, the disk is full, ...: everything is as before, and the same
            edit can be committed again.
        """
        run(self.commit_job(edit))

    def is_large(self, stroke: HandStroke) -> bool:
        """Whether a stroke takes long to write, so that :meth:`keep_stroke` is worth its while."""
        y0, x0, y1, x1 = stroke.paint.box(self.shape)
        return (y1 - y0) * (x1 - x0) > LARGE * CHUNK**2

    def keep_stroke(self, stroke: HandStroke) -> int:
        """Keep a stroke that is going to be written, so that a kill does not lose it.

        Returns
        -------
        int
            Its number, for :meth:`stroke_job` or :meth:`drop_stroke`.

        Raises
        ------
        ProjectError
            The disk is full, ...
        """
        return self._strokes.keep(stroke)

    def drop_stroke(self, number: int) -> None:
        """Forget a stroke that was kept: it was taken back before it was written."""
        self._strokes.drop(number)

    def stroke_job(self, stroke: HandStroke, number: int = 0) -> Job[None]:
        """Draw a stroke and keep it as an edit; closing the job leaves everything as before.

        Parameters
        ----------
        stroke : HandStroke
        number : int
            Under which it was kept; 0 if it was not.
        """
        with self._writing:
            new = {
                number: ObjectRow(number, stroke.class_id, how="brush")
                for number in np.unique(stroke.paint.ids[stroke.paint.mask]).tolist()
                if number and number not in self._objects
            }
            edit = yield from self.edit_job([stroke.paint], stroke.text, new, by_hand=True)
            if edit:
                yield from self.commit_job(edit, number)
            elif number:
                self._strokes.drop(number)

    def commit_job(self, edit: Edit, stroke: int = 0) -> Job[None]:
        """Do an edit with progress; closing the job before its end leaves everything as before.

        `stroke` is the number of the kept stroke that it draws, if any.
        """
        if not edit:
            return
        if edit.layer != self.name:
            raise ValueError(f"this edit belongs to the layer {edit.layer!r}, not {self.name!r}")
        with self._writing:
            self._catch_up("The edit could not be saved")
            changes = tuple(packed(change) for change in edit.chunks)
            rows = edit.rows
            yield from self._check_fresh(changes, rows)
            yield from self._apply(
                changes,
                rows,
                lambda: self._journal.record(edit, changes, self._project.author, stroke),
            )

    def undo(self) -> HistoryStep | None:
        """Take the last step back and return it; ``None`` if there is none.

        It may be a change of the project's classes, which stand in the history of each layer.

        Raises
        ------
        ProjectError
            As for :meth:`commit`.
        """
        return run(self.undo_job())

    def redo(self) -> HistoryStep | None:
        """Do the step again that was undone last and return it; ``None`` if there is none."""
        return run(self.redo_job())

    def undo_job(self) -> Job[HistoryStep | None]:
        """:meth:`undo` with progress."""
        with self._writing:
            self._catch_up("The undo could not be saved")
            return (yield from self._switch(self._steps.last_done(), "undo"))

    def redo_job(self) -> Job[HistoryStep | None]:
        """:meth:`redo` with progress."""
        with self._writing:
            self._catch_up("The redo could not be saved")
            return (yield from self._switch(self._steps.first_undone(), "redo"))

    def go_to_job(self, number: int) -> Job[None]:
        """Undo or redo until a step is the last one that is done; each on its own.

        Closing the job leaves the steps that were taken.

        Parameters
        ----------
        number : int
            :attr:`HistoryStep.number`; 0 to take everything back.
        """
        total = self._steps.distance(number)
        for taken in range(total):
            last, first = self._last_done, self._first_undone
            if last is not None and last.number > number:
                step, job = last, self.undo_job()
            elif first is not None and first.number <= number:
                step, job = first, self.redo_job()
            else:
                return
            yield Progress(taken, total, step.text, "steps")
            with contextlib.closing(job):
                for _ in job:
                    yield Progress(taken, total, step.text, "steps")

    def _switch(
        self, step: HistoryStep | None, direction: Literal["undo", "redo"]
    ) -> Job[HistoryStep | None]:
        if step is None:
            return None
        if step.of_classes:
            self._project.class_book.switch(step.number, direction)
            return step
        edit = self._journal.load(step.number)
        if direction == "undo":
            edit = edit.inverse()
        rows = edit.rows
        yield from self._apply(
            _packed(edit),
            rows,
            lambda: self._journal.switch(step.number, direction, rows),
        )
        return step

    def history(self) -> list[HistoryStep]:
        """Return all steps, oldest first, with the changes of the project's classes."""
        return self._steps.history()

    def history_page(self, before: int | None, length: int) -> list[HistoryStep]:
        """Return steps older than the step `before`, or the newest (``None``); newest first."""
        return self._steps.page(before, length)

    @property
    def last_done(self) -> HistoryStep | None:
        """What :meth:`undo` would take back; known at once, also while an edit is written."""
        return self._last_done

    @property
    def first_undone(self) -> HistoryStep | None:
        """What :meth:`redo` would do again; known at once, also while an edit is written."""
        return self._first_undone

    def _apply(
        self,
        changes: tuple[PackedChange, ...],
        rows: RowChanges,
        record: Callable[[], Operation],
    ) -> Job[None]:
        with explained("The edit could not be saved"):
            staged = yield from self._pyramid.stage(changes, len(changes))
            try:
                operation = record()
            except BaseException:
                self._pyramid.discard(staged)
                raise
        # Whatever happens from here on (Ctrl+C in a script), the journal has the edit: it is
        # written before the next one, or when the layer is opened again.
        self._behind = True
        self._note_steps()
        self._update_table(rows)
        try:
            with explained("The pixels of an edit could not be written"):
                self._pyramid.publish(staged)
                self._journal.mark_applied(operation.number)
            self._behind = False
        except (ProjectError, OSError) as error:
            warnings.warn(f"{error} The edit itself is safe in the journal.", stacklevel=2)
        self._tell(changes, bool(rows))
        if len(changes) > LARGE:
            give_back()

    def _update_table(self, rows: RowChanges) -> None:
        if not rows:
            return
        # A new one each time: another thread may be walking over the old one.
        self._objects = self._objects.with_changes(rows)
        with self._numbering:
            self._next_id = max(self._next_id, int(rows.ids[-1]) + 1)

    def _tell(self, changes: tuple[PackedChange, ...], table: bool) -> None:
        if table:
            self.table_changed.emit()
        if changes:
            box = None
            for change in changes:
                y, x = change.row * CHUNK, change.col * CHUNK
                edge = (min(y + CHUNK, self.shape[0]), min(x + CHUNK, self.shape[1]))
                box = union(box, (y, x, *edge))
            self.changed.emit(box)

    def _catch_up(self, action: str) -> None:
        if self._project.read_only:
            raise ProjectError(
                f"{action}: the project is open for reading only. Close it where it is being "
                "written, or copy it to a place where you may write, and open it again."
            )
        if self._behind:
            with explained(action):
                run(self._replay(self._journal.pending()))
                self._take_stock()
            self._behind = False

    def _replay(self, operations: Iterable[Operation]) -> Job[None]:
        for operation in operations:
            edit = self._journal.load(operation.edit)
            changes = _packed(edit.inverse() if operation.direction == "undo" else edit)
            staged = yield from self._pyramid.stage(changes, len(changes), thorough=True)
            self._pyramid.publish(staged)
            if not self._project.read_only:
                self._journal.mark_applied(operation.number)

    def _check_fresh(self, changes: tuple[PackedChange, ...], rows: RowChanges) -> Job[None]:
        fresh = self._objects.agrees(rows)
        for done, change in enumerate(changes):
            if not fresh or not self._is_before(change):
                fresh = False
                break
            yield Progress(done, len(changes), "looking at the mask", "chunks")
        if not fresh:
            raise ValueError("the layer has changed since this edit was made: make it again")

    def _is_before(self, change: PackedChange) -> bool:
        if self._pyramid.blob(0, change.row, change.col) == change.before_blob:
            return True
        # The same pixels may have been compressed by another version.
        now, before = self._pyramid.chunk(0, change.row, change.col), change.before
        if now is None or before is None:
            return now is before
        return np.array_equal(now, before)

    def __repr__(self) -> str:
        return f"AnnotationLayer({self.name!r}, shape={self.shape}, objects={len(self._objects)})"


_layers: WeakKeyDictionary[Project, WeakValueDictionary[tuple[str, str], AnnotationLayer]] = (
    weakref.WeakKeyDictionary()
)
_opening = threading.Lock()


def _packed(edit: Edit) -> tuple[PackedChange, ...]:
    return tuple(packed(change) for change in edit.chunks)

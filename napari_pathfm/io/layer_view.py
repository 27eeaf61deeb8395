"""What an annotation layer holds, and edits of it that are not yet made: nothing changes here."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..core.edits import CHUNK, ChunkChange, Edit, ObjectRow
from ..core.jobs import Job, Progress, run
from ..core.objects import BOX, ObjectArray, RowChanges
from .chunks import Chunk, Ids, chunks_in, chunks_of
from .mask_pyramid import ChunkPyramid
from .objects import ObjectTable
from .painting import Eraser, Paint, changes_of
from .project import Project
from .tally import Tally


class LayerView:
    """An annotation layer as it is now, and the edits that would change it.

    Parameters
    ----------
    project : Project
    name : str
    shape : tuple of int
        ``(height, width)`` of level 0.
    pyramid : ChunkPyramid
    objects : ObjectTable
        With classes as they were given.
    """

    def __init__(
        self,
        project: Project,
        name: str,
        shape: tuple[int, int],
        pyramid: ChunkPyramid,
        objects: ObjectTable,
    ) -> None:
        self.name, self.shape = name, shape
        self.levels = pyramid.shapes
        self._project, self._pyramid, self._objects = project, pyramid, objects
        self._writing = threading.RLock()

    @property
    def objects(self) -> ObjectTable:
        """The table of objects by id as it is now; never changes, so it can be walked over.

        Classes are what they have become by now; edits hold them as they were given.
        """
        return self._objects.seen(self._project.class_book.now.lookup)

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Ids:
        """Read a region.

        Parameters
        ----------
        level : int
            Index into :attr:`levels`.
        y, x, height, width : int
            In pixels of that level; may reach over the edges.

        Returns
        -------
        ndarray
            ``(height, width)`` uint32 object ids, 0 outside the layer.
        """
        out = np.zeros((height, width), np.uint32)
        rows, cols = self.levels[level]
        y0, x0, y1, x1 = max(0, y), max(0, x), min(y + height, rows), min(x + width, cols)
        for row, col in chunks_in(y0, x0, y1, x1) if y0 < y1 and x0 < x1 else ():
            chunk = self._pyramid.chunk(level, row, col)
            if chunk is None:
                continue
            top, left = row * CHUNK, col * CHUNK
            a, b = max(top, y0), max(left, x0)
            c, d = min(top + CHUNK, y1), min(left + CHUNK, x1)
            out[a - y : c - y, b - x : d - x] = chunk[a - top : c - top, b - left : d - left]
        return out

    def paint_edit(
        self,
        y: int,
        x: int,
        ids: NDArray[np.integer],
        mask: NDArray[np.bool_] | None,
        text: str,
        rows: Mapping[int, ObjectRow] | ObjectArray = MappingProxyType({}),
        level: int = 0,
        by_hand: bool = False,
    ) -> Edit:
        """Make the edit that draws ids into a region; nothing is changed yet.

        Parameters
        ----------
        y, x : int
            Upper left corner, in pixels of `level`; may lie outside.
        ids : ndarray
            ``(h, w)`` object ids, 0 to erase; pixels of `level`.
        mask : ndarray or None
            ``(h, w)`` bool: where to draw; everywhere if ``None``.
        text : str
            For the history.
        rows : mapping or ObjectArray
            Describes new objects by id; area and box are filled in. An id without a row gets one
            with ``how="brush"``.
        level : int
            Level that is painted; coarser ones are enlarged by ``2**level``.
        by_hand : bool
            Whether objects that a model has made and that are touched count as corrected.

        Returns
        -------
        Edit
            Empty (false) if no pixel would change.

        Raises
        ------
        ValueError
            The shapes disagree, there is no such level, or an id is out of range.
        """
        if not 0 <= level < len(self.levels):
            raise ValueError(f"level must lie between 0 and {len(self.levels) - 1}, not {level}")
        paint = Paint.of(y, x, ids, mask, 2**level)
        return run(self.edit_job([paint], text, rows, by_hand=by_hand))

    def edit_job(
        self,
        paints: Iterable[Paint],
        text: str,
        rows: Mapping[int, ObjectRow] | ObjectArray = MappingProxyType({}),
        total: int = 0,
        by_hand: bool = False,
    ) -> Job[Edit]:
        """Make one edit of many paints, for an import; nothing is changed yet.

        Parameters
        ----------
        paints : iterable of Paint
            No chunk may be touched by two of them. They are taken one by one, and what they
            change is held compressed, so that there may be a million objects in them.
        text, rows, by_hand
            As for :meth:`paint_edit`.
        total : int
            How many paints there are, for the progress; 0 while nobody knows.

        Raises
        ------
        ValueError
            Two of them touch the same chunk.
        """
        described = _described(rows)
        tally = Tally()
        chunks: list[ChunkChange] = []
        seen: set[tuple[int, int]] = set()
        with self._writing:
            for done, paint in enumerate(paints):
                yield Progress(done, total, text)
                for change in changes_of(paint, self.shape, self._level0, tally):
                    if (change.row, change.col) in seen:
                        raise ValueError("two paints of one edit touch the same chunk")
                    seen.add((change.row, change.col))
                    chunks.append(change)
            objects = tally.changes(self._objects, described, self._project.author, by_hand)
        return Edit(self.name, text, tuple(chunks), objects)

    def delete_edit(self, ids: Iterable[int]) -> Edit:
        """Make the edit that deletes objects.

        Raises
        ------
        ValueError
            There is no such object.
        """
        return run(self.delete_job(ids))

    def delete_job(self, ids: Iterable[int]) -> Job[Edit]:
        """:meth:`delete_edit` with progress."""
        doomed = self._select(ids)
        return (yield from self._inherit_job(doomed, 0, f"delete {_counted(doomed)}"))

    def merge_edit(self, ids: Iterable[int]) -> Edit:
        """Make the edit that makes one object of several: the largest takes the others' pixels.

        Raises
        ------
        ValueError
            There is no such object, or fewer than two.
        """
        together = self._select(ids)
        if len(together) < 2:
            raise ValueError("Choose two objects or more to make one of them.")
        heir = int(together.ids[together.rows["area"].argmax()])
        others = together.pick(together.ids != heir)
        return run(self._inherit_job(others, heir, f"merge {len(together)} objects", True))

    def _inherit_job(
        self, doomed: ObjectArray, heir: int, text: str, by_hand: bool = False
    ) -> Job[Edit]:
        eraser = Eraser(doomed.ids, heir)
        places = [
            (int(row), int(col))
            for row, col in chunks_of(np.stack([doomed.rows[side] for side in BOX], 1))
        ]
        paints = (eraser.paint(place, self._level0(*place).ids) for place in places)
        return (yield from self.edit_job(paints, text, total=len(places), by_hand=by_hand))

    def class_edit(self, ids: Iterable[int], class_id: int) -> Edit:
        """Make the edit that gives objects a class; 0 takes it away.

        Raises
        ------
        ValueError
            There is no such object, or no such class is possible.
        """
        if not 0 <= class_id <= 254:
            raise ValueError(f"a class id lies between 0 and 254, not {class_id}")
        now = self._project.class_book.now.lookup
        rows = self._select(ids)
        rows = rows.pick(now[rows.rows["class_id"]] != class_id)
        changes = RowChanges(rows, rows.with_(class_id=class_id))
        return Edit(self.name, f"class {class_id} for {_counted(rows)}", (), changes)

    def _level0(self, row: int, col: int) -> Chunk:
        return self._pyramid.level0(row, col)

    def _select(self, ids: Iterable[int]) -> ObjectArray:
        try:
            return self._objects.select(ids)
        except KeyError as error:
            raise ValueError(f"the layer {self.name!r} has no object {error}") from error


def _counted(rows: ObjectArray) -> str:
    return f"object {rows.ids[0]}" if len(rows) == 1 else f"{len(rows)} objects"


def _described(rows: Mapping[int, ObjectRow] | ObjectArray) -> ObjectArray:
    if isinstance(rows, ObjectArray):
        return rows
    return ObjectArray.of(row.with_(id=number) for number, row in rows.items())

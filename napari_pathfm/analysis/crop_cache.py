"""What a segmenter saw in its crops: the encoder runs once a crop.

A :class:`CropCache` keeps its answers in memory while the next clicks stay in the same place, and,
with a :class:`~napari_pathfm.analysis.crop_store.CropStore`, on disk for later.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..core.prompts import Prompts
from ..models.base import ImageEmbedding, Segmentation
from .crop import Box, Crop, Square
from .crop_store import CropStore, Origin


@dataclass(eq=False)
class Seen:
    """A crop that a segmenter has encoded; its answers are made on the inference thread.

    Attributes
    ----------
    crop : Square
        Where it lies.
    embedding : ImageEmbedding
    logits : dict
        What it answered best to prompts, ``(1, p, p)`` float32 by :attr:`Prompts.key`: the
        next click corrects it.
    latest : tuple or None
        What was asked last, as :attr:`Prompts.key`, and the answer: the click comes where the mask
        under the pointer has just been shown.
    kept : bool
        Whether it is on disk, or on its way.
    """

    crop: Square
    embedding: ImageEmbedding
    logits: dict[bytes, NDArray[np.float32]] = field(default_factory=dict)
    latest: tuple[bytes, Segmentation] | None = None
    kept: bool = False


class CropCache:
    """What segmenters' encoders saw lately: least recently used out first.

    May be used from any thread.

    Parameters
    ----------
    limit : int
        Number of crops kept in memory (4 MB each with SAM, 17 with SAM 2).
    store : CropStore, optional
        Where they are kept on disk; nowhere if absent.
    """

    def __init__(self, limit: int = 12, store: CropStore | None = None) -> None:
        self._limit, self._store = limit, store
        self._lock = threading.Lock()
        self._seen: OrderedDict[tuple[Origin, Square], Seen] = OrderedDict()

    def __len__(self) -> int:
        return len(self._seen)

    def put(self, origin: Origin, crop: Crop, embedding: ImageEmbedding) -> Seen:
        """Remember an encoded crop; :meth:`keep` puts it on disk."""
        return self._remember(origin, Seen(crop.square, embedding))

    def keep(self, origin: Origin, seen: Seen) -> None:
        """Have a crop written to disk, unless it is there; returns at once."""
        if self._store is not None and not seen.kept:
            seen.kept = True
            self._store.keep(origin, seen.crop, seen.embedding)

    def knows(self, origin: Origin, prompts: Prompts, side: float) -> bool:
        """Whether prompts are answered at once, if roughly at first; never waits for the disk.

        Parameters are those of :meth:`find`. There is a crop in memory that shows them at least
        from afar, or one on disk that suits. What is on disk from before is known once
        :meth:`find` has looked there.
        """
        extent = prompts.extent
        on_disk = () if self._store is None else self._store.squares(origin)
        known = any(square.suits(extent, side) for square in on_disk)
        return known or self.rough(origin, prompts, side) is not None

    def find(self, origin: Origin, prompts: Prompts, side: float) -> Seen | None:
        """Return the newest crop that still suits, or ``None``; may read it, so not in the window.

        Parameters
        ----------
        origin : Origin
        prompts : Prompts
            Level-0 pixels; must lie well inside the crop.
        side : float
            Side of the square that would be looked at, level-0 pixels; the crop's own must not
            differ by more than a factor of 2.
        """
        extent = prompts.extent
        return self._remembered(origin, extent, side) or self._read(origin, extent, side)

    def rough(self, origin: Origin, prompts: Prompts, side: float) -> Seen | None:
        """Return the crop in memory that comes nearest to `side`, and shows the prompts at all.

        Parameters are those of :meth:`find`; the crop may be :data:`~.crop.ROUGH` times as large.
        """
        extent = prompts.extent
        with self._lock:
            hints = [
                (abs(square.side - side), number, (whose, square))
                for number, (whose, square) in enumerate(self._seen)
                if whose == origin and square.hints(extent, side)
            ]
            if not hints:
                return None
            *_, key = min(hints)
            self._seen.move_to_end(key)
            return self._seen[key]

    def clear(self) -> None:
        """Forget everything that is in memory."""
        with self._lock:
            self._seen.clear()

    def _remembered(self, origin: Origin, extent: Box, side: float) -> Seen | None:
        with self._lock:
            for key, seen in reversed(self._seen.items()):
                if key[0] == origin and seen.crop.suits(extent, side):
                    self._seen.move_to_end(key)
                    return seen
        return None

    def _read(self, origin: Origin, extent: Box, side: float) -> Seen | None:
        if self._store is None:
            return None
        self._store.look()
        for square in self._store.squares(origin):
            if square.suits(extent, side):
                embedding = self._store.read(origin, square)
                if embedding is not None:
                    return self._remember(origin, Seen(square, embedding, kept=True))
        return None

    def _remember(self, origin: Origin, seen: Seen) -> Seen:
        key = (origin, seen.crop)
        with self._lock:
            # Two threads may have read the same one: the answers of the first count.
            seen = self._seen.setdefault(key, seen)
            self._seen.move_to_end(key)
            while len(self._seen) > self._limit:
                self._seen.popitem(last=False)
        return seen

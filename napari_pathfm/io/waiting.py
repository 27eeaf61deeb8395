"""Strokes that take long to write, kept beside the journal until they are edits of it.

A stroke made far out covers thousands of chunks and takes seconds to become an edit. Its own
pixels are few: they are kept at once, so that a kill does not lose what was on screen.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from .chunks import DTYPE, ZSTD_LEVEL
from .database import Database
from .painting import Paint


@dataclass(frozen=True, eq=False)
class HandStroke:
    """One stroke of a hand.

    Attributes
    ----------
    paint : Paint
    text : str
        For the history.
    class_id : int
        Class of the objects that it makes.
    """

    paint: Paint
    text: str
    class_id: int = 0


class WaitingStrokes:
    """Strokes of one layer that wait in the project's database.

    Parameters
    ----------
    database : Database
    slide_id : str
    layer : str
        Name of the layer.
    """

    def __init__(self, database: Database, slide_id: str, layer: str) -> None:
        self._database = database
        self._key = (slide_id, layer)

    def keep(self, stroke: HandStroke) -> int:
        """Write a stroke; return its number.

        Raises
        ------
        ProjectError
            The disk is full, ...
        """
        with self._database.transaction("The stroke could not be saved") as database:
            return database.execute(
                "INSERT INTO waiting_strokes (slide_id, layer, stroke) VALUES (?, ?, ?)",
                (*self._key, _pack(stroke)),
            )

    def drop(self, number: int) -> None:
        """Forget a stroke: it is an edit now, or was taken back.

        Raises
        ------
        ProjectError
            The project cannot be written.
        """
        with self._database.transaction("The stroke could not be forgotten") as database:
            drop(database, number)

    def any(self) -> bool:
        """Whether there is one."""
        rows = self._database.rows(
            "SELECT 1 FROM waiting_strokes WHERE slide_id = ? AND layer = ? LIMIT 1", self._key
        )
        return bool(rows)

    def all(self) -> list[tuple[int, HandStroke]]:
        """Return the strokes and their numbers, oldest first."""
        rows = self._database.rows(
            "SELECT number, stroke FROM waiting_strokes WHERE slide_id = ? AND layer = ? "
            "ORDER BY number",
            self._key,
        )
        return [(number, _unpack(blob)) for number, blob in rows]


def drop(database: Database, number: int) -> None:
    """Forget a stroke inside a transaction."""
    database.execute("DELETE FROM waiting_strokes WHERE number = ?", (number,))


def _pack(stroke: HandStroke) -> bytes:
    import imagecodecs

    paint = stroke.paint
    header = {
        "text": stroke.text,
        "class_id": stroke.class_id,
        "y": paint.y,
        "x": paint.x,
        "shape": paint.ids.shape,
        "factor": paint.factor,
    }
    ids = np.where(paint.mask, paint.ids, np.uint32(0)).astype(DTYPE)
    raw = b"".join(
        (json.dumps(header).encode(), b"\n", np.packbits(paint.mask).tobytes(), ids.tobytes())
    )
    return bytes(imagecodecs.zstd_encode(raw, level=ZSTD_LEVEL))


def _unpack(blob: bytes) -> HandStroke:
    import imagecodecs

    raw = bytes(imagecodecs.zstd_decode(blob))
    end = raw.index(b"\n")
    header = json.loads(raw[:end])
    height, width = header["shape"]
    bits = -(-height * width // 8)
    packed = np.frombuffer(raw, np.uint8, bits, end + 1)
    mask = np.unpackbits(packed, count=height * width).astype(bool).reshape(height, width)
    ids = np.frombuffer(raw, DTYPE, offset=end + 1 + bits).reshape(height, width)
    paint = Paint.of(header["y"], header["x"], ids, mask, header["factor"])
    return HandStroke(paint, header["text"], header["class_id"])

"""The directories of a TIFF, looked at before a library does.

tifffile follows a circle of them for ever, and OpenSlide believes whatever tiles they claim.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Protocol

from ...core.slide import SlideError

ORDERS = {b"II": "<", b"MM": ">"}
CLASSIC, BIG = 42, 43

TILE_WIDTH, TILE_LENGTH = 322, 323

WHOLE_CLASSIC = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
WHOLE = {**WHOLE_CLASSIC, 16: "Q", 17: "q"}
"""Types of whole numbers that stand in the entry itself."""

MOST_ENTRIES = 4096
"""That are looked at in a directory; those of slides have some dozens."""


class Bytes(Protocol):
    """A file that is read by offset."""

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes."""


def check_chain(file: Bytes) -> None:
    """Follow the links from directory to directory; files that are no TIFF have none.

    Raises
    ------
    SlideError
        They lead back to a directory that was already there.
    """
    for _ in _directories(file):
        pass


def tile_sizes(file: Bytes) -> Iterator[tuple[int, int]]:
    """Yield height and width of the tiles that each directory of a TIFF claims, 0 for strips.

    Raises
    ------
    SlideError
        The list of directories does not end.
    """
    for order, version, at, entries in _directories(file):
        size, value, kinds = (20, 12, WHOLE) if version == BIG else (12, 8, WHOLE_CLASSIC)
        data = file.read(at, min(entries, MOST_ENTRIES) * size)
        found = {TILE_LENGTH: 0, TILE_WIDTH: 0}
        for entry in range(0, len(data) - size + 1, size):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag in found and kind in kinds:
                (found[tag],) = struct.unpack_from(order + kinds[kind], data, entry + value)
        yield found[TILE_LENGTH], found[TILE_WIDTH]


def _directories(file: Bytes) -> Iterator[tuple[str, int, int, int]]:
    """Yield byte order, version, place of the first entry and number of entries of each."""
    head = file.read(0, 16)
    order = ORDERS.get(head[:2])
    if order is None or len(head) < 16:
        return
    version = struct.unpack_from(order + "H", head, 2)[0]
    if version not in (CLASSIC, BIG):
        return
    count, entry, link, first = ("Q", 20, "Q", 8) if version == BIG else ("H", 12, "I", 4)
    (at,) = struct.unpack_from(order + link, head, first)
    seen: set[int] = set()
    while at:
        if at in seen:
            raise SlideError("its list of levels runs in a circle")
        seen.add(at)
        entries = _number(file, at, order + count)
        start = at + struct.calcsize(order + count)
        yield order, version, start, entries
        at = _number(file, start + entries * entry, order + link)


def _number(file: Bytes, at: int, form: str) -> int:
    size = struct.calcsize(form)
    data = file.read(at, size) if at < 2**63 else b""
    return int(struct.unpack(form, data)[0]) if len(data) == size else 0

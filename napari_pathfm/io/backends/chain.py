"""Whether the list of directories of a TIFF ends: tifffile follows a circle for ever."""

from __future__ import annotations

import struct
from typing import Protocol

from ...core.slide import SlideError

ORDERS = {b"II": "<", b"MM": ">"}
CLASSIC, BIG = 42, 43


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
        at = _number(file, at + struct.calcsize(order + count) + entries * entry, order + link)


def _number(file: Bytes, at: int, form: str) -> int:
    size = struct.calcsize(form)
    data = file.read(at, size) if at < 2**63 else b""
    return int(struct.unpack(form, data)[0]) if len(data) == size else 0

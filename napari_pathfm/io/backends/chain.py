"""The directories of a TIFF, looked at before a library does.

tifffile follows a circle of them for ever, and OpenSlide believes whatever tiles they claim.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ...core.slide import SlideError

ORDERS = {b"II": "<", b"MM": ">"}
CLASSIC, BIG = 42, 43

WIDTH, LENGTH, TILE_WIDTH, TILE_LENGTH, TILE_OFFSETS, TILE_BYTES = 256, 257, 322, 323, 324, 325

LONGEST = 2**24
"""Pixels along a side of an image that may be true: more than a whole glass at 0.01 um."""

WHOLE_CLASSIC = {1: "B", 3: "H", 4: "I", 6: "b", 8: "h", 9: "i"}
WHOLE = {**WHOLE_CLASSIC, 16: "Q", 17: "q"}
"""Types of whole numbers that stand in the entry itself."""

MOST_TILES = 2**22
"""Of an image whose lengths are looked at."""

MOST_ENTRIES = 4096
"""That are looked at in a directory; those of slides have some dozens."""


class Bytes(Protocol):
    """A file that is read by offset."""

    def read(self, offset: int, count: int) -> bytes:
        """Return up to `count` bytes."""


@dataclass(frozen=True)
class Directory:
    """What a directory says of its image, in pixels; 0 for what it does not say (strips).

    Attributes
    ----------
    height, width : int
    tile_height, tile_width : int
    tiles : int
        How many there are.
    longest : int
        Bytes of the longest of them in the file.
    """

    height: int
    width: int
    tile_height: int
    tile_width: int
    tiles: int
    longest: int

    @property
    def complete(self) -> bool:
        """Whether there are as many tiles as its size needs; strips are."""
        return not self._tiled or self.tiles == self._needed

    @property
    def lacking(self) -> bool:
        """Whether there are fewer tiles than its size needs; strips are not."""
        return self._tiled and self.tiles < self._needed

    @property
    def _tiled(self) -> bool:
        return bool(self.tile_height and self.tile_width)

    @property
    def _needed(self) -> int:
        return -(-self.height // self.tile_height) * -(-self.width // self.tile_width)


def check_chain(file: Bytes) -> None:
    """Follow the links from directory to directory; files that are no TIFF have none.

    Raises
    ------
    SlideError
        They lead back to a directory that was already there, or an image has an absurd size.
    """
    for image in directories(file):
        if not (0 <= image.height <= LONGEST and 0 <= image.width <= LONGEST):
            raise SlideError(
                f"one of its images claims to be {image.height} x {image.width} pixels large"
            )


def directories(file: Bytes) -> Iterator[Directory]:
    """Yield what each directory of a TIFF claims; nothing for files that are no TIFF.

    Raises
    ------
    SlideError
        The list of directories does not end.
    """
    for order, version, at, entries in _directories(file):
        big = version == BIG
        size, value, kinds = (20, 12, WHOLE) if big else (12, 8, WHOLE_CLASSIC)
        data = file.read(at, min(entries, MOST_ENTRIES) * size)
        found = dict.fromkeys((LENGTH, WIDTH, TILE_LENGTH, TILE_WIDTH), 0)
        tiles = longest = 0
        for entry in range(0, len(data) - size + 1, size):
            tag, kind = struct.unpack_from(order + "HH", data, entry)
            if tag == TILE_OFFSETS:
                (tiles,) = struct.unpack_from(order + ("Q" if big else "I"), data, entry + 4)
            elif tag == TILE_BYTES:
                longest = _largest(file, data[entry : entry + size], order, big)
            elif tag in found and kind in kinds:
                (found[tag],) = struct.unpack_from(order + kinds[kind], data, entry + value)
        sides = found[LENGTH], found[WIDTH], found[TILE_LENGTH], found[TILE_WIDTH]
        yield Directory(*sides, tiles, longest)


def _largest(file: Bytes, entry: bytes, order: str, big: bool) -> int:
    """Return the largest number of a list of whole numbers, which may stand in the entry itself."""
    kind, count = struct.unpack_from(order + ("HQ" if big else "HI"), entry, 2)
    if kind not in WHOLE or not count:
        return 0
    form = "Q" if big else "I"
    value = 12 if big else 8
    bytes_each = struct.calcsize(WHOLE[kind])
    needed = min(count, MOST_TILES) * bytes_each
    if needed <= len(entry) - value:
        data = entry[value : value + needed]
    else:
        (at,) = struct.unpack_from(order + form, entry, value)
        data = file.read(at, needed) if at < 2**63 else b""
    whole = len(data) - len(data) % bytes_each
    numbers = np.frombuffer(data[:whole], np.dtype(order + WHOLE[kind]))
    return int(numbers.max(initial=0))


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

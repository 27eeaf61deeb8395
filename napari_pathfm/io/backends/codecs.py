"""Sizes that compressed images claim, looked at before a codec gets the memory for them."""

from __future__ import annotations

import struct

LARGEST_PIECE = 32 * 1024**2
"""Pixels of a tile or strip; random access in larger ones costs seconds a segment."""

JPEG_START = b"\xff\xd8"
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
"""Markers of frame headers; the three are tables and reserved ones."""
JPEG_BARE = {0x01, *range(0xD0, 0xD8), 0xFF}
"""Markers without a length."""

JPEG2000_SIZE = b"\xff\x4f\xff\x51"
JPEG2000_HEAD = 1024
"""Bytes in which the codestream begins, be it bare or in a JP2 file."""


def claimed_shape(data: bytes) -> tuple[int, int] | None:
    """Return height and width that a JPEG or JPEG 2000 claims, ``None`` if it is neither."""
    if data[:2] == JPEG_START:
        return _jpeg_shape(data)
    start = data.find(JPEG2000_SIZE, 0, JPEG2000_HEAD)
    if start < 0 or len(data) < start + 24:
        return None
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    return bottom - top, right - left


def check_claim(data: bytes) -> None:
    """Make sure that a piece of an image does not claim more pixels than one has.

    Raises
    ------
    ValueError
        It does.
    """
    claimed = claimed_shape(data)
    if claimed is not None and not 0 <= claimed[0] * claimed[1] <= LARGEST_PIECE:
        raise ValueError(f"it claims to be {claimed[0]} x {claimed[1]} pixels large")


def _jpeg_shape(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 <= len(data):
        if data[at] != 0xFF:  # what libjpeg skips as well
            at += 1
        elif data[at + 1] in JPEG_FRAMES:
            height, width = struct.unpack_from(">HH", data, at + 5)
            return height, width
        elif data[at + 1] in JPEG_BARE:
            at += 1 if data[at + 1] == 0xFF else 2
        else:
            at += 2 + struct.unpack_from(">H", data, at + 2)[0]
    return None

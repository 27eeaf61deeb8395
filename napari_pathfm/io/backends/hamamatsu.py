"""What a Hamamatsu VMS slide claims, looked at before OpenSlide does.

OpenSlide takes it for granted that its JPEGs fit together, and ends the process where they do not.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from ...core.slide import SlideError
from .codecs import JPEG_FRAMES

GROUP = b"[Virtual Microscope Specimen]"
LARGEST_LIST = 2**16
"""Bytes of a list of files that OpenSlide reads."""

ENTRY = re.compile(r"^\s*(\w+)\s*(\([\d,\s]*\))?\s*=\s*(.*?)\s*$", re.MULTILINE)
IMAGE, MAP = "ImageFile", "MapFile"

START, SCAN, RESTARTS = 0xD8, 0xDA, 0xDD
SEQUENTIAL = {0xC0, 0xC1, 0xC9}
"""Frames of JPEGs that can be decoded from each restart marker on."""

Tiles = tuple[int, int]
"""Down and across."""


def check_vms(path: Path) -> None:
    """Compare what a list of JPEGs and their headers claim with each other.

    What is missing or makes no sense is left to OpenSlide, which says so.

    Parameters
    ----------
    path : Path
        Any file; there is nothing to compare in what is no such list.

    Raises
    ------
    SlideError
        They do not fit together.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_LIST)
    except OSError:
        return
    if GROUP not in text:
        return
    entries = ENTRY.findall(text.decode("utf-8", errors="replace"))
    facts = {key: value for key, where, value in entries if not where}
    images = {_place(where): name for key, where, name in entries if key == IMAGE}
    claimed = _number(facts.get("NoJpegColumns", "")) * _number(facts.get("NoJpegRows", ""))
    if claimed > len(images):
        raise SlideError(f"it claims to be cut into {claimed} images and names {len(images)}")
    _tiles(path.parent / facts.get(MAP, ""))
    _check_grid(
        {(row, col): _tiles(path.parent / name) for (z, row, col), name in images.items() if not z}
    )


def _number(value: str) -> int:
    found = re.match(r"\d+", value)
    return int(found[0]) if found else 0


def _place(where: str) -> tuple[int, int, int]:
    """Return focal plane, row and column; not all of them are always written."""
    numbers = [int(number) for number in re.findall(r"\d+", where)]
    if len(numbers) < 2:
        return (numbers or [0])[0], 0, 0
    col, row = numbers[-2:]
    return (numbers[0] if len(numbers) > 2 else 0), row, col


def _tiles(path: Path) -> Tiles | None:
    """Return how many tiles there are between the restart markers of a JPEG."""
    try:
        header, size = _header(path), path.stat().st_size
        (kind,) = header.keys() & JPEG_FRAMES
        height, width, count = struct.unpack_from(">HHB", header[kind], 1)
        (restart,) = struct.unpack_from(">H", header[RESTARTS])
        sampling = [header[kind][7 + 3 * n] for n in range(count)]
        alone = header[SCAN][0] == 1
        high, wide = (8 if alone else 8 * max(n >> s & 15 for n in sampling) for s in (0, 4))
        tiles = height // high, width // (wide * restart)
    except (OSError, ValueError, KeyError, IndexError, ZeroDivisionError, struct.error):
        return None
    if kind not in SEQUENTIAL:
        raise SlideError(f"{path.name} cannot be decoded in tiles")
    if 2 * tiles[0] * tiles[1] > size:  # what a restart marker takes
        raise SlideError(f"{path.name} claims to hold {tiles[0]} x {tiles[1]} tiles")
    return tiles


def _header(path: Path) -> dict[int, bytes]:
    """Return what stands in front of the pixels of a JPEG, by marker."""
    found: dict[int, bytes] = {}
    with path.open("rb") as file:
        while SCAN not in found:
            mark, kind = file.read(2)
            if mark != 0xFF:
                raise ValueError("there is no marker")
            if kind != START:
                (size,) = struct.unpack(">H", file.read(2))
                found[kind] = file.read(max(0, size - 2))
    return found


def _check_grid(images: dict[tuple[int, int], Tiles | None]) -> None:
    """Make sure that images beside each other are as high, and those in a column as wide."""
    first = images.get((0, 0))
    for (row, col), tiles in images.items():
        left, top = images.get((row, 0)), images.get((0, col))
        if first is None or tiles is None or left is None or top is None:
            continue
        fits = tiles == (left[0], top[1]) and tiles[0] <= first[0] and tiles[1] <= first[1]
        if not fits or not all(first):
            raise SlideError(
                f"its images do not fit together: that of row {row}, column {col} claims to hold "
                f"{tiles[0]} x {tiles[1]} tiles"
            )

"""What a MIRAX slide claims, looked at before OpenSlide does.

OpenSlide believes it, and ends the process where there is not as much memory.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...core.slide import SlideError
from .chain import LONGEST
from .codecs import LARGEST_PIECE

MIRAX = ".mrxs"
"""Such a file is only a picture of the slide, which lies in a folder of the same name."""

MOST_IMAGES = 2**24
"""Of a slide: a glass of 2**20 pixels a side, in images of 256."""

ENTRY = re.compile(r"^\s*(\w+)\s*=\s*(.*?)\s*$", re.MULTILINE)
VERSION = "01.02"

PLAIN_POSITIONS, PACKED_POSITIONS = "VIMSLIDE_POSITION_BUFFER", "StitchingIntensityLayer"
POSITION = np.dtype([("flag", "u1"), ("place", "<i4", 2)])
"""Where a photo lies."""

LARGEST_POSITIONS = MOST_IMAGES * POSITION.itemsize


def check_mirax(path: Path) -> None:
    """Compare the sizes that a slide's Slidedat.ini and index claim with what there can be.

    What is missing or makes no sense is left to OpenSlide, which says so.

    Parameters
    ----------
    path : Path
        The ``.mrxs`` file.

    Raises
    ------
    SlideError
        They are too large, or do not fit together.
    """
    folder = path.with_suffix("")
    try:
        text = (folder / "Slidedat.ini").read_text("utf-8", errors="replace")
    except OSError:
        return
    facts = ENTRY.findall(text)
    images = _largest(facts, "IMAGENUMBER_X") * _largest(facts, "IMAGENUMBER_Y")
    if images > MOST_IMAGES:
        raise SlideError(f"it claims to be made of {images} images")
    height, width = _largest(facts, "DIGITIZER_HEIGHT"), _largest(facts, "DIGITIZER_WIDTH")
    if height * width > LARGEST_PIECE:
        raise SlideError(f"its images claim to be {height} x {width} pixels large")
    _check_counts(facts)
    _check_records(folder, facts)


def _largest(facts: list[tuple[str, str]], key: str) -> int:
    return max((abs(_number(value)) for name, value in facts if name == key), default=0)


def _number(value: str) -> int:
    # OpenSlide takes the whole number at the beginning of what is there, too.
    found = re.match(r"[+-]?\d+", value)
    return int(found[0]) if found else 0


def _check_counts(facts: list[tuple[str, str]]) -> None:
    """Compare numbers of things with how many are named, and of images with how they are cut."""
    names = {name for name, _ in facts}
    for key, name in (("FILE_COUNT", "FILE_{}"), ("HIER_0_COUNT", "HIER_0_VAL_{}_SECTION")):
        count = _largest(facts, key)
        if count and name.format(count - 1) not in names:
            raise SlideError(f"its {key} claims {count}, of which not all are named")
    sides = [_largest(facts, key) for key in ("IMAGENUMBER_X", "IMAGENUMBER_Y")]
    divisions = _largest(facts, "CameraImageDivisionsPerSide")
    if divisions > min(sides):
        raise SlideError(f"its {sides[1]} x {sides[0]} images claim to be photos cut {divisions}x")


def _check_records(folder: Path, facts: list[tuple[str, str]]) -> None:
    """Look up what is no image: where the photos lie, the label, ..."""
    positions = _positions(dict(facts))
    for number, path, offset, size in _records(folder, facts):
        try:
            there = path.stat().st_size
        except (OSError, ValueError):  # ValueError: no name of a file
            continue
        if not 0 <= size <= there:
            raise SlideError(f"a record of its index claims {size} bytes of {there}")
        if number in positions:
            _check_positions(path, offset, size, positions[number])


def _records(folder: Path, facts: list[tuple[str, str]]) -> Iterator[tuple[int, Path, int, int]]:
    """Yield number, file, offset and size of what is no image."""
    named = dict(facts)
    try:
        index = (folder / named.get("INDEXFILE", "")).read_bytes()
    except (OSError, ValueError):
        return
    at = len(VERSION) + len(named.get("SLIDE_ID", "").encode()) + 4
    counts = [_number(value) for name, value in facts if re.fullmatch(r"NONHIER_\d+_COUNT", name)]
    for number in range(min(sum(counts), len(index) // 4)):
        try:
            (table,) = struct.unpack_from("<i", index, at)
            (record,) = struct.unpack_from("<i", index, table + 4 * number)
            (page,) = struct.unpack_from("<i", index, record + 4)
            offset, size, file = struct.unpack_from("<3i", index, page + 16)
        except struct.error:
            continue
        yield number, folder / named.get(f"FILE_{file}", ""), offset, size


def _positions(named: dict[str, str]) -> dict[int, str]:
    """Return the numbers of the records that say where the photos lie, and how."""
    found, number = {}, 0
    for layer in range(len(named)):
        name = named.get(f"NONHIER_{layer}_NAME")
        if name in (PLAIN_POSITIONS, PACKED_POSITIONS):
            found[number] = name
        number += _number(named.get(f"NONHIER_{layer}_COUNT", ""))
    return found


def _check_positions(path: Path, offset: int, size: int, name: str) -> None:
    # OpenSlide looks for the images of a place as far around it as one lies from its own.
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(min(size, LARGEST_POSITIONS))
        if name == PACKED_POSITIONS:
            data = zlib.decompressobj().decompress(data, LARGEST_POSITIONS)
    except (OSError, ValueError, zlib.error):
        return
    places = np.frombuffer(data, POSITION, len(data) // POSITION.itemsize)["place"]
    if places.size and max(int(places.max()), -int(places.min())) > LONGEST:
        raise SlideError("some of its photos claim to lie far from the glass")

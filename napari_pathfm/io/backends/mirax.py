"""What a MIRAX slide claims, looked at before OpenSlide does.

OpenSlide believes it, and ends the process where there is not as much memory.
"""

from __future__ import annotations

import re
import struct
from pathlib import Path

from ...core.slide import SlideError
from .codecs import LARGEST_PIECE

MIRAX = ".mrxs"
"""Such a file is only a picture of the slide, which lies in a folder of the same name."""

MOST_IMAGES = 2**24
"""Of a slide: a glass of 2**20 pixels a side, in images of 256."""

ENTRY = re.compile(r"^\s*(\w+)\s*=\s*(.*?)\s*$", re.MULTILINE)
VERSION = "01.02"


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
        They are too large.
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
    _check_records(folder, facts)


def _largest(facts: list[tuple[str, str]], key: str) -> int:
    return max((abs(_number(value)) for name, value in facts if name == key), default=0)


def _number(value: str) -> int:
    # OpenSlide takes the whole number at the beginning of what is there, too.
    found = re.match(r"[+-]?\d+", value)
    return int(found[0]) if found else 0


def _check_records(folder: Path, facts: list[tuple[str, str]]) -> None:
    """Look up what is no image: where the photos lie, the label, ..."""
    named = dict(facts)
    try:
        index = (folder / named.get("INDEXFILE", "")).read_bytes()
    except OSError:
        return
    counts = [_number(value) for name, value in facts if re.fullmatch(r"NONHIER_\d+_COUNT", name)]
    at = len(VERSION) + len(named.get("SLIDE_ID", "").encode()) + 4
    for number in range(min(sum(counts), len(index) // 4)):
        try:
            (table,) = struct.unpack_from("<i", index, at)
            (record,) = struct.unpack_from("<i", index, table + 4 * number)
            (page,) = struct.unpack_from("<i", index, record + 4)
            size, file = struct.unpack_from("<2i", index, page + 20)
            there = (folder / named.get(f"FILE_{file}", "")).stat().st_size
        except (struct.error, OSError):
            continue
        if not 0 <= size <= there:
            raise SlideError(f"a record of its index claims {size} bytes of {there}")

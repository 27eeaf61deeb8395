"""Looks at damaged slides in a process of its own, one a line of its input; see test_fuzz.py."""

from __future__ import annotations

import faulthandler
import json
import logging
import resource
import sys
import threading
import time
import traceback
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from napari_pathfm.core.slide import SlideError
from napari_pathfm.io.backends import retiled
from napari_pathfm.io.cache import shared_cache
from napari_pathfm.io.live import live_levels
from napari_pathfm.io.reader import SlideReader, open_slide

MEMORY = 2 * 1024**3
REGION = 300


def examine(path: Path, intact: dict[str, int] | None = None) -> dict[str, Any]:
    """Use a slide as the window does.

    Parameters
    ----------
    path : Path
    intact : dict, optional
        Checksums by ``"level row col"`` of segments that were not damaged.

    Returns
    -------
    dict
        ``outcome``: refused, partly or opened; ``detail``: the first message.
    """
    found: list[str] = []
    try:
        slide = open_slide(path)
    except SlideError as error:
        return {"outcome": "refused", "detail": _told(error)}
    with slide:
        _facts(slide)
        for name in slide.associated_images:
            _read(found, slide.associated, name)
        for number, level in enumerate(slide.levels):
            for share in (0, 0.5, 1):
                y, x = (int(max(0, side - REGION) * share) for side in level.shape)
                _read(found, slide.read, number, y, x, *(min(REGION, s) for s in level.shape))
        _read(found, slide.thumbnail, 256)
        _live(slide, found)
        for place, checksum in (intact or {}).items():
            segment = slide.segment(*map(int, place.split()))
            assert zlib.crc32(segment) == checksum, f"other pixels at {place}"
    return {"outcome": "partly" if found else "opened", "detail": "".join(found[:1])}


def checksums(path: Path) -> dict[str, int]:
    """Return those of all segments of a slide that is whole."""
    with open_slide(path) as slide:
        places = [
            (number, row, col)
            for number, level in enumerate(slide.levels)
            for row in range(level.segments[0])
            for col in range(level.segments[1])
        ]
        return {" ".join(map(str, place)): zlib.crc32(slide.segment(*place)) for place in places}


def _facts(slide: SlideReader) -> None:
    assert all(isinstance(v, str) for item in slide.properties.items() for v in item)
    assert slide.mpp is None or 0.01 < slide.mpp <= 100
    assert len(slide.id) == 16
    for level in slide.levels:
        assert min(*level.shape, *level.tile_shape) > 0
        assert 0 < level.downsample < float("inf")


def _read(found: list[str], read: Any, *arguments: Any) -> None:
    try:
        pixels = read(*arguments)
    except SlideError as error:
        found.append(_told(error))
    else:
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 3


def _live(slide: SlideReader, found: list[str]) -> None:
    levels, loader = live_levels(slide)
    try:
        height, width = slide.levels[0].shape
        levels[0].region(0, 0, min(512, height), min(512, width))
        loader.wait(1)
    finally:
        loader.close()
    found += slide.damage.values()


def _told(error: SlideError) -> str:
    assert str(error)
    return str(error)


def _serve() -> None:
    faulthandler.enable()
    warnings.simplefilter("ignore")
    logging.disable()
    in_threads: list[str] = []
    threading.excepthook = lambda hooked: in_threads.append(
        "".join(traceback.format_exception(hooked.exc_value))
    )
    limited = False
    for line in sys.stdin:
        order = json.loads(line)
        started, wall = time.process_time(), time.monotonic()
        Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
        before = _status("VmRSS")
        try:
            if order.get("checksums"):
                answer: dict[str, Any] = {"checksums": checksums(Path(order["path"]))}
            else:
                answer = examine(Path(order["path"]), order.get("intact"))
        except Exception:  # noqa: BLE001 - whatever it is, it is a finding
            answer = {"outcome": "failed", "detail": traceback.format_exc()}
        if in_threads:
            answer = {"outcome": "failed", "detail": in_threads.pop()}
            in_threads.clear()
        answer["seconds"] = time.process_time() - started
        answer["wall"] = time.monotonic() - wall
        answer["bytes"] = _status("VmHWM") - before
        shared_cache().clear()
        retiled._kept().clear()
        if order.get("limit") and not limited:  # what is loaded by now is the baseline
            limited = True
            most = _status("VmSize") + MEMORY
            resource.setrlimit(resource.RLIMIT_AS, (most, most))
        print(json.dumps(answer), flush=True)


def _status(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


if __name__ == "__main__":
    _serve()

"""The object table, and its summary by class, as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..core.edits import AnnotationClass
from ..core.jobs import Job, Progress
from ..core.objects import BOX, WORDS, Rows
from ..io.atomic import replacing
from .find_objects import HOW, Found

BLOCK = 20_000
"""Rows between two reports of progress."""


def write_objects(
    path: str | Path, found: Found, classes: Sequence[AnnotationClass], mpp: float | None
) -> Job[Path]:
    """Write the objects that were found, one a line, in their order.

    Positions and areas are level-0 pixels; with a `mpp` the area stands there in square
    micrometres, too. An earlier file of that name is only replaced when the new one is complete.

    Raises
    ------
    OSError
        The file cannot be written there.
    """
    path = Path(path)
    names = {one.id: one.name for one in classes}
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        area = ["area (px)"] + (["area (µm²)"] if mpp else [])
        writer.writerow(
            ["id", "class", "made by", "model", "author", "score", "corrected", *area, *BOX]
        )
        for start in range(0, len(found.ids), BLOCK):
            yield Progress(start, len(found.ids), f"writing {path.name}", "objects")
            ids = found.ids[start : start + BLOCK]
            order = np.argsort(ids)
            rows, _ = found.table.find(ids[order])
            writer.writerows(_lines(rows[np.argsort(order)], names, mpp))
    return path


def write_summary(path: str | Path, lines: Sequence[Sequence[str]]) -> Path:
    """Write the lines of :func:`summary`.

    Raises
    ------
    OSError
        The file cannot be written there.
    """
    path = Path(path)
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


def summary(
    found: Found, classes: Sequence[AnnotationClass], mpp: float | None
) -> list[tuple[str, str, str]]:
    """Number and area of the objects of each class.

    Returns
    -------
    list of tuple
        Class, number, area: the head, a line for each class with objects, and the total. Areas
        are square micrometres with a `mpp` and pixels without.
    """
    unit, scale = ("µm²", mpp**2) if mpp else ("px", 1.0)
    names = {one.id: one.name for one in classes}
    order = [one.id for one in classes]
    order += [int(n) for n in np.flatnonzero(found.sums.count) if int(n) not in names]
    lines = [("class", "objects", f"area ({unit})")]
    for number in order:
        count, area = int(found.sums.count[number]), int(found.sums.area[number])
        if count:
            lines.append((names.get(number, "no class"), str(count), f"{area * scale:.0f}"))
    total = int(found.sums.area.sum()) * scale
    return [*lines, ("all", str(int(found.sums.count.sum())), f"{total:.0f}")]


def _lines(rows: Rows, names: dict[int, str], mpp: float | None) -> list[tuple[Any, ...]]:
    columns: list[list[Any]] = [
        rows["id"].tolist(),
        [names.get(number, "") for number in rows["class_id"].tolist()],
        [HOW.get(WORDS.text(code), WORDS.text(code)) for code in rows["how"].tolist()],
        [WORDS.text(code) for code in rows["model"].tolist()],
        [WORDS.text(code) for code in rows["author"].tolist()],
        [score if score >= 0 else "" for score in rows["score"].tolist()],
        ["yes" if corrected else "no" for corrected in rows["corrected"].tolist()],
        rows["area"].tolist(),
    ]
    if mpp:
        columns.append(np.round(rows["area"] * mpp**2, 3).tolist())
    columns += [rows[side].tolist() for side in BOX]
    return list(zip(*columns, strict=True))

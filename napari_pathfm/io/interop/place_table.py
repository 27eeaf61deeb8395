"""Places of objects on a slide from a CSV file: boxes or points."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...core.objects import BOX

POINT = ("y", "x")


def read_places(path: Path) -> NDArray[np.float64]:
    """Read boxes (columns ``y0``, ``x0``, ``y1``, ``x1``) or else points (``y``, ``x``).

    Other columns are passed over, so the table of objects that was saved as CSV can be read.

    Returns
    -------
    ndarray
        ``(N, 4)`` or ``(N, 2)`` float64, level-0 pixels.

    Raises
    ------
    ValueError
        It is no CSV file, has no such columns, or something in them is no number.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            rows, given = list(table), table.fieldnames or ()
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8: {error}. Save it as one.") from error
    columns = next((wanted for wanted in (BOX, POINT) if set(wanted) <= set(given)), None)
    if columns is None:
        raise ValueError(
            f"{path} has only the columns {', '.join(given) or 'none'}. Name those of boxes "
            "y0,x0,y1,x1 or those of points y,x, all in level-0 pixels."
        )
    places = np.zeros((len(rows), len(columns)))
    for number, row in enumerate(rows):
        try:
            places[number] = [float(row[column]) for column in columns]
        except (TypeError, ValueError):
            raise ValueError(
                f"{path}: row {number + 1} has no number in one of {', '.join(columns)}."
            ) from None
    if not np.isfinite(places).all():
        raise ValueError(f"{path}: a place must be a number, not nan or infinite.")
    return places

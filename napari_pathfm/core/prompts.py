"""Prompts for segmenters: points and boxes, in level-0 pixels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _empty(*shape: int) -> NDArray[Any]:
    return np.zeros(shape)


@dataclass(frozen=True, eq=False)
class Prompts:
    """What the user said about one object.

    Attributes
    ----------
    points : ndarray
        ``(K, 2)`` float64 ``(y, x)``.
    positive : ndarray
        ``(K,)`` bool: whether a point lies on the object or beside it.
    box : ndarray or None
        ``(4,)`` float64 ``(y0, x0, y1, x1)``.
    """

    points: NDArray[np.float64] = field(default_factory=lambda: _empty(0, 2))
    positive: NDArray[np.bool_] = field(default_factory=lambda: _empty(0).astype(bool))
    box: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        if np.shape(self.points) != (len(self.positive), 2):
            raise ValueError(
                f"points must be (K, 2) with one sign each, not {np.shape(self.points)} "
                f"with {len(self.positive)} signs"
            )
        if self.box is not None and (
            np.shape(self.box) != (4,) or self.box[2] <= self.box[0] or self.box[3] <= self.box[1]
        ):
            raise ValueError("a box must be (y0, x0, y1, x1) with y1 > y0 and x1 > x0")

    def __bool__(self) -> bool:
        return self.box is not None or bool(len(self.points))

    @property
    def extent(self) -> tuple[float, float, float, float]:
        """Smallest ``(y0, x0, y1, x1)`` that holds every prompt, level-0 pixels."""
        if not self:
            raise ValueError("there is no prompt yet: click on an object or draw a box")
        corners = [self.points]
        if self.box is not None:
            corners.append(np.asarray(self.box, float).reshape(2, 2))
        every = np.concatenate(corners)
        (y0, x0), (y1, x1) = every.min(0), every.max(0)
        return float(y0), float(x0), float(y1), float(x1)

    def moved(self, y: float, x: float, scale: float) -> Prompts:
        """Return the prompts in another frame: ``(position - (y, x)) * scale``.

        Used to turn level-0 pixels into pixels of a crop whose upper left corner is at
        ``(y, x)`` and which has `scale` crop pixels per level-0 pixel.
        """
        origin = np.array((y, x), float)
        box = None if self.box is None else (self.box - np.tile(origin, 2)) * scale
        return Prompts((self.points - origin) * scale, self.positive, box)

    def grown(self) -> Iterator[Prompts]:
        """Yield what was said at each moment, from the first that says where the object is.

        The box counts as said first, then the points one after the other.
        """
        first = 0 if self.box is not None else int(np.argmax(self.positive)) + 1
        for count in range(first, len(self.points) + 1):
            yield Prompts(self.points[:count], self.positive[:count], self.box)

    @property
    def key(self) -> bytes:
        """The same for equal prompts only."""
        box = b"" if self.box is None else np.asarray(self.box, float).tobytes()
        points = np.asarray(self.points, float).tobytes()
        return box + b"|" + points + np.asarray(self.positive, bool).tobytes()

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON."""
        return {
            "points": np.asarray(self.points).tolist(),
            "positive": np.asarray(self.positive).tolist(),
            "box": None if self.box is None else np.asarray(self.box).tolist(),
        }

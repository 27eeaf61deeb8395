"""Prompts for segmenters: points, boxes and earlier masks, in level-0 pixels."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def _empty(*shape: int) -> NDArray[Any]:
    return np.zeros(shape)


@dataclass(frozen=True, eq=False)
class MaskPrompt:
    """What an object is like already, for a segmenter to correct.

    Attributes
    ----------
    mask : ndarray
        ``(h, w)`` bool.
    y, x : float
        Its upper left corner, level-0 pixels.
    downsample : float
        Level-0 pixels per pixel of `mask`.
    """

    mask: NDArray[np.bool_]
    y: float
    x: float
    downsample: float = 1.0

    @property
    def box(self) -> NDArray[np.float64]:
        """``(4,)`` ``(y0, x0, y1, x1)`` around it, level-0 pixels.

        Raises
        ------
        ValueError
            It is empty.
        """
        rows, cols = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(rows):
            raise ValueError("a mask that is a prompt must not be empty")
        inside = np.array([rows[0], cols[0], rows[-1] + 1, cols[-1] + 1], float)
        corner = np.array([self.y, self.x, self.y, self.x], float)
        return corner + np.float64(self.downsample) * inside

    def sampled(self, y: float, x: float, step: float, side: int) -> NDArray[np.bool_]:
        """Look it up at the centres of a square's pixels.

        Parameters
        ----------
        y, x : float
            Upper left corner of the square, level-0 pixels.
        step : float
            Level-0 pixels per pixel of the square.
        side : int
            Of the square, in its pixels.

        Returns
        -------
        ndarray
            ``(side, side)`` bool.
        """
        centres = (np.arange(side) + 0.5) * step
        rows = np.floor((y + centres - self.y) / self.downsample).astype(np.int64)
        cols = np.floor((x + centres - self.x) / self.downsample).astype(np.int64)
        height, width = self.mask.shape
        found = np.zeros((side, side), bool)
        row_in, col_in = (rows >= 0) & (rows < height), (cols >= 0) & (cols < width)
        found[np.ix_(row_in, col_in)] = self.mask[np.ix_(rows[row_in], cols[col_in])]
        return found

    def as_dict(self) -> dict[str, Any]:
        """Return what JSON can hold: the mask's bits, packed."""
        packed = zlib.compress(np.packbits(self.mask).tobytes())
        return {
            "shape": list(self.mask.shape),
            "bits": base64.b64encode(packed).decode("ascii"),
            "y": self.y,
            "x": self.x,
            "downsample": self.downsample,
        }

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> MaskPrompt:
        """Read what :meth:`as_dict` made."""
        height, width = (int(size) for size in said["shape"])
        bits = np.frombuffer(zlib.decompress(base64.b64decode(said["bits"])), np.uint8)
        mask = np.unpackbits(bits, count=height * width).astype(bool).reshape(height, width)
        return cls(mask, float(said["y"]), float(said["x"]), float(said["downsample"]))


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
    mask : MaskPrompt or None
        What the object is like already; comes with a point or a box that says where it is.
    """

    points: NDArray[np.float64] = field(default_factory=lambda: _empty(0, 2))
    positive: NDArray[np.bool_] = field(default_factory=lambda: _empty(0).astype(bool))
    box: NDArray[np.float64] | None = None
    mask: MaskPrompt | None = None

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
        mask = self.mask
        if mask is not None:
            there = (mask.y - y) * scale, (mask.x - x) * scale
            mask = MaskPrompt(mask.mask, *there, mask.downsample * scale)
        return Prompts((self.points - origin) * scale, self.positive, box, mask)

    def grown(self) -> Iterator[Prompts]:
        """Yield what was said at each moment, from the first that says where the object is.

        Mask and box count as said first, then the points one after the other.
        """
        first = 0 if self.box is not None else int(np.argmax(self.positive)) + 1
        for count in range(first, len(self.points) + 1):
            yield Prompts(self.points[:count], self.positive[:count], self.box, self.mask)

    @property
    def key(self) -> bytes:
        """The same for equal prompts only."""
        box = b"" if self.box is None else np.asarray(self.box, float).tobytes()
        points = np.asarray(self.points, float).tobytes()
        mask = b"" if self.mask is None else repr(self.mask.as_dict()).encode()
        return box + b"|" + points + np.asarray(self.positive, bool).tobytes() + b"|" + mask

    def as_dict(self) -> dict[str, Any]:
        """Return plain lists, for JSON."""
        said: dict[str, Any] = {
            "points": np.asarray(self.points).tolist(),
            "positive": np.asarray(self.positive).tolist(),
            "box": None if self.box is None else np.asarray(self.box).tolist(),
        }
        return said if self.mask is None else said | {"mask": self.mask.as_dict()}

    @classmethod
    def from_dict(cls, said: Mapping[str, Any]) -> Prompts:
        """Read what :meth:`as_dict` made.

        Raises
        ------
        ValueError
            It is something else.
        """
        try:
            box, mask = said.get("box"), said.get("mask")
            return cls(
                np.array(said.get("points") or np.zeros((0, 2)), float).reshape(-1, 2),
                np.array(said.get("positive") or [], bool),
                None if box is None else np.array(box, float),
                None if mask is None else MaskPrompt.from_dict(mask),
            )
        except (AttributeError, KeyError, TypeError, zlib.error) as error:
            raise ValueError(f"these are no prompts: {error}") from error


def one_each(places: ArrayLike) -> list[Prompts]:
    """Return prompts of as many objects as there are boxes or points.

    Parameters
    ----------
    places : array_like
        ``(N, 4)`` boxes ``(y0, x0, y1, x1)``, or ``(N, 2)`` points ``(y, x)``.

    Raises
    ------
    ValueError
        It has another shape, or a box has no height or no width.
    """
    given = np.asarray(places, float)
    if given.ndim != 2 or given.shape[1] not in (2, 4):
        raise ValueError(f"objects are boxes (N, 4) or points (N, 2), not {given.shape}")
    if given.shape[1] == 4:
        return [Prompts(box=box) for box in given]
    return [Prompts(point[None], np.array([True])) for point in given]

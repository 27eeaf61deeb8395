"""Images whose values are objects, or classes: opened by what they are, read region by region."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ...core.slide import SlideError
from ..backends.base import FILE_ERRORS

Values = NDArray[np.integer] | NDArray[np.bool_]

LARGEST_PNG = 150_000_000
"""Pixels: a PNG cannot be read in parts."""

TOO_LARGE = "a PNG this large cannot be read in parts; save it as tiled TIFF"

PNG_MODES = ("1", "L", "P", "I", "I;16", "I;16B")
"""What PIL calls one channel of 1 to 32 bits."""


@dataclass(frozen=True)
class LabelFacts:
    """What a file says of one of its values.

    Attributes
    ----------
    name : str
        Of the value itself; empty for none.
    class_name : str
        What kind of thing it is; empty for none.
    color : str
        ``"#rrggbb"``, empty for none.
    """

    name: str = ""
    class_name: str = ""
    color: str = ""


class LabelImage(Protocol):
    """One way of reading one file of values."""

    @property
    def name(self) -> str:
        """Of the file."""

    @property
    def shapes(self) -> tuple[tuple[int, int], ...]:
        """``(height, width)`` of each level, finest first."""

    @property
    def facts(self) -> Mapping[int, LabelFacts]:
        """What the file says of its values."""

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Values:
        """Return a region that lies inside, ``(height, width)`` whole numbers or booleans."""

    def close(self) -> None:
        """Let go of the file; may be called twice."""


_STARTS = (b"\x93NUMPY", b"\x89PNG", b"II", b"MM")


def is_image(path: Path) -> bool:
    """Tell label images (and folders of them) from other files by how they begin."""
    if path.is_file():
        with readable(path), path.open("rb") as file:
            return file.read(8).startswith(_STARTS)
    return path.is_dir()


def open_labels(path: Path) -> LabelImage:
    """Open a label image: TIFF (tiled, pyramid, OME), PNG, ``.npy``, or an OME-Zarr folder.

    Raises
    ------
    ValueError
        It is no image of one channel of whole numbers; the message says what to do about it.
    """
    if not path.exists():
        raise ValueError(f"There is no file {path}: choose another.")
    with readable(path):
        if path.is_dir():
            from .label_zarr import LabelZarr

            return LabelZarr(path)
        with path.open("rb") as file:
            start = file.read(8)
        if start.startswith(b"\x93NUMPY"):
            return LabelArray(path.name, np.load(path, mmap_mode="r", allow_pickle=False))
        if start.startswith(b"\x89PNG"):
            return _open_png(path)
        if start[:2] in (b"II", b"MM"):
            from .label_tiff import LabelTiff

            return LabelTiff(path)
        raise ValueError("it is neither TIFF nor PNG nor .npy; save the labels as one of them")


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say of every error of a file which one it is, and what is wrong with it.

    Raises
    ------
    ValueError
        Instead of whatever a library raises.
    """
    try:
        yield
    except OSError as error:
        raise ValueError(f"{path.name} cannot be read: {error.strerror or error}.") from error
    except (SlideError, SyntaxError, *FILE_ERRORS) as error:
        raise ValueError(f"{path.name} cannot be read as labels: {error}.") from error


def check_values(dtype: Any) -> None:
    """Refuse what cannot be ids.

    Raises
    ------
    ValueError
        The numbers are not whole.
    """
    if np.dtype(dtype).kind not in "uib":
        raise ValueError(
            f"its values are {np.dtype(dtype)}; ids are whole numbers: save them as 8, 16 or 32 bit"
        )


class LabelArray:
    """Labels in an array, or in a file that is mapped into memory.

    Parameters
    ----------
    name : str
    values : ndarray
        ``(h, w)`` whole numbers or booleans; other axes of length 1 are dropped.
    facts : mapping, optional

    Raises
    ------
    ValueError
        It has more than two dimensions, or no whole numbers.
    """

    def __init__(
        self, name: str, values: NDArray[Any], facts: Mapping[int, LabelFacts] | None = None
    ) -> None:
        check_values(values.dtype)
        flat = values.reshape([side for side in values.shape if side != 1] or [1])
        if flat.ndim != 2:
            flat = values
        if flat.ndim != 2:
            raise ValueError(f"it has the shape {values.shape}; save one plane of one channel")
        self.name, self.facts = name, dict(facts or {})
        self.shapes: tuple[tuple[int, int], ...] = ((flat.shape[0], flat.shape[1]),)
        self._values = flat

    def read(self, level: int, y: int, x: int, height: int, width: int) -> Values:
        """See :meth:`LabelImage.read`."""
        return np.asarray(self._values[y : y + height, x : x + width])

    def close(self) -> None:
        """See :meth:`LabelImage.close`."""
        self._values = np.zeros((0, 0), bool)


def _open_png(path: Path) -> LabelArray:
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of bombs: the limit is ours
        try:
            image = Image.open(path)
        except Image.DecompressionBombError as error:
            raise ValueError(TOO_LARGE) from error
        with image:
            if image.width * image.height > LARGEST_PNG:
                raise ValueError(TOO_LARGE)
            if image.mode not in PNG_MODES:
                raise ValueError(f"its pixels are {image.mode}, not one channel of whole numbers")
            return LabelArray(path.name, np.asarray(image), _palette(image))


def _palette(image: Any) -> dict[int, LabelFacts]:
    if image.mode != "P":
        return {}
    colors = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return {n: LabelFacts(color="#" + color.tobytes().hex()) for n, color in enumerate(colors)}

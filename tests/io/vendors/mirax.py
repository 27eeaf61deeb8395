"""MIRAX: a folder of camera photos that overlap, each cut into images, and where each one lies.

The layout is that of OpenSlide's description of the format
(https://openslide.org/formats/mirax/).
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = NDArray[np.uint8]
Place = tuple[int, int, int]
"""Offset, size and number of the data file."""

SLIDE_ID = "0123456789ABCDEF0123456789ABCDEF"
DIVISIONS = 2
"""Images that a photo is cut into, along each side."""

LEVELS = 3
FILES = 3
MPP = 0.25

GENERAL = """[GENERAL]
SLIDE_VERSION = 01.02
SLIDE_ID = {id}
SLIDE_NAME = drawn
IMAGENUMBER_X = {columns}
IMAGENUMBER_Y = {rows}
OBJECTIVE_MAGNIFICATION = 40
CameraImageDivisionsPerSide = {divisions}
"""

LEVEL = """[LAYER_0_LEVEL_{number}_SECTION]
OVERLAP_X = {overlap_x}
OVERLAP_Y = {overlap_y}
MICROMETER_PER_PIXEL_X = {mpp}
MICROMETER_PER_PIXEL_Y = {mpp}
IMAGE_FORMAT = JPEG
IMAGE_FILL_COLOR_BGR = 16777215
DIGITIZER_WIDTH = {width}
DIGITIZER_HEIGHT = {height}
IMAGE_CONCAT_FACTOR = {concat}
"""

SCANS = {
    "ScanDataLayer_SlideThumbnail": "THUMBNAIL_IMAGE_TYPE",
    "ScanDataLayer_SlideBarcode": "BARCODE_IMAGE_TYPE",
    "ScanDataLayer_SlidePreview": "PREVIEW_IMAGE_TYPE",
}
"""Macro, label and thumbnail, as MIRAX calls them."""


@dataclass(frozen=True)
class Photos:
    """What the camera did.

    Parameters
    ----------
    rows, columns : int
        Photos along the sides of the glass.
    height, width : int
        Of a photo, in pixels.
    overlap : tuple of int
        ``(y, x)`` in pixels that neighbours ought to share.
    shake : int
        Pixels by which a photo may lie elsewhere.
    missing : tuple of (row, column)
        Where no photo was taken.
    """

    rows: int = 4
    columns: int = 5
    height: int = 192
    width: int = 256
    overlap: tuple[int, int] = (12, 16)
    shake: int = 5
    missing: tuple[tuple[int, int], ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the glass in pixels."""
        (dy, dx), (rows, columns) = self.overlap, (self.rows, self.columns)
        return rows * (self.height - dy) + dy, columns * (self.width - dx) + dx

    @property
    def places(self) -> dict[tuple[int, int], tuple[int, int]]:
        """``(y, x)`` of the photo at each ``(row, column)``."""
        shakes = np.random.default_rng(7).integers(
            -self.shake, self.shake + 1, (self.rows, self.columns, 2)
        )
        found = {}
        for row, column in np.ndindex(self.rows, self.columns):
            y = row * (self.height - self.overlap[0]) + int(shakes[row, column, 0])
            x = column * (self.width - self.overlap[1]) + int(shakes[row, column, 1])
            inside = self.size[0] - self.height, self.size[1] - self.width
            found[row, column] = min(max(y, 0), inside[0]), min(max(x, 0), inside[1])
        return found

    @property
    def bounds(self) -> tuple[int, int, int, int]:
        """``(y, x, height, width)`` of what was scanned."""
        taken = [place for key, place in self.places.items() if key not in self.missing]
        top, left = min(y for y, _ in taken), min(x for _, x in taken)
        bottom, right = max(y for y, _ in taken), max(x for _, x in taken)
        return top, left, bottom + self.height - top, right + self.width - left

    def scanned(self) -> NDArray[np.bool_]:
        """Return whether a pixel of the glass is on a photo."""
        seen = np.zeros(self.size, bool)
        for key, (y, x) in self.places.items():
            if key not in self.missing:
                seen[y : y + self.height, x : x + self.width] = True
        return seen


def write_mirax(
    path: Path,
    glass: Pixels,
    photos: Photos,
    positions: str | None,
    claimed: Iterable[tuple[int, int]] | None = None,
) -> None:
    """Write `path` (.mrxs) and the folder of the same name.

    Parameters
    ----------
    path : Path
    glass : ndarray
        ``(*photos.size, 3)`` uint8.
    photos : Photos
    positions : str or None
        The layer with the photos' places, ``VIMSLIDE_POSITION_BUFFER`` or, compressed,
        ``StitchingIntensityLayer``. Without one they lie where they ought to.
    claimed : iterable of (y, x), optional
        What that layer says of each photo, if it is not where it lies.
    """
    folder = path.with_suffix("")
    folder.mkdir()
    data = _Data(FILES)
    hierarchy = [
        [(index, *data.put(_jpeg(image))) for index, image in images]
        for images in _levels(glass, photos)
    ]
    others = [data.put(_jpeg(scan)) for scan in scans(glass).values()]
    if positions is not None:
        places = photos.places.values() if claimed is None else claimed
        buffer = b"".join(struct.pack("<bii", 0, x, y) for y, x in places)
        others.append(data.put(buffer if "VIMSLIDE" in positions else zlib.compress(buffer)))
    data.write(folder)
    (folder / "Index.dat").write_bytes(_index(hierarchy, others))
    (folder / "Slidedat.ini").write_text("\ufeff" + _facts(photos, positions), encoding="utf-8")
    path.write_bytes(_jpeg(glass[::8, ::8]))


def scans(glass: Pixels) -> dict[str, Pixels]:
    """Return the associated images as OpenSlide names them, ``(h, w, 3)`` uint8."""
    small = np.ascontiguousarray(glass[::6, ::6])
    return {"macro": small, "label": small[::-1, :50], "thumbnail": small[::2, ::2]}


class _Data:
    """The data files, filled in turns."""

    def __init__(self, count: int) -> None:
        self._files = [bytearray(b"drawn data file ") for _ in range(count)]
        self._next = 0

    def put(self, data: bytes) -> Place:
        number = self._next % len(self._files)
        self._next += 1
        place = len(self._files[number]), len(data), number
        self._files[number] += data
        return place

    def write(self, folder: Path) -> None:
        for number, data in enumerate(self._files):
            (folder / f"Data{number:04d}.dat").write_bytes(data)


def _levels(glass: Pixels, photos: Photos) -> list[list[tuple[int, Pixels]]]:
    """Return the images of each level with the number of their corner among those of level 0."""
    height, width = photos.height // DIVISIONS, photos.width // DIVISIONS
    images: dict[tuple[int, int], Pixels] = {}
    for (row, column), (y, x) in photos.places.items():
        if (row, column) not in photos.missing:
            for i, j in np.ndindex(DIVISIONS, DIVISIONS):
                top, left = y + i * height, x + j * width
                part = glass[top : top + height, left : left + width]
                images[row * DIVISIONS + i, column * DIVISIONS + j] = part
    columns, found = photos.columns * DIVISIONS, []
    for level in range(LEVELS):
        step = 2**level
        found.append([(y * step * columns + x * step, part) for (y, x), part in images.items()])
        images = _joined(images)
    return found


def _joined(images: dict[tuple[int, int], Pixels]) -> dict[tuple[int, int], Pixels]:
    """Return images of half the resolution, each of 2 x 2, white where there is none."""
    height, width, _ = next(iter(images.values())).shape
    joined: dict[tuple[int, int], Pixels] = {}
    for (y, x), image in images.items():
        whole = joined.setdefault((y // 2, x // 2), np.full((height, width, 3), 255, np.uint8))
        top, left = y % 2 * height // 2, x % 2 * width // 2
        whole[top : top + height // 2, left : left + width // 2] = halved(image)
    return joined


def halved(image: Pixels) -> Pixels:
    """Return the mean of 2 x 2 pixels each."""
    height, width = (side // 2 for side in image.shape[:2])
    blocks = image[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return blocks.mean((1, 3)).round().astype(np.uint8)


def _index(hierarchy: list[list[tuple[int, int, int, int]]], others: list[Place]) -> bytes:
    head = f"01.02{SLIDE_ID}".encode()
    out = bytearray(head + bytes(8))

    def put(*numbers: int) -> int:
        place = len(out)
        out.extend(struct.pack(f"<{len(numbers)}i", *numbers))
        return place

    def level(images: list[tuple[int, int, int, int]]) -> int:
        first = put(0, len(out) + 8)  # an empty page leads to the next, as in real files
        put(len(images), 0, *(number for image in images for number in image))
        return put(0, first)

    roots = [
        put(*[level(images) for images in hierarchy]),
        put(*[put(0, put(1, 0, 0, 0, *place)) for place in others]),
    ]
    struct.pack_into("<2i", out, len(head), *roots)
    return bytes(out)


def _facts(photos: Photos, positions: str | None) -> str:
    """Return the text of Slidedat.ini."""
    parts = [
        GENERAL.format(
            id=SLIDE_ID, columns=photos.columns * DIVISIONS, rows=photos.rows * DIVISIONS,
            divisions=DIVISIONS,
        ),
        "\n".join(_hierarchical(positions)) + "\n",
    ]  # fmt: skip
    files = [f"FILE_{number} = Data{number:04d}.dat" for number in range(FILES)]
    parts.append("\n".join(["[DATAFILE]", f"FILE_COUNT = {FILES}", *files]) + "\n")
    for number in range(LEVELS):
        overlap_y, overlap_x = (side / 2**number for side in photos.overlap)
        parts.append(
            LEVEL.format(
                number=number, overlap_x=overlap_x, overlap_y=overlap_y, mpp=MPP * 2**number,
                width=photos.width // DIVISIONS, height=photos.height // DIVISIONS,
                concat=min(number, 1),
            )
        )  # fmt: skip
    for number, key in enumerate(SCANS.values()):
        parts.append(f"[NONHIERLAYER_0_LEVEL_{number}_SECTION]\n{key} = JPEG\n")
    return "".join(parts)


def _hierarchical(positions: str | None) -> list[str]:
    lines = ["[HIERARCHICAL]", "HIER_COUNT = 1", f"NONHIER_COUNT = {2 if positions else 1}"]
    lines += ["INDEXFILE = Index.dat", "HIER_0_NAME = Slide zoom level", f"HIER_0_COUNT = {LEVELS}"]
    for number in range(LEVELS):
        lines.append(f"HIER_0_VAL_{number} = ZoomLevel_{number}")
        lines.append(f"HIER_0_VAL_{number}_SECTION = LAYER_0_LEVEL_{number}_SECTION")
    lines += ["NONHIER_0_NAME = Scan data layer", f"NONHIER_0_COUNT = {len(SCANS)}"]
    for number, name in enumerate(SCANS):
        lines.append(f"NONHIER_0_VAL_{number} = {name}")
        lines.append(f"NONHIER_0_VAL_{number}_SECTION = NONHIERLAYER_0_LEVEL_{number}_SECTION")
    if positions:
        lines += [f"NONHIER_1_NAME = {positions}", "NONHIER_1_COUNT = 1"]
        lines += ["NONHIER_1_VAL_0 = default"]
    return lines


def _jpeg(image: Pixels) -> bytes:
    file = io.BytesIO()
    pixels = Image.fromarray(np.ascontiguousarray(image))
    pixels.save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()

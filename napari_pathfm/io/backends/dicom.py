"""DICOM whole-slide images: a file a level, all of one series in a folder."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ...core.slide import RGB, SlideError
from .base import FILE_ERRORS, believable_mpp, check_associated, make_levels, white_outside
from .codecs import check_claim

PREAMBLE = 128
MAGIC = b"DICM"


class DicomBackend:
    """A slide read by wsidicom, from one of its files and those of the same series beside it.

    Parameters
    ----------
    path : Path
        Any of the files.

    Raises
    ------
    SlideError
        It is no DICOM slide; the message says why.
    """

    name = "dicom"

    def __init__(self, path: Path) -> None:
        self._path = path
        files = _series(path)
        self.content = files[0]
        self._slide: Any = _open(files)
        try:
            self._levels = list(self._slide.levels)
            sizes = [(level.size.height, level.size.width) for level in self._levels]
            tiles = [(level.tile_size.height, level.tile_size.width) for level in self._levels]
            mpp = self._levels[0].mpp
            self.properties = _properties(self.content)
            self.icc_profile = _profile(self.content)
        except _errors() as error:
            self._slide.close()
            raise SlideError(f"wsidicom cannot read it ({error})") from error
        self.levels = make_levels(sizes, tiles)
        self.mpp = believable_mpp(mpp.height, mpp.width)
        found = {"label": bool(self._slide.labels), "macro": bool(self._slide.overviews)}
        self.associated_images = tuple(name for name, there in found.items() if there)

    def segment(self, level: int, row: int, col: int, out: RGB | None = None) -> RGB:
        """See :meth:`Backend.segment`."""
        from wsidicom.geometry import Point

        if self._slide is None:
            raise SlideError(f"{self._path.name} is closed")
        where = self.levels[level]
        try:
            _check_claim(self._levels[level], row, col)
            tile = self._levels[level].get_tile(Point(col, row), crop_to_image_boundary=False)
            segment = np.asarray(tile)
            if segment.shape != (*where.tile_shape, 3) or segment.dtype != np.uint8:
                raise ValueError(f"it decodes to {segment.shape} of {segment.dtype}")
        except _errors() as error:
            raise SlideError(f"the segment is damaged ({error})") from error
        # wsidicom keeps some tiles for itself, and what is returned here may be written to.
        return white_outside(segment.copy(), where, row, col)

    def associated(self, name: str) -> RGB:
        """See :meth:`Backend.associated`."""
        if name not in self.associated_images:
            raise KeyError(name)
        if self._slide is None:
            raise SlideError(f"{self._path.name} is closed")
        of_name = self._slide.labels if name == "label" else self._slide.overviews
        read = self._slide.read_label if name == "label" else self._slide.read_overview
        try:
            for image in of_name:
                _check_claims(name, image)
            return np.asarray(read().convert("RGB"))
        except _errors() as error:
            raise SlideError(f"{self._path.name}: its {name} image is damaged ({error})") from error

    def close(self) -> None:
        """See :meth:`Backend.close`."""
        slide, self._slide = self._slide, None
        if slide is not None:
            slide.close()


def one_a_series(paths: Iterable[Path]) -> list[Path]:
    """Return of each series the first of its files; those that are no DICOM slides stay."""
    first: dict[tuple[Path, str], Path] = {}
    for path in paths:
        series, _ = _facts(path)
        first.setdefault((path.parent, series or path.name), path)
    return list(first.values())


def _series(path: Path) -> list[Path]:
    """Return the files of the series that `path` belongs to, the one with the most pixels first."""
    try:
        with path.open("rb") as file:
            start = file.read(PREAMBLE + len(MAGIC))
    except OSError as error:
        raise SlideError(f"it cannot be read ({error})") from error
    if start[PREAMBLE:] != MAGIC:
        raise SlideError("it is no DICOM file")
    wanted, _ = _facts(path)
    found = {
        other: facts
        for other in sorted(path.parent.iterdir())
        if other.suffix == path.suffix and (facts := _facts(other))[0] == wanted
    }
    return sorted(found, key=lambda other: -found[other][1])


def _facts(path: Path) -> tuple[str | None, int]:
    """Return series and width of a file, ``None`` and 0 if it is no DICOM slide."""
    import pydicom

    tags = ["SeriesInstanceUID", "TotalPixelMatrixColumns"]
    try:
        read = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=tags)
        return str(read.SeriesInstanceUID), int(read.TotalPixelMatrixColumns)
    except (pydicom.errors.InvalidDicomError, EOFError, *FILE_ERRORS):
        return None, 0


def _check_claims(name: str, image: Any) -> None:
    check_associated(name, image.size.height, image.size.width, 3)
    tiles = image.tiled_size
    for number in range(tiles.height * tiles.width):
        _check_claim(image, *divmod(number, tiles.width))


def _check_claim(image: Any, row: int, col: int) -> None:
    # wsidicom decodes whatever a tile claims to be (it would even do so here, to crop it).
    from wsidicom.geometry import Point

    check_claim(image.get_encoded_tile(Point(col, row), crop_to_image_boundary=False))


def _open(files: list[Path]) -> Any:
    from wsidicom import WsiDicom

    try:
        return WsiDicom.open(files)
    except _errors() as error:
        raise SlideError(f"wsidicom cannot read it ({error})") from error


def _errors() -> tuple[type[Exception], ...]:
    """What wsidicom raises where a file is not what it expects; its errors have no parent."""
    from PIL.Image import DecompressionBombError
    from wsidicom import errors

    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    theirs = [kind for kind in kinds if issubclass(kind, Exception)]
    return (EOFError, StopIteration, DecompressionBombError, *theirs, *FILE_ERRORS)


def _profile(path: Path) -> bytes | None:
    import pydicom

    read = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=["OpticalPathSequence"])
    profiles = [way.get("ICCProfile") for way in read.get("OpticalPathSequence") or ()]
    return bytes(profiles[0]) if profiles and profiles[0] else None


def _properties(path: Path) -> dict[str, str]:
    # Nothing that names a patient: properties are shown and go into manifests.
    import pydicom

    wanted = {
        "dicom.manufacturer": "Manufacturer",
        "dicom.model": "ManufacturerModelName",
        "dicom.series": "SeriesInstanceUID",
        "dicom.acquired": "AcquisitionDateTime",
    }
    read = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(wanted.values()))
    found = {name: read.get(keyword) for name, keyword in wanted.items()}
    return {name: str(value) for name, value in found.items() if value}

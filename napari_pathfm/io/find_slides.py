"""The slides in a folder, by the names of their files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from ..core.slide import SlideError
from .backends.ome_zarr import SUFFIX as ZARR

DICOM = ".dcm"

SUFFIXES = frozenset(
    (
        *(".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".vms", ".vmu", ".bif"),
        *(".svslide", ".qptiff", ".ptif", ".ptiff", DICOM),
    )
)
"""Of files that are slides. Photographs (PNG, JPEG) are slides only where one is named."""


def find_slides(folder: Path) -> list[Path]:
    """Return what looks like a slide in a folder and the folders below it, sorted.

    Of a DICOM series, which may be many files, one file is returned. Projects are left out, and
    so is what is hidden.

    Raises
    ------
    SlideError
        There is no such folder, it cannot be read, or it has no slide.
    """
    found = sorted(_slides(folder))
    if not found:
        raise SlideError(
            f"There is no slide in {folder}: no file ends with {', '.join(sorted(SUFFIXES))}, and "
            f"no folder with {ZARR}."
        )
    several = [path for path in found if path.suffix.lower() == DICOM]
    if not several:
        return found
    from .backends.dicom import one_a_series

    return sorted({*found} - {*several} | {*one_a_series(several)})


def _slides(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise SlideError(f"{error.filename} cannot be read ({error.strerror}).") from error

    for place, folders, files in os.walk(folder, onerror=fail):
        if "project.sqlite" in files:
            folders.clear()
            continue
        shown = [name for name in folders if not name.startswith(".")]
        slides = [name for name in shown if name.lower().endswith(ZARR)]
        folders[:] = [name for name in shown if name not in slides]
        slides += [
            name
            for name in files
            if not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        ]
        yield from (Path(place) / name for name in slides)

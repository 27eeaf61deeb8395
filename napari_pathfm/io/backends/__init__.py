"""One file a slide format family; the backend of a file is found by trying."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ...core.slide import SlideError
from .base import Backend, BrokenSlideError
from .dicom import DicomBackend
from .ome_zarr import SUFFIX, OmeZarrBackend
from .openslide import OpenSlideBackend
from .plain import PlainBackend
from .remote import RemotePath, RemoteSlideError
from .retiled import RetiledBackend
from .tifffile import TifffileBackend

BACKENDS: dict[str, Callable[[Path], Backend]] = {
    "tifffile": TifffileBackend,
    "dicom": DicomBackend,
    "retiled": RetiledBackend,
    "openslide": OpenSlideBackend,
    "plain": PlainBackend,
    "ome-zarr": OmeZarrBackend,
}
"""In the order in which they are tried; the last is for folders, the others are for files."""


def open_backend(path: Path, name: str | None = None) -> Backend:
    """Open a slide with the first backend that reads it.

    Parameters
    ----------
    path : Path
    name : str, optional
        Only this one: one of :data:`BACKENDS`.

    Raises
    ------
    SlideError
        None of them reads it; the message names the reason of each.
    """
    if not isinstance(path, RemotePath):
        _check_file(path)
    elif name not in (None, TifffileBackend.name):
        raise SlideError(f"the backend {name!r} reads files only; download {path.name} first")
    if name is not None and name not in BACKENDS:
        raise SlideError(f"there is no backend {name!r}; choose one of {', '.join(BACKENDS)}")
    reasons = []
    for key in [name] if name else _suitable(path):
        try:
            return BACKENDS[key](path)
        except RemoteSlideError:
            raise
        except BrokenSlideError as error:
            raise SlideError(f"{path.name} cannot be opened: {error}") from error
        except SlideError as error:
            reasons.append(f"{key}: {error}")
    raise SlideError(
        f"{path.name} is not a slide that can be read. Try a pyramidal TIFF, SVS, NDPI, MRXS, "
        f"SCN or DICOM file; if it should be one, copy it again. ({'; '.join(reasons)})"
    )


def _suitable(path: Path) -> list[str]:
    if isinstance(path, RemotePath):
        return [TifffileBackend.name]
    return [name for name in BACKENDS if (name == OmeZarrBackend.name) == path.is_dir()]


def _check_file(path: Path) -> None:
    if path.is_dir():
        if path.suffix.lower() == SUFFIX:
            return
        raise SlideError(f"{path} is a folder. Choose the slide file in it.")
    if not path.exists():
        raise SlideError(f"There is no file {path}. Check the path, or mount the drive it is on.")
    if not path.is_file():  # reading a pipe would wait for ever
        raise SlideError(f"{path} is no ordinary file. Choose the slide itself.")
    try:
        with path.open("rb") as file:
            empty = not file.read(1)
    except OSError as error:
        raise SlideError(
            f"{path} cannot be read ({error.strerror}). Check who may read it."
        ) from error
    if empty:
        raise SlideError(f"{path.name} is empty. Copy or download it again.")

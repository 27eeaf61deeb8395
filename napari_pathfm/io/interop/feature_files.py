"""Which file has features in which format, and how each is opened and written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ...core.slide import Level
from .anndata import H5AD, open_anndata, write_anndata
from .features_h5 import H5, TENSORS, open_h5, open_tensor
from .features_h5_writer import write_clam, write_trident
from .spatialdata import is_spatialdata, open_spatialdata, write_spatialdata
from .tile_features import Outgoing, TileFeatures, Told

FORMATS = {
    "trident": "a TRIDENT file (.h5)",
    "clam": "a folder with CLAM's files (h5_files, pt_files, patches)",
    "anndata": "an AnnData file (.h5ad)",
    "spatialdata": "a SpatialData store (.zarr), new or as LazySlide keeps it beside a slide",
}
"""Formats that are written."""

PROGRAMS = {"trident": "TRIDENT", "clam": "CLAM", "anndata": "AnnData", "spatialdata": "LazySlide"}


@contextmanager
def open_features(path: Path, levels: Sequence[Level], told: Told) -> Iterator[TileFeatures]:
    """Open features of tiles that another program has written, or we in its format.

    Parameters
    ----------
    path : Path
        TRIDENT's or CLAM's HDF5, CLAM's ``.pt``, AnnData's ``.h5ad``, or a SpatialData folder.
    levels : sequence of Level
        Of the slide.
    told : Told
        What the file does not say.

    Raises
    ------
    ValueError
        It cannot be read; the message names the file and says what to do.
    """
    with ExitStack() as stack:
        try:
            found = stack.enter_context(_opened(path, levels, told))
        except ValueError as error:
            raise ValueError(f"{path.name} cannot be imported: {error}.") from error
        yield found


@contextmanager
def _opened(path: Path, levels: Sequence[Level], told: Told) -> Iterator[TileFeatures]:
    suffix = path.suffix.lower()
    if suffix in H5:
        opened = open_h5(path, levels, told)
    elif suffix in TENSORS:
        opened = open_tensor(path, levels, told)
    elif suffix == H5AD:
        opened = open_anndata(path, told)
    elif is_spatialdata(path):
        opened = open_spatialdata(path, told)
    else:
        raise ValueError(
            "it is no TRIDENT or CLAM file (.h5, .pt), no AnnData file (.h5ad) and no SpatialData "
            "folder with tables and shapes"
        )
    with opened as found:
        yield found


def write_features(form: str, path: Path, out: Outgoing) -> list[Path]:
    """Write embeddings in another program's format.

    Parameters
    ----------
    form : str
        One of :data:`FORMATS`.
    path : Path
        A file, or for "clam" and "spatialdata" a folder.
    out : Outgoing

    Returns
    -------
    list of Path
        What was written.

    Raises
    ------
    ValueError
        There is no such format, the name has another suffix, or it needs what the slide does not
        say.
    """
    if form == "clam":
        return write_clam(path, out)
    if form == "spatialdata":
        write_spatialdata(path, out)
        return [path]
    suffix = {"trident": ".h5", "anndata": H5AD}.get(form)
    if suffix is None:
        raise ValueError(f"There is no format {form!r}: choose one of {', '.join(FORMATS)}.")
    if path.suffix.lower() != suffix:
        raise ValueError(f"{FORMATS[form][:1].upper()}{FORMATS[form][1:]} ends in {suffix}.")
    (write_trident if form == "trident" else write_anndata)(path, out)
    return [path]

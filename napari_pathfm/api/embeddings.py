"""Embeddings: made, kept, found again, and in the files of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..core.embeddings import Embeddings
from ..core.jobs import run
from ..core.slide import Slide
from ..core.tiles import TileGrid
from ._shared import at, network

if TYPE_CHECKING:
    from ..analysis.export_features import FeatureExport
    from ..analysis.import_features import FeatureImport
    from ..analysis.stain_normalise import Reference
    from ..io.project import Project
    from ..io.reader import SlideReader
    from ..io.store import StoredFeatures
    from ..models.base import Encoder
    from ._shared import Report


def embed(
    slide: SlideReader,
    grid: TileGrid,
    encoder: str | Encoder = "efficientnet-lite0",
    project: Project | str | Path | None = None,
    weights: str | Path | None = None,
    report: Report | None = None,
    stain: str | Reference | None = None,
) -> Embeddings:
    """Embed the tiles of a grid.

    Parameters
    ----------
    slide : SlideReader
    grid : TileGrid
    encoder : str or Encoder
        A name from the catalogue (``pathfm models``), or one that is loaded already.
    project : Project, str or Path, optional
        Where embeddings are kept; what is there already is not computed again, and a run that was
        stopped goes on from there. Not kept if absent.
    weights : str or Path, optional
        A checkpoint on this computer instead of a download.
    report : callable, optional
    stain : str or Reference, optional
        Normalise the stains of the tiles by "macenko" or "reinhard" to a typical H&E slide, or
        to what :func:`stain_reference` found; as they were scanned if absent.

    Raises
    ------
    ModelError
        The weights are missing or do not fit.
    ValueError
        There are no tiles, or not the stains that a normalisation needs.
    """
    from ..analysis.embed import embed as job
    from ..analysis.stain_normalise import normalise_for, typical
    from ..io.store import FeatureStore
    from ..models.catalog import get_encoder

    if isinstance(encoder, str):
        encoder = network(get_encoder, encoder, weights, project, report)
    reference = typical(stain) if isinstance(stain, str) else stain
    source, encoder = run(normalise_for(slide, grid, encoder, reference), report)
    if project is None:
        return run(job(source, grid, encoder), report)
    with at(project) as opened:
        if not opened.read_only:
            opened.add_slide(slide)
        store = FeatureStore(opened.slide_store(slide.id), encoder.key, grid)
        return run(job(source, grid, encoder, store=store), report)


def stain_reference(
    slide: SlideReader, grid: TileGrid, method: str = "macenko", report: Report | None = None
) -> Reference:
    """Find how a slide looks, for others to be made to look like it by :func:`embed`.

    Parameters
    ----------
    slide : SlideReader
    grid : TileGrid
        Its tissue.
    method : str
        "macenko" or "reinhard".
    report : callable, optional

    Raises
    ------
    ValueError
        There is no such method, too little tissue, or one stain only.
    """
    from ..analysis.stain_normalise import Reference, find_look, typical

    method = typical(method).method
    return Reference(method, run(find_look(slide, grid, method), report))


def load_embeddings(
    slide: Slide, project: Project | str | Path, encoder: str = "efficientnet-lite0"
) -> tuple[TileGrid, Embeddings]:
    """Return what a project keeps of a slide: the grid with most tiles embedded, and its vectors.

    What was embedded here goes before what was imported; of as many tiles with and without stain
    normalisation, those as scanned.

    Raises
    ------
    ProjectError
        The slide has not been embedded with this encoder in this project.
    """
    with at(project, create=False) as opened:
        most = _most_embedded(opened, slide, encoder)
        return most.grid(), most.read()


def _most_embedded(project: Project, slide: Slide, encoder: str) -> StoredFeatures:
    from ..analysis.text_search import FOR_TEXT
    from ..io.project import ProjectError
    from ..io.store import stored_features

    stored = [
        each
        for each in stored_features(project.slide_store(slide.id))
        if each.key.encoder == encoder and each.key.pooling != FOR_TEXT and each.count
    ]
    if not stored:
        raise ProjectError(
            f"{slide.name} has not been embedded with {encoder} in {project.folder}. Run "
            f"“pathfm embed {slide.path} --encoder {encoder}” first."
        )
    return max(stored, key=lambda each: (not each.key.imported, each.count, not each.key.stain))


def embedded_for_text(slide: Slide, project: Project | str | Path) -> str | None:
    """Name of the encoder that knows words and has embedded most tiles of a slide, if any has."""
    from ..io.store import stored_features
    from ..models.catalog import encoder_specs

    specs = encoder_specs()
    with at(project, create=False) as opened:
        counts = {
            each.key.encoder: each.count
            for each in stored_features(opened.slide_store(slide.id))
            if each.key.encoder in specs and specs[each.key.encoder].text and each.count
        }
    return max(counts, key=counts.__getitem__, default=None)


def import_features(
    path: str | Path,
    slide: Slide,
    project: Project | str | Path,
    report: Report | None = None,
    **told: Any,
) -> FeatureImport:
    """Bring features that another program has made of a slide into a project.

    They are kept apart from embeddings that were made here, for nobody knows their weights. What
    :func:`export_features` has written comes back as what it was.

    Parameters
    ----------
    path : str or Path
        TRIDENT's or CLAM's HDF5 file, CLAM's ``.pt``, AnnData's ``.h5ad``, or the SpatialData
        folder of LazySlide.
    slide : Slide
        What they were made of.
    project : Project, str or Path
    report : callable, optional
    **told
        What the file does not say, see :class:`~napari_pathfm.io.interop.tile_features.Told`:
        ``encoder``, ``pooling``, ``side``, ``tile_px``, ``coords``, ``table``.

    Raises
    ------
    ValueError
        It cannot be read, belongs to another slide, or does not say what must be known.
    ProjectError
        The project cannot be written.
    """
    from ..analysis.import_features import import_features as job
    from ..io.interop.tile_features import Told

    with at(project) as opened:
        return run(job(Path(path), slide, opened, Told(**told)), report)


def export_features(
    slide: Slide,
    project: Project | str | Path,
    out: str | Path,
    form: str,
    encoder: str = "efficientnet-lite0",
    report: Report | None = None,
) -> FeatureExport:
    """Write embeddings of a slide as another program does: those with most tiles.

    Parameters
    ----------
    slide : Slide
    project : Project, str or Path
    out : str or Path
        A file, or for "clam" and "spatialdata" a folder.
    form : str
        "trident", "clam", "anndata" or "spatialdata".
    encoder : str
        Whose embeddings.
    report : callable, optional

    Raises
    ------
    ValueError
        There is no such format, or the slide does not say what is needed.
    ProjectError
        The slide has not been embedded with this encoder in this project.
    """
    from ..analysis.export_features import export_features as job

    with at(project, create=False) as opened:
        return run(job(_most_embedded(opened, slide, encoder), slide, Path(out), form), report)

"""The verbs without a window: each runs to its end and returns its result.

Positions are ``(y, x)`` in level-0 pixels. Long verbs take `report`, a function that is called
with every :class:`~napari_pathfm.core.jobs.Progress`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from .core.edits import Edit
from .core.embeddings import Embeddings
from .core.jobs import Progress, run
from .core.prompts import Prompts
from .core.quality import QualityLimits, Sifted, TileQuality
from .core.quality import sift as sift_tiles
from .core.slide import Slide, SlideError
from .core.tiles import TileGrid, TileSpec, make_grid

if TYPE_CHECKING:
    from .analysis.draw_labels import Meaning
    from .analysis.export import ExportReport
    from .analysis.export_features import FeatureExport
    from .analysis.import_features import FeatureImport
    from .analysis.import_objects import ImportReport
    from .analysis.map import MapCoordinates
    from .analysis.predict_slides import Predictions
    from .analysis.search import TileScores
    from .analysis.segment import Candidate
    from .analysis.stain_normalise import Reference
    from .analysis.tissue import TissueMask
    from .analysis.zero_shot import ZeroShot
    from .io.project import Project, SlideRow
    from .io.reader import SlideReader
    from .io.store import StoredFeatures
    from .models.base import Encoder, Segmenter
    from .models.catalog import CatalogEntry
    from .models.check import Check, Memory

T = TypeVar("T")

Report = Callable[[Progress], None]

LISTS = {
    "encoder": "encoders",
    "segmenter": "segmenters",
    "slide": "slide_models",
    "report": "report_models",
}
"""Where :func:`models` lists a kind of model."""

__all__ = [
    "check_model",
    "commit",
    "embed",
    "export",
    "export_features",
    "import_features",
    "import_objects",
    "kept_mpp",
    "load_embeddings",
    "models",
    "open_project",
    "open_slide",
    "predict_slides",
    "quality",
    "search",
    "search_text",
    "segment",
    "sift",
    "stain_reference",
    "tiles",
    "tissue",
    "umap",
    "zero_shot",
]


def open_slide(path: str | Path, mpp: float | None = None) -> SlideReader:
    """Open a whole-slide image.

    Parameters
    ----------
    path : str or Path
    mpp : float, optional
        Micrometres per level-0 pixel, where the file does not say it.

    Raises
    ------
    SlideError
        The file is missing, or is no slide that can be read.
    """
    from .io.reader import open_slide

    return open_slide(path, mpp=mpp)


def tissue(slide: Slide) -> TissueMask:
    """Find tissue: background, pen and fat are left out."""
    from .analysis.tissue import find_tissue

    return find_tissue(slide)


def tiles(
    slide: Slide,
    tissue: TissueMask | None = None,
    mpp: float | None = 0.5,
    tile_px: int = 224,
    overlap: float = 0.0,
    min_tissue: float = 0.5,
) -> TileGrid:
    """Cut a slide into tiles.

    Parameters
    ----------
    slide : Slide
    tissue : TissueMask, optional
        Only tiles with tissue are kept; all of them if absent.
    mpp : float or None
        Micrometres per pixel of a tile; ``None``: level-0 pixels, for a slide without mpp.
    tile_px : int
        Side of a tile in pixels.
    overlap : float
        Fraction of the side shared by neighbours.
    min_tissue : float
        Fraction of a tile that has to be tissue.

    Raises
    ------
    ValueError
        `mpp` is asked for and the slide has none.
    """
    spec = TileSpec(tile_px, mpp, overlap, min_tissue)
    mask = None if tissue is None else tissue.mask
    return make_grid(slide.id, slide.levels, slide.mpp, spec, mask)


def quality(
    slide: SlideReader,
    grid: TileGrid,
    tissue: TissueMask | None = None,
    project: Project | str | Path | None = None,
    report: Report | None = None,
) -> TileQuality:
    """Measure tissue, blur and pen of the tiles of a grid; no network is needed.

    Parameters
    ----------
    slide : SlideReader
    grid : TileGrid
    tissue : TissueMask, optional
        What :func:`tissue` found, if it has been looked for.
    project : Project, str or Path, optional
        Where measures are kept and found again.
    report : callable, optional
    """
    from .analysis.quality import quality_of

    with _slide_store(slide, project, create=True) as store:
        return run(quality_of(slide, grid, tissue, store), report)


def sift(
    grid: TileGrid,
    quality: TileQuality,
    min_tissue: float = 0.5,
    max_blur: float = 1.3,
    max_pen: float = 0.05,
) -> Sifted:
    """Leave out the tiles of a grid that are not good enough.

    Parameters
    ----------
    grid : TileGrid
    quality : TileQuality
        What :func:`quality` measured on that grid.
    min_tissue, max_pen : float
        Fractions of the tile, 0 to 1.
    max_blur : float
        Size of the finest detail in micrometres.

    Returns
    -------
    Sifted
        ``sifted.grid`` are the tiles that stay, a grid of its own; ``sifted.summary()`` says why
        others do not.
    """
    return sift_tiles(grid, quality, QualityLimits(min_tissue, max_blur, max_pen))


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
    from .analysis.embed import embed as job
    from .analysis.stain_normalise import normalise_for, typical
    from .io.store import FeatureStore
    from .models.catalog import get_encoder

    if isinstance(encoder, str):
        encoder = _network(get_encoder, encoder, weights, project, report)
    reference = typical(stain) if isinstance(stain, str) else stain
    source, encoder = run(normalise_for(slide, grid, encoder, reference), report)
    if project is None:
        return run(job(source, grid, encoder), report)
    with _at(project) as opened:
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
    from .analysis.stain_normalise import Reference, find_look, typical

    method = typical(method).method
    return Reference(method, run(find_look(slide, grid, method), report))


def load_embeddings(
    slide: Slide, project: Project | str | Path, encoder: str = "efficientnet-lite0"
) -> tuple[TileGrid, Embeddings]:
    """Return what a project keeps of a slide: the grid with most tiles embedded, and its vectors.

    Of as many tiles with and without stain normalisation, those as scanned.

    Raises
    ------
    ProjectError
        The slide has not been embedded with this encoder in this project.
    """
    with _at(project, create=False) as opened:
        most = _most_embedded(opened, slide, encoder)
        return most.grid(), most.read()


def _most_embedded(project: Project, slide: Slide, encoder: str) -> StoredFeatures:
    from .analysis.text_search import FOR_TEXT
    from .io.project import ProjectError
    from .io.store import stored_features

    stored = [
        each
        for each in stored_features(project.slide_store(slide.id))
        if each.key.encoder == encoder and each.key.pooling != FOR_TEXT
    ]
    if not any(each.count for each in stored):
        raise ProjectError(
            f"{slide.name} has not been embedded with {encoder} in {project.folder}. Run "
            f"“pathfm embed {slide.path} --encoder {encoder}” first."
        )
    return max(stored, key=lambda each: (each.count, not each.key.stain))


def embedded_for_text(slide: Slide, project: Project | str | Path) -> str | None:
    """Name of the encoder that knows words and has embedded most tiles of a slide, if any has."""
    from .io.store import stored_features
    from .models.catalog import encoder_specs

    specs = encoder_specs()
    with _at(project, create=False) as opened:
        counts = {
            each.key.encoder: each.count
            for each in stored_features(opened.slide_store(slide.id))
            if each.key.encoder in specs and specs[each.key.encoder].text and each.count
        }
    return max(counts, key=counts.__getitem__, default=None)


def kept_mpp(slide: Slide, project: str | Path) -> float | None:
    """Micrometres per level-0 pixel that a project knows of a slide, ``None`` if it does not."""
    from .io.project import known_mpp

    return known_mpp(Path(project), slide.id)


def umap(embeddings: Embeddings, report: Report | None = None) -> MapCoordinates:
    """Lay tiles out on a plane so that alike ones are neighbours."""
    from .analysis.map import umap_map

    return run(umap_map(embeddings), report)


def search(embeddings: Embeddings, tiles: ArrayLike, k: int = 10) -> TileScores:
    """Find the `k` tiles most like the given ones, which are not among them.

    Parameters
    ----------
    embeddings : Embeddings
    tiles : int or array_like of int
        Numbers in the grid; several are averaged.
    k : int

    Returns
    -------
    TileScores
        Best first.

    Raises
    ------
    ValueError
        There is no tile, or one that is not embedded.
    """
    from .analysis.search import search as score

    wanted = np.atleast_1d(np.asarray(tiles, np.int64))
    return _best(score(embeddings, wanted), k, wanted)


def search_text(
    slide: SlideReader,
    grid: TileGrid,
    embeddings: Embeddings,
    text: str,
    k: int = 10,
    encoder: Encoder | None = None,
    project: Project | str | Path | None = None,
    weights: str | Path | None = None,
    report: Report | None = None,
) -> TileScores:
    """Find the `k` tiles that a text describes best.

    Parameters
    ----------
    slide : SlideReader
    grid : TileGrid
    embeddings : Embeddings
        Of that grid, by an encoder that embeds texts, too.
    text : str
        As a caption would say it: "lymphocytes, H&E".
    k : int
    encoder : Encoder, optional
        That of the embeddings, if it is loaded already.
    project : Project, str or Path, optional
        Where the vectors of an encoder are kept that has others for texts than for everything else
        (CONCH, MUSK): they are made once.
    weights : str or Path, optional
        A checkpoint on this computer instead of a download.
    report : callable, optional

    Returns
    -------
    TileScores
        Best first.

    Raises
    ------
    ValueError
        The encoder embeds no texts, its weights are not those of the embeddings, or there is no
        text.
    ModelError
        The weights are missing or do not fit.
    """
    from .analysis.text_search import search_slide

    encoder = encoder or _text_encoder(embeddings.key.encoder, weights, project, report)
    with _slide_store(slide, project) as store:
        job = search_slide(slide, grid, embeddings, text, encoder, store)
        return _best(run(job, report), k)


def zero_shot(
    slide: SlideReader,
    grid: TileGrid,
    embeddings: Embeddings,
    classes: Mapping[str, Sequence[str]],
    encoder: Encoder | None = None,
    project: Project | str | Path | None = None,
    weights: str | Path | None = None,
    report: Report | None = None,
) -> ZeroShot:
    """Score the tiles of a slide for classes that are given by name, with no example.

    Parameters
    ----------
    slide, grid, embeddings, encoder, project, weights, report
        As of :func:`search_text`.
    classes : mapping
        Synonyms of each class by its name: ``{"tumor": ["tumor", "carcinoma"], "stroma": []}``.

    Returns
    -------
    ZeroShot
        Cosines, probabilities, and the best class of each tile.

    Raises
    ------
    ValueError
        There is no class, or as of :func:`search_text`.
    ModelError
        The weights are missing or do not fit.
    """
    from .analysis.text_search import for_texts, text_encoder
    from .analysis.zero_shot import zero_shot as job

    name = embeddings.key.encoder
    asked = text_encoder(encoder or _text_encoder(name, weights, project, report))
    with _slide_store(slide, project) as store:
        vectors = run(for_texts(slide, grid, embeddings, asked, store), report)
    return run(job(vectors, asked, classes), report)


def predict_slides(
    project: Project | str | Path,
    head: str,
    slides: Sequence[str] = (),
    report: Report | None = None,
) -> Predictions:
    """Predict the labels of a project's slides with a head that was trained in it.

    Parameters
    ----------
    project : Project, str or Path
    head : str
        Its name; :func:`models` of the project lists them.
    slides : sequence of str
        Names, file names or ids; if empty all, and those that are not embedded as the head wants
        are left out.
    report : callable, optional

    Raises
    ------
    RegistryError
        There is no such head.
    ModelError
        It is damaged.
    ValueError
        A slide that was named is not in the project, or not embedded as the head wants.
    """
    from .analysis.predict_slides import predict_slides as job
    from .io.project import Project
    from .models.trained_heads import trained_heads

    with ExitStack() as stack:
        if not isinstance(project, Project):
            project = stack.enter_context(Project.open(project, read_only=True))
        return run(job(project, trained_heads(project.models).get(head), slides), report)


def segment(
    slide: Slide,
    box: Sequence[float] | None = None,
    points: ArrayLike | None = None,
    positive: ArrayLike | None = None,
    segmenter: str | Segmenter = "litemedsam",
    weights: str | Path | None = None,
    project: Project | str | Path | None = None,
    report: Report | None = None,
) -> Candidate:
    """Segment one object.

    Parameters
    ----------
    slide : Slide
    box : sequence of float, optional
        ``(y0, x0, y1, x1)`` around the object, level-0 pixels.
    points : array_like, optional
        ``(K, 2)`` positions ``(y, x)``, level-0 pixels.
    positive : array_like of bool, optional
        ``(K,)``: whether each point lies on the object or beside it; all do if absent.
    segmenter : str or Segmenter
        A name from ``pathfm models``, or one that is loaded already.
    weights : str or Path, optional
        A checkpoint on this computer instead of a download.
    project : Project, str or Path, optional
        Weights in its ``models`` folder are used, too.
    report : callable, optional

    Raises
    ------
    ValueError
        There is no prompt, or the segmenter does not understand it.
    ModelError
        The weights are missing or do not fit.
    """
    from .analysis.segment import segment as job
    from .models.catalog import get_segmenter

    prompts = _prompts(box, points, positive)
    if isinstance(segmenter, str):
        segmenter = _network(get_segmenter, segmenter, weights, project, report)
    return run(job(slide, prompts, segmenter), report)


def commit(
    project: Project,
    slide: Slide,
    candidate: Candidate,
    class_name: str = "",
    layer: str = "regions",
) -> Edit:
    """Make a segmented object part of an annotation layer; journalled, so it can be undone.

    Parameters
    ----------
    project : Project
    slide : Slide
    candidate : Candidate
    class_name : str
        One of the project's classes; none yet if empty.
    layer : str

    Raises
    ------
    ValueError
        There is no such class, or the mask is empty.
    """
    from .analysis.segment import commit_edit
    from .io.masks import AnnotationLayer

    numbers = {each.name: each.id for each in project.classes()}
    if class_name and class_name not in numbers:
        raise ValueError(
            f"The project has no class {class_name!r}. Choose one of {sorted(numbers)}, or add it "
            "with project.set_classes(...)."
        )
    project.add_slide(slide)
    annotations = AnnotationLayer.open(project, slide.id, layer, slide.levels[0].shape)
    edit = commit_edit(annotations, candidate, numbers.get(class_name, 0))
    annotations.commit(edit)
    return edit


def import_objects(
    path: str | Path,
    slide: Slide,
    project: Project | str | Path,
    layer: str = "regions",
    values: Meaning = "objects",
    report: Report | None = None,
) -> ImportReport:
    """Bring the objects of a file into an annotation layer: one edit, which can be undone.

    Classes are found by their names and made where they are missing. Where objects overlap, the
    smaller one is above.

    Parameters
    ----------
    path : str or Path
        GeoJSON in level-0 pixels (as QuPath writes it), a label image of the whole slide (TIFF,
        PNG, ``.npy``), or OME-Zarr labels.
    slide : Slide
        What they belong to.
    project : Project, str or Path
    layer : str
        Name of the annotation layer, made if it is missing.
    values : str
        What the values of a label image are: "objects", or "classes".
    report : callable, optional

    Raises
    ------
    ValueError
        The file cannot be read, or belongs to another slide.
    ProjectError
        The project cannot be written.
    """
    from .analysis.import_objects import import_job, read_objects
    from .io.masks import AnnotationLayer
    from .io.project import Project

    with ExitStack() as stack:
        if not isinstance(project, Project):
            project = stack.enter_context(Project.open(project))
        project.add_slide(slide)
        drawing = run(read_objects(Path(path), slide.levels, values), report)
        stack.enter_context(closing(drawing))
        opened = AnnotationLayer.open(project, slide.id, layer, slide.levels[0].shape)
        return run(import_job(opened, drawing, project.class_book, Path(path).name), report)


def export(
    project: Project | str | Path,
    out: str | Path,
    report: Report | None = None,
    **options: Any,
) -> ExportReport:
    """Write the annotations of all slides of a project as training data.

    Parameters
    ----------
    project : Project, str or Path
    out : str or Path
        A new folder.
    report : callable, optional
    **options
        Of :func:`~napari_pathfm.analysis.export.export_dataset`: ``layer``, ``patch_px``,
        ``mpp``, ``split``, ``seed``.

    Raises
    ------
    ValueError
        Nothing is annotated.
    SlideError
        A slide of the project cannot be opened, or another file is where it was.
    """
    from .analysis.export import export_dataset, is_annotated

    with _at(project, create=False) as opened, ExitStack() as stack:
        slides = {
            row.id: stack.enter_context(_reopened(row))
            for row in opened.slides()
            if is_annotated(opened, row.id, options.get("layer", "regions"))
        }
        return run(export_dataset(opened, out, slides=slides, **options), report)


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
    from .analysis.import_features import import_features as job
    from .io.interop.tile_features import Told

    with _at(project) as opened:
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
    from .analysis.export_features import export_features as job

    with _at(project, create=False) as opened:
        return run(job(_most_embedded(opened, slide, encoder), slide, Path(out), form), report)


def _reopened(row: SlideRow) -> SlideReader:
    slide = open_slide(row.path, mpp=row.mpp)
    if slide.id != row.id:
        slide.close()
        raise SlideError(
            f"{row.path} is another slide than the one that was annotated there. Put that one "
            "back, or open it in this project from where it is now."
        )
    return slide


def open_project(folder: str | Path, author: str | None = None) -> Project:
    """Open a project folder, or make one.

    Raises
    ------
    ProjectError
        It belongs to a newer version, or is damaged.
    """
    from .io.project import Project

    return Project.open(Path(folder), author=author)


def models(project: Project | str | Path | None = None) -> dict[str, list[dict[str, Any]]]:
    """List every model by its kind: its facts, and what there is of it on this computer.

    Nothing is loaded. Those that a plugin registers without a catalogue have no facts.

    Parameters
    ----------
    project : Project, str or Path, optional
        The heads that were trained in it are listed, too, as "heads".
    """
    from .models.catalog import encoders, entries, segmenters, slide_models
    from .models.check import free_memory

    known, memory = entries(), free_memory()
    registered = {
        "encoder": encoders().names(),
        "segmenter": segmenters().names(),
        "slide": slide_models().names(),
    }
    names = {
        kind: {*registered.get(kind, ()), *(n for n, e in known.items() if e.spec.kind == kind)}
        for kind in LISTS
    }
    listed = {
        title: [_facts(name, kind, known.get(name), memory) for name in sorted(names[kind])]
        for kind, title in LISTS.items()
    }
    if project is not None:
        listed["heads"] = _heads(_models_folder(project))
    return listed


def check_model(name: str) -> Check:
    """Say what stands in the way of a model; may ask the network.

    A model that is in no catalogue (of a plugin, say) has its own ways, and nothing is said.

    Raises
    ------
    ModelError
        There is no such model.
    """
    from .core.registry import did_you_mean
    from .models.base import ModelError
    from .models.catalog import encoders, entries, segmenters, slide_models
    from .models.check import Check, check

    known = entries()
    if name in known:
        return check(known[name], thorough=True)
    names = {*known, *encoders().names(), *segmenters().names(), *slide_models().names()}
    if name not in names:
        more = f"{did_you_mean(name, sorted(names))} “pathfm models” lists them all."
        raise ModelError(f"There is no model {name!r}.{more}")
    return Check(None, None, ())


def _facts(name: str, kind: str, entry: CatalogEntry | None, memory: Memory) -> dict[str, Any]:
    from .models.check import check

    if entry is None:
        return {"name": name, "kind": kind, "status": "open", "note": "No catalogue has it."}
    return asdict(entry.spec) | check(entry, memory=memory).facts()


def _heads(folder: Path) -> list[dict[str, Any]]:
    from .models.trained_heads import trained_cards

    return [
        {
            "name": name,
            "kind": "head",
            "head": card.head,
            "classes": list(card.classes),
            "encoders": [source.key.encoder for source in card.sources],
            "metrics": card.metrics,
            "made": card.made,
        }
        for name, card in trained_cards(folder).items()
    ]


def _models_folder(project: Project | str | Path) -> Path:
    folder: str | Path = getattr(project, "folder", project)  # type: ignore[arg-type]
    return Path(folder) / "models"


@contextmanager
def _at(project: Project | str | Path, create: bool = True) -> Iterator[Project]:
    """Open a project for the time of a call, unless it is open already.

    While another process owns it, such as a window, it is opened for reading: embeddings are
    written beside it, under a lock of their own, and the owner takes them up.
    """
    from .io.project import Project, open_or_read

    if isinstance(project, Project):
        yield project
        return
    with open_or_read(project, create) as opened:
        yield opened


def _network(
    get: Callable[..., T],
    name: str,
    weights: str | Path | None,
    project: Project | str | Path | None,
    report: Report | None,
) -> T:
    """Load a model by its name; weights are looked for in the project, too."""
    from .models import licences
    from .models.fetch import fetch

    models = None if project is None else _models_folder(project)
    given = None if weights is None else Path(weights)
    licences.warn(name, stacklevel=3)
    return get(name, weights=run(fetch(name, given, models), report))


def _text_encoder(
    name: str,
    weights: str | Path | None,
    project: Project | str | Path | None,
    report: Report | None,
) -> Encoder:
    from .analysis.text_search import images_only
    from .models.catalog import encoder_specs, get_encoder

    spec = encoder_specs().get(name)
    if spec is not None and not spec.text:
        raise images_only(name)  # before its weights are downloaded
    return _network(get_encoder, name, weights, project, report)


@contextmanager
def _slide_store(
    slide: Slide, project: Project | str | Path | None, create: bool = False
) -> Iterator[Path | None]:
    if project is None:
        yield None
        return
    with _at(project, create=create) as opened:
        yield opened.slide_store(slide.id)


def _best(scores: TileScores, k: int, exclude: ArrayLike = ()) -> TileScores:
    """The `k` tiles with the highest values, best first."""
    best = scores.best(k, exclude=np.asarray(exclude, np.int64))
    by_tile = np.argsort(scores.tiles)
    rows = by_tile[np.searchsorted(scores.tiles, best, sorter=by_tile)]
    return type(scores)(best, scores.values[rows], scores.text)


def _prompts(
    box: Sequence[float] | None, points: ArrayLike | None, positive: ArrayLike | None
) -> Prompts:
    place = np.zeros((0, 2)) if points is None else np.asarray(points, float).reshape(-1, 2)
    sign = np.ones(len(place), bool) if positive is None else np.asarray(positive, bool)
    return Prompts(place, sign, None if box is None else np.asarray(box, float))

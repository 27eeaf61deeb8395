"""What embeddings say: maps, likeness, texts, whole slides."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ..core.embeddings import Embeddings
from ..core.jobs import run
from ..core.tiles import TileGrid
from ._shared import best, slide_store, text_encoder_of

if TYPE_CHECKING:
    from ..analysis.map import MapCoordinates
    from ..analysis.predict_slides import Predictions
    from ..analysis.search import TileScores
    from ..analysis.zero_shot import ZeroShot
    from ..io.project import Project
    from ..io.reader import SlideReader
    from ..models.base import Encoder
    from ._shared import Report


def umap(embeddings: Embeddings, report: Report | None = None) -> MapCoordinates:
    """Lay tiles out on a plane so that alike ones are neighbours."""
    from ..analysis.map import umap_map

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
    from ..analysis.search import search as score

    wanted = np.atleast_1d(np.asarray(tiles, np.int64))
    return best(score(embeddings, wanted), k, wanted)


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
    from ..analysis.text_search import search_slide

    encoder = encoder or text_encoder_of(embeddings.key.encoder, weights, project, report)
    with slide_store(slide, project) as store:
        job = search_slide(slide, grid, embeddings, text, encoder, store)
        return best(run(job, report), k)


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
    from ..analysis.text_search import for_texts, text_encoder
    from ..analysis.zero_shot import zero_shot as job

    name = embeddings.key.encoder
    asked = text_encoder(encoder or text_encoder_of(name, weights, project, report))
    with slide_store(slide, project) as store:
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
    from ..analysis.predict_slides import predict_slides as job
    from ..io.project import Project
    from ..models.trained_heads import trained_heads

    with ExitStack() as stack:
        if not isinstance(project, Project):
            project = stack.enter_context(Project.open(project, read_only=True))
        return run(job(project, trained_heads(project.models).get(head), slides), report)

"""Masks: from prompts, from other programs, and out as training data."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from ..core.edits import Edit
from ..core.jobs import run
from ..core.prompts import Prompts, one_each
from ..core.slide import Slide, SlideError
from ._shared import at, class_number, network
from .slides import open_slide

if TYPE_CHECKING:
    from ..analysis.candidate import Candidate
    from ..analysis.draw_labels import Meaning
    from ..analysis.export import ExportReport
    from ..analysis.import_objects import ImportReport
    from ..analysis.segment_each import SegmentedEach
    from ..io.project import Project, SlideRow
    from ..io.reader import SlideReader
    from ..models.base import Segmenter
    from ._shared import Report


def segment(
    slide: Slide,
    box: Sequence[float] | None = None,
    points: ArrayLike | None = None,
    positive: ArrayLike | None = None,
    segmenter: str | Segmenter = "pathfm-click",
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
    from ..analysis.segment import segment as job
    from ..models.catalog import get_segmenter

    prompts = _prompts(box, points, positive)
    if isinstance(segmenter, str):
        segmenter = network(get_segmenter, segmenter, weights, project, report)
    return run(job(slide, prompts, segmenter), report)


def segment_each(
    project: Project,
    slide: Slide,
    places: ArrayLike,
    segmenter: str | Segmenter = "pathfm-click",
    weights: str | Path | None = None,
    size: float | None = None,
    class_name: str = "",
    layer: str = "regions",
    report: Report | None = None,
) -> tuple[SegmentedEach, int]:
    """Segment an object for each of many boxes or points, as one edit that can be undone.

    What is annotated already stays as it is, and is not segmented once more.

    Parameters
    ----------
    project : Project
    slide : Slide
    places : array_like
        ``(N, 4)`` boxes ``(y0, x0, y1, x1)`` or ``(N, 2)`` points ``(y, x)``, level-0 pixels.
    segmenter : str or Segmenter
    weights : str or Path, optional
        A checkpoint of the segmenter instead of a download.
    size : float, optional
        About how large the objects under points are, level-0 pixels.
    class_name : str
        One of the project's classes; none yet if empty.
    layer : str
    report : callable, optional

    Returns
    -------
    found : SegmentedEach
        Says what was left out, and why.
    made : int
        New objects.

    Raises
    ------
    ValueError
        There is no place or no such class, or the segmenter does not understand such prompts.
    ProjectError
        The project cannot be written.
    ModelError
        The weights are missing or do not fit.
    """
    from ..analysis.keep_objects import keep_candidates
    from ..analysis.segment_each import segment_each as job
    from ..io.masks import AnnotationLayer
    from ..models.catalog import get_segmenter

    prompts, class_id = one_each(places), class_number(project, class_name)
    if isinstance(segmenter, str):
        segmenter = network(get_segmenter, segmenter, weights, project, report)
    project.add_slide(slide)
    opened = AnnotationLayer.open(project, slide.id, layer, slide.levels[0].shape)
    found = run(job(slide, prompts, segmenter, size=size, layer=opened), report)
    text = f"segment each ({len(found.candidates):,} objects)"
    keep = keep_candidates(opened, found.candidates, class_id, project.author, text)
    return found, run(keep, report)


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
    from ..analysis.candidate import commit_edit
    from ..io.masks import AnnotationLayer

    class_id = class_number(project, class_name)
    project.add_slide(slide)
    annotations = AnnotationLayer.open(project, slide.id, layer, slide.levels[0].shape)
    edit = commit_edit(annotations, candidate, class_id)
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
    from ..analysis.import_objects import import_job, read_objects
    from ..io.masks import AnnotationLayer
    from ..io.project import Project

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
    from ..analysis.export import export_dataset, is_annotated

    with at(project, create=False) as opened, ExitStack() as stack:
        slides = {
            row.id: stack.enter_context(_reopened(row))
            for row in opened.slides()
            if is_annotated(opened, row.id, options.get("layer", "regions"))
        }
        return run(export_dataset(opened, out, slides=slides, **options), report)


def _reopened(row: SlideRow) -> SlideReader:
    slide = open_slide(row.path, mpp=row.mpp)
    if slide.id != row.id:
        slide.close()
        raise SlideError(
            f"{row.path} is another slide than the one that was annotated there. Put that one "
            "back, or open it in this project from where it is now."
        )
    return slide


def _prompts(
    box: Sequence[float] | None, points: ArrayLike | None, positive: ArrayLike | None
) -> Prompts:
    place = np.zeros((0, 2)) if points is None else np.asarray(points, float).reshape(-1, 2)
    sign = np.ones(len(place), bool) if positive is None else np.asarray(positive, bool)
    return Prompts(place, sign, None if box is None else np.asarray(box, float))

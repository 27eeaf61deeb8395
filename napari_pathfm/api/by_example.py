"""Mark something here, and the same is segmented there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..core.edits import Edit
from ..core.jobs import run
from ..core.slide import Slide
from ._shared import Report, class_number, network

if TYPE_CHECKING:
    from ..analysis.by_example import FoundByExample
    from ..analysis.crop import Box
    from ..io.project import Project
    from ..models.base import ExampleSegmenter, Segmenter

PROTOTYPES = "prototypes"
"""Name of the way that needs no model but an encoder."""


def save_example(
    project: Project,
    slide: Slide,
    name: str,
    objects: Sequence[int],
    layer: str = "regions",
) -> int:
    """Keep objects of an annotation layer as an example of what is to be segmented.

    Parameters
    ----------
    project : Project
    slide : Slide
    name : str
        If it has examples already, these are added to them.
    objects : sequence of int
        Ids, at least one; others of the same class nearby are meant as well.
    layer : str

    Returns
    -------
    int
        How many examples the name has now.

    Raises
    ------
    ValueError
        There is no such object.
    ProjectError
        The name is impossible, or the project cannot be written.
    """
    from ..analysis.take_example import take_examples
    from ..io.examples import load_examples, save_examples
    from ..io.masks import AnnotationLayer

    project.add_slide(slide)
    opened = AnnotationLayer.open(project, slide.id, layer, slide.levels[0].shape)
    save_examples(project, take_examples(slide, opened, objects, name))
    return len(load_examples(project, name))


def segment_by_example(
    project: Project,
    slide: Slide,
    example: str,
    region: Sequence[float] | None = None,
    model: str | ExampleSegmenter = PROTOTYPES,
    encoder: str = "efficientnet-lite0",
    segmenter: str | Segmenter | None = None,
    class_name: str = "",
    layer: str = "regions",
    weights: str | Path | None = None,
    report: Report | None = None,
) -> tuple[FoundByExample, Edit]:
    """Segment what looks like an example of the project, as one edit that can be undone.

    Parameters
    ----------
    project : Project
    slide : Slide
        The one that the example is from, or another.
    example : str
    region : sequence of float, optional
        ``(y0, x0, y1, x1)``, level-0 pixels; all of the slide if absent.
    model : str or ExampleSegmenter
        "prototypes": those of the examples' patch tokens; "seggpt"; or one that is loaded already.
    encoder : str
        Whose patch tokens make the prototypes.
    segmenter : str or Segmenter, optional
        Draws the objects, if it draws those of the examples as they are; none if absent.
    class_name : str
        One of the project's classes; none yet if empty.
    layer : str
    weights : str or Path, optional
        A checkpoint of the model (with prototypes, of the encoder) instead of a download.
    report : callable, optional

    Returns
    -------
    found : FoundByExample
    edit : Edit
        As it was committed.

    Raises
    ------
    ValueError
        There is no such class, the region is impossible, or nothing new was found
        (:class:`~napari_pathfm.analysis.found_edit.NothingNew`).
    ProjectError
        There is no such example, or the project cannot be written.
    ModelError
        Weights are missing or do not fit.
    """
    from ..analysis.by_example import segment_by_example as job
    from ..analysis.found_edit import found_edit
    from ..io.examples import load_examples
    from ..io.masks import AnnotationLayer
    from ..models.catalog import get_segmenter

    examples = load_examples(project, example)
    class_id = class_number(project, class_name)
    if isinstance(model, str):
        model = _model(model, encoder, weights, project, report)
    if isinstance(segmenter, str):
        segmenter = network(get_segmenter, segmenter, None, project, report)
    found = run(job(slide, examples, model, _box(region), segmenter), report)
    project.add_slide(slide)
    opened = AnnotationLayer.open(project, slide.id, layer, slide.levels[0].shape)
    edit = found_edit(opened, found, class_id, project.author)
    opened.commit(edit)
    return found, edit


def _model(
    name: str,
    encoder: str,
    weights: str | Path | None,
    project: Project,
    report: Report | None,
) -> ExampleSegmenter:
    from ..analysis.prototypes import Prototypes
    from ..models.catalog import get_encoder, get_example_segmenter

    if name == PROTOTYPES:
        return Prototypes(network(get_encoder, encoder, weights, project, report))
    return network(get_example_segmenter, name, weights, project, report)


def _box(region: Sequence[float] | None) -> Box | None:
    if region is None:
        return None
    y0, x0, y1, x1 = (float(side) for side in region)
    return y0, x0, y1, x1

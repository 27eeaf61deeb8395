"""The command ``pathfm embed``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

import typer

from .cli_options import Json, Mpp, ProjectFolder, SlideFile, Weights, default_project
from .cli_stain import Stain, StainReference, reference
from .cli_tiles import MaxBlur, MaxPen, MinTissue, limits
from .core.jobs import run
from .terminal import answer, command, licence, reporting, say

if TYPE_CHECKING:
    from .analysis.embed_slide import EmbeddedSlide, EmbedTask
    from .api import Report

Device = Annotated[
    str | None, typer.Option(help="“cpu”, “cuda:0”, “mps”; the best there is if absent.")
]


@command
def embed(
    slide: SlideFile,
    encoder: Annotated[
        str, typer.Option(help="Encoder; see “pathfm models”.")
    ] = "efficientnet-lite0",
    project: ProjectFolder = None,
    mpp: Mpp = None,
    tile_mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of a tile; the encoder's own.")
    ] = None,
    tile_px: Annotated[
        int | None, typer.Option(help="Side of a tile in pixels; the encoder's own.")
    ] = None,
    min_tissue: MinTissue = 0.5,
    max_blur: MaxBlur = None,
    max_pen: MaxPen = None,
    stain: Stain = None,
    stain_reference: StainReference = None,
    weights: Weights = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Embed the tissue tiles of a slide; a run that was stopped goes on from there."""
    from .analysis.embed_slide import EmbedTask, open_task
    from .models.catalog import encoders, refuse_other_kinds

    task = EmbedTask(
        str(slide),
        project or default_project(slide),
        encoder,
        weights,
        mpp,
        tile_mpp=tile_mpp,
        tile_px=tile_px,
        limits=limits(min_tissue, max_blur, max_pen),
        device=device,
    )
    refuse_other_kinds(encoders(), encoder)
    licence(encoder)
    with reporting("Embedding") as report:
        open_task(task).close()  # what is wrong with it is told before weights are downloaded
        task = replace(task, stain=reference(stain, stain_reference, report))
        made = _embed_one(task, report)
    for remark in made.remarks:
        say(remark)
    facts = {
        "slide": made.slide.id,
        "project": str(task.project),
        "encoder": encoder,
        "grid": made.grid_hash,
        "tiles": made.tiles,
        "computed": made.computed,
        "dim": made.dim,
        "precision": made.key.precision,
        "stain": made.key.stain or None,
    }
    answer(facts, f"{_done(made)} with {encoder}, kept in {task.project}", as_json)


def _embed_one(task: EmbedTask, report: Report) -> EmbeddedSlide:
    from .analysis.embed_slide import embed_slide, load_encoder
    from .io.project import open_or_read

    encoder = run(load_encoder(task), report)
    with open_or_read(task.project) as project:
        return run(embed_slide(task, encoder, project), report)


def _done(made: EmbeddedSlide) -> str:
    if made.from_store:
        return f"{made.tiles} tiles from the store: they were embedded before"
    kept = made.tiles - made.computed
    more = f" ({kept} of them from the store)" if kept else ""
    return f"{made.tiles} tiles embedded{more}"

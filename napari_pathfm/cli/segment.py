"""The command ``pathfm segment``: what was marked in one place is found in another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import api
from .options import Json, Mpp, ProjectFolder, SlideFile, Weights, default_project
from .terminal import answer, command, licence, reporting

if TYPE_CHECKING:
    from ..io.project import Project
    from ..io.reader import SlideReader

DEFAULT_ENCODER = "efficientnet-lite0"
DEFAULT_SEGMENTER = "pathfm-click"
PROTOTYPES = "prototypes"
"""Of modules that take too long to import for a command's help."""

NONE = "none"


@command
def segment(
    slide: SlideFile,
    example: Annotated[
        str | None, typer.Option(metavar="NAME", help="Segment what looks like this example.")
    ] = None,
    save_example: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="First keep the --objects as an example of this name."),
    ] = None,
    objects: Annotated[
        str | None,
        typer.Option(metavar="ID,ID,...", help="Objects of the layer that the example shows."),
    ] = None,
    project: ProjectFolder = None,
    region: Annotated[
        str | None,
        typer.Option(metavar="Y0,X0,Y1,X1", help="In level-0 pixels; all of the slide if absent."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(help="“prototypes” of an encoder's patch tokens, or “seggpt”."),
    ] = PROTOTYPES,
    encoder: Annotated[str, typer.Option(help="Of the prototypes.")] = DEFAULT_ENCODER,
    weights: Weights = None,
    segmenter: Annotated[
        str | None,
        typer.Option(
            help="Draws the outlines; “none” for none. pathfm-click for prototypes if absent."
        ),
    ] = None,
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Class of what is found.")
    ] = "",
    layer: Annotated[str, typer.Option(help="Name of the annotation layer.")] = "regions",
    mpp: Mpp = None,
    as_json: Json = False,
) -> None:
    """Segment what looks like an example: mark it once, find it here or on another slide.

    Examples are kept in the project by name; saving more under one name adds to it. What is
    annotated already stays as it is.
    """
    if (save_example is None) != (objects is None):
        raise typer.BadParameter("--save-example NAME and --objects ID,ID belong together")
    if example is None and save_example is None:
        raise typer.BadParameter("give --example NAME, or --save-example NAME with --objects ID,ID")
    ids, box = _ids(objects), _region(region)
    folder = project or default_project(slide)
    facts: dict[str, Any] = {"project": str(folder), "layer": layer}
    lines = []
    with (
        api.open_slide(slide, mpp) as opened,
        api.open_project(folder) as kept,
        opened.with_mpp(mpp or api.kept_mpp(opened, folder) or opened.mpp) as known,
    ):
        facts["slide"] = known.id
        if save_example is not None:
            count = api.save_example(kept, known, save_example, ids, layer)
            facts |= {"saved_example": save_example, "examples": count}
            are = "is 1 example" if count == 1 else f"are {count} examples"
            lines.append(f"There {are} of “{save_example}” in {folder}.")
        if example is not None:
            licence(encoder if model == PROTOTYPES else model)
            if segmenter is None:
                segmenter = DEFAULT_SEGMENTER if model == PROTOTYPES else NONE
            if segmenter != NONE:
                licence(segmenter)
            made, text = _segment(
                kept,
                known,
                example,
                region=box,
                model=model,
                encoder=encoder,
                segmenter=None if segmenter == NONE else segmenter,
                class_name=class_name,
                layer=layer,
                weights=weights,
            )
            facts |= made
            lines.append(text)
    answer(facts, "\n".join(lines), as_json)


def _segment(
    project: Project, slide: SlideReader, example: str, **options: Any
) -> tuple[dict[str, Any], str]:
    """Return facts and a sentence of what was found."""
    from ..analysis.found_edit import NothingNew

    facts: dict[str, Any] = {"example": example, "objects": [], "refined": 0}
    try:
        with reporting("Segmenting by example") as report:
            found, edit = api.segment_by_example(project, slide, example, report=report, **options)
    except NothingNew as nothing:
        return facts, str(nothing)
    rows = edit.rows.after.rows
    facts["objects"] = [
        {
            "id": int(row["id"]),
            "score": round(float(row["score"]), 4),
            "box": [int(row[side]) for side in ("y0", "x0", "y1", "x1")],
        }
        for row in rows
    ]
    facts["refined"] = found.refined
    what = "new object" if len(rows) == 1 else "new objects"
    text = f"{len(rows):,} {what} like “{example}” in “{options['layer']}”"
    return facts, f"{text}; {found.refined:,} outlines drawn by the segmenter."


def _ids(text: str | None) -> list[int]:
    try:
        return [int(part) for part in text.split(",")] if text is not None else []
    except ValueError:
        raise typer.BadParameter(f"--objects takes ID,ID,... as in 3,17, not {text!r}") from None


def _region(text: str | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    try:
        y0, x0, y1, x1 = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(
            f"--region takes Y0,X0,Y1,X1, as in 0,0,2000,3000, not {text!r}"
        ) from None
    return y0, x0, y1, x1

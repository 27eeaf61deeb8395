"""The command ``pathfm segment``: what an example shows, or each of the boxes of a file."""

from __future__ import annotations

from pathlib import Path
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
    prompts: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Segment an object for each box (columns y0,x0,y1,x1) or point (y,x) of this CSV, "
            "in level-0 pixels.",
        ),
    ] = None,
    size: Annotated[
        float | None,
        typer.Option(min=1, help="About how large objects under points are, in level-0 pixels."),
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
            help="Draws the objects; “none” for none. pathfm-click if absent, but for seggpt."
        ),
    ] = None,
    class_name: Annotated[
        str, typer.Option("--class", metavar="NAME", help="Class of what is found.")
    ] = "",
    layer: Annotated[str, typer.Option(help="Name of the annotation layer.")] = "regions",
    mpp: Mpp = None,
    as_json: Json = False,
) -> None:
    """Segment what looks like an example, or an object for each box or point of a file.

    Mark something once, find it here or on another slide: examples are kept in the project by name;
    saving more under one name adds to it. What is annotated already stays as it is.
    """
    if (save_example is None) != (objects is None):
        raise typer.BadParameter("--save-example NAME and --objects ID,ID belong together")
    if example is None and save_example is None and prompts is None:
        raise typer.BadParameter(
            "give --example NAME, --save-example NAME with --objects ID,ID, or --prompts FILE"
        )
    if prompts is not None and not (example is save_example is region is None):
        raise typer.BadParameter("--prompts FILE goes without examples and without a region")
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
        if prompts is not None:
            chosen = segmenter or DEFAULT_SEGMENTER
            licence(chosen)
            made, text = _each(
                kept,
                known,
                prompts,
                segmenter=chosen,
                weights=weights,
                size=size,
                class_name=class_name,
                layer=layer,
            )
            facts |= made
            lines.append(text)
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
    return facts, f"{text}; {found.refined:,} drawn by the segmenter."


def _each(
    project: Project, slide: SlideReader, path: Path, **options: Any
) -> tuple[dict[str, Any], str]:
    """Return facts and a sentence of what became of the places of a file."""
    from ..io.interop.place_table import read_places

    places = read_places(path)
    with reporting("Segmenting each") as report:
        found, count = api.segment_each(project, slide, places, report=report, **options)
    facts = {"prompts": len(places), "new_objects": count, "left_out": dict(found.left_out)}
    what = "new object" if count == 1 else "new objects"
    text = f"{count:,} {what} in “{options['layer']}”, for {len(places):,} in {path.name}."
    reasons = "; ".join(f"{number:,} {why}" for why, number in found.left_out.items())
    return facts, f"{text} Left out: {reasons}." if reasons else text


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

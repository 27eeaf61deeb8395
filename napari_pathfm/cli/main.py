"""The verbs as commands: ``pathfm info|tissue|tiles|embed|search|segment|import|export``, ...

Answers go to stdout (with ``--json`` one JSON object and nothing else), progress and errors to
stderr. Exit codes: 0 done, 1 failed (be it one slide of many), 2 wrong usage, 3 bad input or slide,
4 model or weights, 5 project or disk, 130 stopped with Ctrl+C.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import api
from . import terminal
from .embed import embed
from .features import app as features_app
from .models import app as models_app
from .options import Json, Mpp, ProjectFolder, SlideFile, default_project
from .search import classify, search
from .segment import segment
from .slide import app as slide_app
from .terminal import answer, command, reporting
from .tiles import tiles
from .train_click import train_click

if TYPE_CHECKING:
    from ..analysis.draw_labels import Meaning
    from ..analysis.tissue import TissueMask
    from ..io.reader import SlideReader

HELP = """Explore, segment and export whole-slide images with pathology foundation models.

Exit codes: 0 done, 1 failed (be it one slide of many), 2 wrong usage, 3 bad input or slide, 4 model
or weights, 5 project or disk, 130 stopped with Ctrl+C (what is stored is kept; run again to go on).
For research use only.
"""

app = typer.Typer(
    name="pathfm", help=HELP, no_args_is_help=True, add_completion=False, rich_markup_mode=None
)

app.add_typer(features_app, name="features")
app.add_typer(models_app, name="models")
app.add_typer(slide_app, name="slide")


class Values(StrEnum):
    """What the values of a label image are."""

    OBJECTS = "objects"
    CLASSES = "classes"


@app.callback()
def settings(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
) -> None:
    """Take options that hold for every command."""
    terminal.debug = debug


@app.command()
@command
def info(slide: SlideFile, mpp: Mpp = None, as_json: Json = False) -> None:
    """Say what a slide is: size, levels, micrometres per pixel."""
    with api.open_slide(slide, mpp) as opened:
        height, width = opened.levels[0].shape
        facts = {
            "path": str(opened.path),
            "id": opened.id,
            "shape": [height, width],
            "mpp": opened.mpp,
            "levels": [
                {"shape": list(level.shape), "downsample": level.downsample}
                for level in opened.levels
            ],
            "associated_images": list(opened.associated_images),
        }
        size = f"{opened.mpp:.4g} µm per pixel" if opened.mpp else "no micrometres per pixel: --mpp"
        text = [f"{opened.name}: {width} x {height} pixels, {size}"]
        text += [
            f"  level {number}: {level.shape[1]} x {level.shape[0]}, 1/{level.downsample:g}"
            for number, level in enumerate(opened.levels)
        ]
        if opened.associated_images:
            text.append(f"  also: {', '.join(opened.associated_images)}")
    answer(facts, "\n".join(text), as_json)


@app.command()
@command
def tissue(
    slide: SlideFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the mask as PNG: 255 is tissue.")
    ] = None,
    mpp: Mpp = None,
    as_json: Json = False,
) -> None:
    """Find tissue, leaving out background, pen and fat."""
    with api.open_slide(slide, mpp) as opened:
        found = api.tissue(opened)
        if output is not None:
            _write_mask(output, found)
        fraction = float(found.mask.mean())
        facts = {
            "slide": opened.id,
            "tissue_fraction": fraction,
            "tissue_mm2": _area(opened, fraction),
            "mask": str(output) if output else None,
            "mask_shape": list(found.mask.shape),
            "downsample": found.downsample,
        }
    square = f", {facts['tissue_mm2']:.1f} mm²" if facts["tissue_mm2"] is not None else ""
    answer(facts, f"{100 * fraction:.1f}% of the slide is tissue{square}", as_json)


app.command()(tiles)
app.command("train-click")(train_click)


app.command()(embed)
app.command()(search)
app.command()(classify)
app.command()(segment)


@app.command()
@command
def export(
    project: Annotated[Path, typer.Option("--project", help="Project folder.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new folder.")],
    layer: Annotated[str, typer.Option(help="Name of the annotation layer.")] = "regions",
    patch_px: Annotated[int, typer.Option(min=16, help="Side of the images in pixels.")] = 512,
    patch_mpp: Annotated[
        float | None,
        typer.Option(help="Micrometres per pixel of the images; as scanned."),
    ] = None,
    split: Annotated[
        tuple[float, float, float], typer.Option(help="Fractions of train, val and test.")
    ] = (0.7, 0.15, 0.15),
    seed: Annotated[int, typer.Option(help="Decides which region goes where.")] = 0,
    as_json: Json = False,
) -> None:
    """Write annotations as training data: images, index masks, split and manifest."""
    with reporting("Exporting") as report:
        made = api.export(
            project,
            output,
            report,
            layer=layer,
            patch_px=patch_px,
            mpp=patch_mpp,
            split=split,
            seed=seed,
        )
    facts = {
        "folder": str(made.folder),
        "classes": list(made.classes),
        "patches": made.patches,
        "regions": made.regions,
        "objects": made.objects,
        "unclassified": made.unclassified,
        "tiles": made.tiles,
    }
    answer(facts, made.summary(), as_json)


@app.command("import")
@command
def import_objects(
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="GeoJSON, label image (TIFF, PNG, .npy), OME-Zarr."),
    ],
    slide: Annotated[Path, typer.Option("--slide", help="Slide that the objects belong to.")],
    project: ProjectFolder = None,
    layer: Annotated[str, typer.Option(help="Name of the annotation layer.")] = "regions",
    values: Annotated[
        Values, typer.Option(help="What the values of a label image are.")
    ] = Values.OBJECTS,
    as_json: Json = False,
) -> None:
    """Bring outlines or masks of another program into an annotation layer, as one edit."""
    with api.open_slide(slide) as opened, reporting(f"Importing {file.name}") as report:
        folder = project or default_project(slide)
        meaning: Meaning = "classes" if values is Values.CLASSES else "objects"
        made = api.import_objects(file, opened, folder, layer, meaning, report)
    facts = {
        "slide": opened.id,
        "project": str(folder),
        "layer": made.layer,
        "objects": made.objects,
        "overlapping": made.overlapping,
        "left_out": dict(made.left_out),
        "new_classes": list(made.new_classes),
        "notes": list(made.notes),
    }
    answer(facts, made.summary(), as_json)


def _area(slide: SlideReader, fraction: float) -> float | None:
    if slide.mpp is None:
        return None
    height, width = slide.levels[0].shape
    return fraction * height * width * slide.mpp**2 / 1e6


def _write_mask(path: Path, tissue: TissueMask) -> None:
    import numpy as np
    from PIL import Image

    from ..io.atomic import replacing

    with replacing(path) as temporary:
        Image.fromarray(tissue.mask.astype(np.uint8) * 255).save(temporary, format="PNG")

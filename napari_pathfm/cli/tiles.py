"""The command ``pathfm tiles``, and the options that leave tiles out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import api
from ..core.quality import OFF, QualityLimits, Sifted, TileQuality, named_limits, sift
from .options import Json, Mpp, ProjectFolder, SlideFile
from .terminal import answer, command, reporting

if TYPE_CHECKING:
    from ..core.tiles import TileGrid

MinTissue = Annotated[
    float, typer.Option(min=0, max=1, help="Leave out tiles with less tissue, 0 to 1.")
]
MaxBlur = Annotated[
    float | None,
    typer.Option(min=0.1, help="Leave out tiles whose finest detail is larger, in µm; about 1.3."),
]
MaxPen = Annotated[
    float | None,
    typer.Option(min=0, max=1, help="Leave out tiles with more pen, 0 to 1; about 0.05."),
]


def limits(min_tissue: float, max_blur: float | None, max_pen: float | None) -> QualityLimits:
    """Return limits as options give them, where a limit that is not given leaves nothing out."""
    blur = OFF.max_blur if max_blur is None else max_blur
    return QualityLimits(min_tissue, blur, OFF.max_pen if max_pen is None else max_pen)


@command
def tiles(
    slide: SlideFile,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write a CSV file with a row a tile.")
    ] = None,
    project: ProjectFolder = None,
    mpp: Mpp = None,
    tile_mpp: Annotated[float, typer.Option(help="Micrometres per pixel of a tile.")] = 0.5,
    tile_px: Annotated[int, typer.Option(help="Side of a tile in pixels.")] = 224,
    min_tissue: MinTissue = 0.5,
    max_blur: MaxBlur = None,
    max_pen: MaxPen = None,
    as_json: Json = False,
) -> None:
    """Measure tissue, blur and pen of the tiles of a slide; kept only with --project."""
    wanted = limits(min_tissue, max_blur, max_pen)
    with api.open_slide(slide, mpp) as opened, reporting("Measuring tiles") as report:
        found = api.tissue(opened)
        grid = api.tiles(opened, found, tile_mpp, tile_px, min_tissue=min_tissue)
        quality = api.quality(opened, grid, found, project, report)
        sifted = sift(grid, quality, wanted)
    if output is not None:
        _write_table(output, grid, quality, sifted)
    facts = {
        "slide": grid.slide_id,
        "grid": sifted.grid.hash,
        "limits": named_limits(wanted),
        "table": str(output) if output else None,
        **sifted.facts(),
    }
    answer(facts, sifted.summary(), as_json)


def _write_table(path: Path, grid: TileGrid, quality: TileQuality, sifted: Sifted) -> None:
    import csv

    from ..io.atomic import replacing

    columns = (quality.tissue, quality.blur, quality.pen)
    with (
        replacing(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8") as file,
    ):
        table = csv.writer(file)
        table.writerow(("tile", "y", "x", "side", "tissue", "blur_um", "pen", "stays"))
        for tile, (y, x) in enumerate(grid.origins.tolist()):
            measures = (f"{column[tile]:.4g}" for column in columns)
            table.writerow((tile, y, x, f"{grid.side:g}", *measures, int(sifted.keep[tile])))

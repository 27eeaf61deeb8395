"""Features of other programs: ``pathfm features import|export``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import api
from .options import Json, Mpp, ProjectFolder, SlideFile, default_project
from .terminal import answer, command, reporting

if TYPE_CHECKING:
    from ..io.reader import SlideReader

app = typer.Typer(
    help="Features made in other programs, and ours for them: TRIDENT, CLAM, AnnData, SpatialData.",
    no_args_is_help=True,
)


class Format(StrEnum):
    """Formats of :data:`napari_pathfm.io.interop.feature_files.FORMATS`."""

    TRIDENT = "trident"
    CLAM = "clam"
    ANNDATA = "anndata"
    SPATIALDATA = "spatialdata"


@app.command("import")
@command
def import_features(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE", help="TRIDENT .h5, CLAM .h5 or .pt, AnnData .h5ad, SpatialData folder."
        ),
    ],
    slide: Annotated[Path, typer.Option("--slide", help="Slide that they were made of.")],
    project: ProjectFolder = None,
    mpp: Mpp = None,
    encoder: Annotated[
        str, typer.Option(help="Encoder that made them, where the file does not say.")
    ] = "",
    pooling: Annotated[
        str, typer.Option(help="How it pools (cls, cls+mean, avg, own), where nobody knows.")
    ] = "",
    side: Annotated[
        float | None, typer.Option(min=1, help="Side of a tile in level-0 pixels, likewise.")
    ] = None,
    tile_px: Annotated[
        int | None, typer.Option(min=1, help="Side of a tile as the encoder saw it, likewise.")
    ] = None,
    coords: Annotated[
        Path | None, typer.Option(help="HDF5 file that says where the tiles are, likewise.")
    ] = None,
    table: Annotated[str, typer.Option(help="Which table of a SpatialData folder.")] = "",
    as_json: Json = False,
) -> None:
    """Bring features that another program has made of a slide into a project."""
    folder = project or default_project(slide)
    with (
        _opened(slide, mpp, folder) as opened,
        reporting(f"Importing {file.name}") as report,
    ):
        made = api.import_features(
            file,
            opened,
            folder,
            report,
            encoder=encoder,
            pooling=pooling,
            side=side,
            tile_px=tile_px,
            coords=coords,
            table=table,
        )
    facts = {
        "slide": opened.id,
        "project": str(folder),
        "program": made.program,
        "encoder": made.key.encoder,
        "pooling": made.key.pooling,
        "weights": made.key.weights,
        "grid": made.grid.hash,
        "tiles": len(made.grid),
        "added": made.added,
        "dim": made.dim,
        "notes": list(made.notes),
    }
    answer(facts, made.summary(), as_json)


@app.command()
@command
def export(
    slide: SlideFile,
    form: Annotated[Format, typer.Option("--format", help="Whose format.")],
    output: Annotated[
        Path,
        typer.Option("--output", "-o", help="A file; for clam and spatialdata a folder."),
    ],
    project: ProjectFolder = None,
    mpp: Mpp = None,
    encoder: Annotated[
        str, typer.Option(help="Whose embeddings; see “pathfm models”.")
    ] = "efficientnet-lite0",
    as_json: Json = False,
) -> None:
    """Write embeddings of a slide so that another program opens them."""
    folder = project or default_project(slide)
    with _opened(slide, mpp, folder) as opened, reporting(f"Writing {output.name}") as report:
        made = api.export_features(opened, folder, output, form.value, encoder, report)
    facts = {
        "slide": opened.id,
        "format": made.form,
        "files": [str(path) for path in made.paths],
        "encoder": made.key.encoder,
        "tiles": made.tiles,
        "dim": made.dim,
    }
    answer(facts, made.summary(), as_json)


@contextmanager
def _opened(path: Path, mpp: float | None, project: Path) -> Iterator[SlideReader]:
    """Open a slide with its mpp, if anybody has said it: the user, the file, or the user before."""
    with (
        api.open_slide(path, mpp) as opened,
        opened.with_mpp(opened.mpp or api.kept_mpp(opened, project)) as known,
    ):
        yield known

"""Commands that find tiles: ``pathfm search|classify``."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import api
from .options import Json, ProjectFolder, SlideFile, Weights, default_project
from .terminal import answer, command, licence, reporting

if TYPE_CHECKING:
    from ..analysis.zero_shot import ZeroShot
    from ..core.tiles import TileGrid

DEFAULT_ENCODER = "efficientnet-lite0"
"""Of :mod:`napari_pathfm.models.catalog`, which takes too long to import for a command's help."""

BEST_TILES = 10
"""So many tiles of the slide judge how much of a class there is in it."""


@command
def search(
    slide: SlideFile,
    tile: Annotated[int | None, typer.Option(min=0, help="Number of the tile to look for.")] = None,
    at: Annotated[
        str | None, typer.Option(metavar="Y,X", help="Position in level-0 pixels instead.")
    ] = None,
    text: Annotated[
        str | None,
        typer.Option(help="What the tiles should show, in words; for an encoder of texts."),
    ] = None,
    project: ProjectFolder = None,
    encoder: Annotated[
        str | None,
        typer.Option(
            help="Encoder, see “pathfm models”; efficientnet-lite0 if absent, and for a text the "
            "one that has embedded the slide and knows words."
        ),
    ] = None,
    weights: Weights = None,
    k: Annotated[int, typer.Option("-k", min=1, help="How many hits.")] = 10,
    as_json: Json = False,
) -> None:
    """Find the tiles that look like one of them, or that a text describes."""
    position = _position(at)
    if sum(query is not None for query in (tile, position, text)) != 1:
        raise typer.BadParameter("give what to look for: either --tile N, --at Y,X or --text WORDS")
    folder = project or default_project(slide)
    with api.open_slide(slide) as opened:
        if text is not None and encoder is None:
            encoder = api.embedded_for_text(opened, folder)
        encoder = encoder or DEFAULT_ENCODER
        grid, embeddings = api.load_embeddings(opened, folder, encoder)
        if text is not None:
            licence(encoder)
            with reporting("Searching") as report:
                hits = api.search_text(
                    opened, grid, embeddings, text, k, project=folder, weights=weights,
                    report=report,
                )  # fmt: skip
    if position is not None:
        tile = grid.at(*position)
        if tile is None:
            raise ValueError(f"No tile lies at {at}: choose a position on tissue.")
    if text is None:
        hits = api.search(embeddings, tile if tile is not None else (), k)
    rows: list[dict[str, Any]] = [
        {"tile": int(number), "y": int(y), "x": int(x), "similarity": round(float(value), 4)}
        for number, value, (y, x) in zip(
            hits.tiles, hits.values, grid.origins[hits.tiles], strict=True
        )
    ]
    asked = {"tile": tile, "text": text}
    facts = {"slide": grid.slide_id, "encoder": encoder, **asked, "side": grid.side}
    lines = ["  tile       y       x  similarity"]
    lines += ["{tile:6d} {y:7d} {x:7d}  {similarity:.4f}".format(**row) for row in rows]
    answer({**facts, "hits": rows}, "\n".join(lines), as_json)


@command
def classify(
    slide: SlideFile,
    classes: Annotated[
        list[str],
        typer.Option(
            "--class", help="Name of a class, with synonyms after “|”: “fat|adipose tissue”."
        ),
    ],
    project: ProjectFolder = None,
    encoder: Annotated[
        str | None,
        typer.Option(help="Encoder of texts; the one that has embedded the slide if absent."),
    ] = None,
    weights: Weights = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="CSV file with a row a tile.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say which of some classes, given by name alone, fits each tile best."""
    named = {names[0]: names for names in map(_synonyms, classes)}
    if len(named) < 2:
        raise typer.BadParameter("give two classes or more, each with --class NAME")
    folder = project or default_project(slide)
    with api.open_slide(slide) as opened:
        encoder = encoder or api.embedded_for_text(opened, folder) or DEFAULT_ENCODER
        grid, embeddings = api.load_embeddings(opened, folder, encoder)
        licence(encoder)
        with reporting("Classifying") as report:
            found = api.zero_shot(
                opened, grid, embeddings, named, project=folder, weights=weights, report=report
            )
    if output is not None:
        _write(output, grid, found)
    best, strongest = found.best, found.slide(BEST_TILES)
    rows: list[dict[str, Any]] = [
        {
            "class": name,
            "tiles": int((best == number).sum()),
            "similarity": round(float(strongest[number]), 4),
        }
        for number, name in enumerate(found.classes)
    ]
    lines = [f"   tiles  similarity of the best {BEST_TILES}  class"]
    lines += ["{tiles:8d}  {similarity:25.4f}  {class}".format(**row) for row in rows]
    facts = {"slide": grid.slide_id, "encoder": encoder, "classes": rows}
    answer(facts, "\n".join(lines), as_json)


def _synonyms(text: str) -> list[str]:
    names = [name.strip() for name in text.split("|")]
    if not all(names):
        raise typer.BadParameter(f"--class {text!r} has an empty name")
    return names


def _write(path: Path, grid: TileGrid, found: ZeroShot) -> None:
    from ..io.atomic import replacing

    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["tile", "y", "x", "class", *found.classes])
        for tile, best, cosines in zip(found.tiles, found.best, found.cosines, strict=True):
            y, x = grid.origins[tile].tolist()
            table.writerow([tile, y, x, found.classes[best], *(f"{c:.5f}" for c in cosines)])


def _position(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    try:
        y, x = (float(part) for part in text.split(","))
    except ValueError:
        raise typer.BadParameter(f"--at takes Y,X, as in 1200,3400, not {text!r}") from None
    return y, x

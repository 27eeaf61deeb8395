"""Options of stain normalisation."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .. import api

if TYPE_CHECKING:
    from ..analysis.stain_normalise import Reference
    from ..api import Report


class StainName(StrEnum):
    """Ways to normalise stains."""

    MACENKO = "macenko"
    REINHARD = "reinhard"


Stain = Annotated[
    StainName | None, typer.Option(help="Normalise the stains of the tiles; as scanned if absent.")
]
StainReference = Annotated[
    Path | None,
    typer.Option(help="Slide that the others are to look like; a typical H&E slide if absent."),
]


def reference(stain: StainName | None, slide: Path | None, report: Report) -> Reference | None:
    """Return what slides are to be made to look like, if anything.

    Raises
    ------
    ValueError
        There is a slide but no method, or the slide has no tissue.
    """
    if stain is None:
        if slide is not None:
            raise ValueError("Say how to make slides look like it: add --stain macenko.")
        return None
    if slide is None:
        from ..analysis.stain_normalise import typical

        return typical(stain.value)
    with api.open_slide(slide) as opened:
        mpp = None if opened.mpp is None else 0.5
        grid = api.tiles(opened, api.tissue(opened), mpp)
        return api.stain_reference(opened, grid, stain.value, report)

"""Arguments and options that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _place(text: str) -> Path:
    from ..io.backends.remote import slide_path

    return slide_path(text)


SlideFile = Annotated[
    Path,
    typer.Argument(
        metavar="SLIDE", help="Whole-slide image: a file, or its https:// address.", parser=_place
    ),
]
SlideFiles = Annotated[
    list[Path],
    typer.Argument(
        metavar="SLIDE...",
        help="Whole-slide images, or a folder of them: files, or https:// addresses.",
        parser=_place,
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Mpp = Annotated[
    float | None,
    typer.Option(min=0.01, max=100, help="Micrometres per pixel, where the slide does not say it."),
]
ProjectFolder = Annotated[
    Path | None,
    typer.Option("--project", help="Project folder; <slide>.pathfm beside the slide if absent."),
]
Weights = Annotated[
    Path | None, typer.Option(help="Checkpoint on this computer instead of a download.")
]


def default_project(slide: Path) -> Path:
    """Return the project folder of a slide for which none was named."""
    from ..io import project

    return project.default_project(slide)

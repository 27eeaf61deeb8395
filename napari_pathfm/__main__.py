"""``pathfm`` and ``python -m napari_pathfm``: the commands, and the demo, which opens a window."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from .cli import app
from .cli.terminal import Exit, command


@app.command()
@command
def demo(
    slide: Annotated[
        Path | None,
        typer.Argument(metavar="[SLIDE]", help="A whole slide; a sample if absent."),
    ] = None,
    encoder: Annotated[
        str, typer.Option(help="Encoder; see “pathfm models”.")
    ] = "efficientnet-lite0",
    out: Annotated[Path, typer.Option(help="Where the results go.")] = Path("demo-output"),
    keep_open: Annotated[
        bool | None,
        typer.Option(
            help="Leave the window to the user at the end; by default unless nobody can see it.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Run the main job in the window, from opening a slide to training data."""
    from .gui.demo import run_demo

    if keep_open is None:
        keep_open = not os.environ.get("PATHFM_VIRTUAL_DISPLAY")
    code = run_demo(slide, encoder, out, keep_open)
    if code:
        raise typer.Exit(code)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except SystemExit as end:
        if end.code != Exit.CANCELLED:
            raise
        # Ctrl+C may have come while a thread was being started, which Python would then wait for
        # for ever. All that a command had open is closed by now.
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(Exit.CANCELLED)


if __name__ == "__main__":
    main()

"""``pathfm models``: what there is to choose from, and what stands in the way of it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from .. import api
from .terminal import Exit, answer, command, say

TITLES = {
    "encoders": "Encoders",
    "segmenters": "Segmenters",
    "example_segmenters": "Segmenters by example",
    "slide_models": "Slide models",
    "report_models": "Report models",
}
ROW = "  {name:23} {size:>7} {dims:>5}  {gate:7} {disk:5} {fits:5} {licence}"
LEGEND = """
dims: numbers a tile or slide. gate: terms are to be accepted (terms), the weights are not public
(closed), there is no such model (none). fits: weights and one tile, into the memory that is free.
* not for commercial use, or not clearly. “pathfm models check NAME” says what to do for one."""

app = typer.Typer(help="List the models that can be chosen, or check one.", rich_markup_mode=None)

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]


@app.callback(invoke_without_command=True)
@command
def models(
    context: typer.Context,
    project: Annotated[
        Path | None, typer.Option(help="Also list the heads that were trained in this project.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List every model: licence, gate, size, what is on this computer, and what fits into it."""
    if context.invoked_subcommand:
        return
    listed = api.models(project)
    lines = []
    for head in listed.get("heads", ()):
        lines.append("  {name:23} {head:9} of {encoders}: {classes}".format(**_words(head)))
    if lines:
        lines = ["Heads trained in the project", *lines, ""]
    for kind, entries in listed.items():
        if entries and kind in TITLES:
            lines += [_row(TITLES[kind]), *(_line(entry) for entry in entries), ""]
    answer(listed, "\n".join(lines) + LEGEND, as_json)


@app.command()
@command
def check(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of “pathfm models”.")],
    as_json: Json = False,
) -> None:
    """Say what stands in the way of a model and what to do; exit code 4 if something does."""
    from ..models.catalog import entries

    found = api.check_model(name)
    if found.ready:
        which = f" (revision {found.revision})" if found.revision else ""
        text = f"{name} can be used: {found.on_disk}{which}"
    elif not found.obstacles and name not in entries():
        text = f"{name} can be used; it finds by itself what it needs."
    elif not found.obstacles:
        text = f"{name} can be used; its weights are downloaded the first time."
    else:
        lines = [f"  - {each.text}\n    {each.next_step}".rstrip() for each in found.obstacles]
        text = "\n".join([f"{name} cannot be used:", *lines])
    answer({"name": name, **found.facts()}, text, as_json)
    if found.obstacles:
        raise typer.Exit(Exit.MODEL)


@app.command()
@command
def allow(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of “pathfm models”.")],
    revision: Annotated[
        str, typer.Option(help="Full hash of the commit; the newest one if absent.")
    ] = "",
    folder: Annotated[
        Path | None, typer.Option(help="A copy of its repository on this computer instead.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Allow a model whose network is code of its authors to run that code."""
    from ..models import remote_code
    from ..models.base import ModelError
    from ..models.catalog import entries

    entry = entries().get(name)
    if entry is None or entry.loader != "remote_code":
        raise ModelError(f"{name} runs no code of others, or there is no such model.")
    local = None if revision else remote_code.local_folder(name, folder)
    if local is not None:
        hub, revision = str(local), remote_code.folder_revision(local)
        where = "\n".join(str(path) for path in sorted(local.rglob("*.py")))
    else:
        hub = entry.weights.hub
        revision = revision or remote_code.newest_revision(hub)
        where = f"https://huggingface.co/{hub}/tree/{revision}"
    say(f"{name} runs code of its authors, with all that you may do on this computer:\n{where}")
    if not yes:
        typer.confirm("Have you looked at it, and do you trust it?", abort=True)
    remote_code.allow(name, hub, revision)
    say(f"{name} may run the code of {hub} at {revision}, and no other.")


@app.command()
@command
def pin(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model of “pathfm models”.")],
    revision: Annotated[
        str, typer.Argument(help="Commit, tag or branch of its repository; none: the newest.")
    ] = "",
) -> None:
    """Download a model's weights from one revision of its repository on the Hugging Face hub.

    A file that was downloaded from another commit is then downloaded again.
    """
    from ..models import revisions
    from ..models.base import ModelError
    from ..models.catalog import entries

    entry = entries().get(name)
    if entry is None or not entry.weights.hub:
        raise ModelError(f"{name} has no repository on the hub, or there is no such model.")
    if entry.loader == "remote_code":
        raise ModelError(
            f"{name} runs code of its authors, which is allowed at one revision: run “pathfm "
            f"models allow {name} --revision COMMIT”."
        )
    revisions.pin(name, revision)
    say(f"{name} comes from {entry.weights.hub} at {revision or 'its newest revision'}.")


def _row(title: str) -> str:
    return ROW.format(
        name=title,
        size="size",
        dims="dims",
        gate="gate",
        disk="disk",
        fits="fits",
        licence="licence",
    ).removeprefix("  ")


def _line(entry: dict[str, Any]) -> str:
    fits = {True: "yes", False: "no", None: "?"}
    mark = "" if entry.get("commercial", True) else " *"
    return ROW.format(
        name=_short(entry["name"], 23),
        size=_size(entry.get("params", 0)),
        dims=entry.get("dim", ""),
        gate="terms" if entry["status"] == "gated" else entry["status"],
        disk="yes" if entry.get("on_disk") else "-",
        fits=fits[entry.get("fits")],
        licence=_short(entry.get("licence", ""), 36) + mark,
    ).rstrip()


def _words(head: dict[str, Any]) -> dict[str, str]:
    """Lists as text."""
    return {
        key: ", ".join(value) if isinstance(value, list) else str(value)
        for key, value in head.items()
    }


def _size(params: int) -> str:
    if not params:
        return "?"
    millions = params / 1e6
    return f"{millions:,.1f} M" if millions < 100 else f"{millions:,.0f} M"


def _short(text: str, width: int) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"

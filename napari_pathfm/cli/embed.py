"""The command ``pathfm embed``, for one slide or many."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core.jobs import run
from .cluster import (
    Machines,
    Results,
    SchedulerOption,
    Slurm,
    SlurmJobs,
    SlurmOptions,
    SlurmQueue,
)
from .cohort import facts, showing, summary
from .options import Json, Mpp, ProjectFolder, SlideFiles, Weights, default_project
from .stain import Stain, StainReference, reference
from .terminal import Exit, answer, command, licence, reporting
from .tiles import MaxBlur, MaxPen, MinTissue, limits

if TYPE_CHECKING:
    from ..analysis.cohort import SlideState
    from ..analysis.embed_slide import EmbeddedSlide, EmbedTask
    from ..api import Report

Device = Annotated[
    str | None, typer.Option(help="“cpu”, “cuda:0”, “mps”; the best there is if absent.")
]
Jobs = Annotated[
    int | None,
    typer.Option(min=1, help="Slides at the same time, in processes; one for each CUDA card."),
]


@command
def embed(
    slides: SlideFiles,
    encoder: Annotated[
        str, typer.Option(help="Encoder; see “pathfm models”.")
    ] = "efficientnet-lite0",
    project: ProjectFolder = None,
    mpp: Mpp = None,
    tile_mpp: Annotated[
        float | None, typer.Option(help="Micrometres per pixel of a tile; the encoder's own.")
    ] = None,
    tile_px: Annotated[
        int | None, typer.Option(help="Side of a tile in pixels; the encoder's own.")
    ] = None,
    min_tissue: MinTissue = 0.5,
    max_blur: MaxBlur = None,
    max_pen: MaxPen = None,
    stain: Stain = None,
    stain_reference: StainReference = None,
    weights: Weights = None,
    device: Device = None,
    jobs: Jobs = None,
    scheduler: SchedulerOption = None,
    slurm: Slurm = False,
    slurm_jobs: SlurmJobs = 4,
    slurm_queue: SlurmQueue = None,
    slurm_options: SlurmOptions = "",
    results: Results = None,
    as_json: Json = False,
) -> None:
    """Embed the tissue tiles of a slide, or of all slides in a folder, into a project.

    A run that was stopped goes on from there. Slides that cannot be read are passed over with the
    reason; the exit code is 1 then.
    """
    from ..analysis.embed_slide import EmbedTask, open_task
    from ..models.catalog import encoders, refuse_other_kinds

    machines = Machines(scheduler, slurm, slurm_jobs, slurm_queue, slurm_options, results)
    files, several = _files(slides)
    several = several or bool(machines)
    task = EmbedTask(
        str(files[0]),
        project or _default_project(slides),
        encoder,
        weights,
        None if several else mpp,
        mpp_if_unknown=mpp,
        tile_mpp=tile_mpp,
        tile_px=tile_px,
        limits=limits(min_tissue, max_blur, max_pen),
        device=device,
    )
    refuse_other_kinds(encoders(), encoder)
    licence(encoder)
    with reporting("Embedding") as report:
        if not several:
            open_task(task).close()  # what is wrong with it is told before weights are downloaded
        task = replace(task, stain=reference(stain, stain_reference, report))
        if not several:
            made = _embed_one(task, report)
    if several:
        tasks = [replace(task, slide=str(file)) for file in files]
        _embed_several(tasks, jobs, machines, as_json)
    else:
        _answer_one(task, made, as_json)


def _files(given: Sequence[Path]) -> tuple[list[Path], bool]:
    """Return the slides, and whether they are a cohort."""
    from ..io.backends.ome_zarr import SUFFIX
    from ..io.backends.remote import RemotePath
    from ..io.find_slides import find_slides

    def is_folder(path: Path) -> bool:
        return not isinstance(path, RemotePath) and path.is_dir() and path.suffix.lower() != SUFFIX

    found = [file for path in given for file in (find_slides(path) if is_folder(path) else [path])]
    return list(dict.fromkeys(found)), len(found) > 1 or is_folder(given[0])


def _default_project(given: Sequence[Path]) -> Path:
    if len(given) > 1:
        raise ValueError("Say where the embeddings of several slides are to be kept: add --project")
    return default_project(given[0])


def _embed_one(task: EmbedTask, report: Report) -> EmbeddedSlide:
    from ..analysis.embed_slide import embed_slide, load_encoder
    from ..io.project import open_or_read

    encoder = run(load_encoder(task), report)
    with open_or_read(task.project) as project:
        return run(embed_slide(task, encoder, project), report)


def _answer_one(task: EmbedTask, made: EmbeddedSlide, as_json: bool) -> None:
    known = {
        "slide": made.slide.id,
        "project": str(task.project),
        "encoder": task.encoder,
        "grid": made.grid_hash,
        "tiles": made.tiles,
        "computed": made.computed,
        "dim": made.dim,
        "precision": made.key.precision,
        "stain": made.key.stain or None,
    }
    answer(known, f"{made.text}; by {task.encoder}, kept in {task.project}", as_json)


def _embed_several(
    tasks: Sequence[EmbedTask], jobs: int | None, machines: Machines, as_json: bool
) -> None:
    start, first = time.monotonic(), tasks[0]
    states = _run_elsewhere(tasks, machines) if machines else _run(tasks, jobs)
    seconds = time.monotonic() - start
    known = {
        "project": str(first.project),
        "encoder": first.encoder,
        "seconds": round(seconds, 3),
        **facts(states),
    }
    text = f"{summary(states, seconds)}\nkept in {first.project}"
    answer(known, text, as_json)
    if known["failed"]:
        raise typer.Exit(Exit.FAILED)


def _run(tasks: Sequence[EmbedTask], jobs: int | None) -> Sequence[SlideState]:
    from ..analysis.cohort import embed_cohort
    from ..analysis.cohort_processes import embed_in_processes
    from ..analysis.embed_slide import load_encoder
    from ..io.project import open_or_read
    from ..models.device import cuda_devices
    from ..models.fetch import fetch

    first = tasks[0]
    devices = [] if first.device else cuda_devices()
    jobs = min(len(tasks), jobs or max(1, len(devices)))
    with open_or_read(first.project) as project:
        if jobs == 1:
            with reporting("Loading") as report:
                encoder = run(load_encoder(first), report)
            with showing(len(tasks)) as show:
                return run(embed_cohort(tasks, encoder, project, show))
        with reporting("Loading") as report:
            file = run(fetch(first.encoder, first.weights, project.models), report)
        tasks = [replace(task, weights=file) for task in tasks]
        with showing(len(tasks)) as show:
            return run(embed_in_processes(tasks, project, jobs, devices, show))


def _run_elsewhere(tasks: Sequence[EmbedTask], machines: Machines) -> Sequence[SlideState]:
    from ..analysis.cluster import embed_on_cluster
    from ..io.project import open_or_read

    with (
        open_or_read(tasks[0].project) as project,
        machines.client() as client,
        showing(len(tasks)) as show,
    ):
        return run(embed_on_cluster(tasks, client, project, machines.results, show))

"""Options of ``pathfm embed`` for many machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import typer

SchedulerOption = Annotated[
    str | None,
    typer.Option("--scheduler", help="Address of a Dask scheduler whose workers do it: tcp://…"),
]
Slurm = Annotated[bool, typer.Option("--slurm", help="Jobs of SLURM do it; see docs/cluster.md.")]
SlurmJobs = Annotated[int, typer.Option(min=1, help="Jobs of SLURM at the same time.")]
SlurmQueue = Annotated[str | None, typer.Option(help="Partition of the jobs.")]
SlurmOptions = Annotated[
    str, typer.Option(help="What sbatch is told: “--gres=gpu:1 --time=08:00:00 --mem=64G”.")
]
Results = Annotated[
    str | None,
    typer.Option(
        help="Where workers leave what they made: a folder that all computers share, or "
        "s3://bucket/prefix; in the project if absent."
    ),
]


@dataclass(frozen=True)
class Machines:
    """Which other machines are to do it, as the user said.

    Attributes
    ----------
    scheduler : str or None
    slurm : bool
    jobs : int
    queue : str or None
    options : str
    results : str or None
    """

    scheduler: str | None
    slurm: bool
    jobs: int
    queue: str | None
    options: str
    results: str | None

    def __post_init__(self) -> None:
        if self.scheduler and self.slurm:
            raise typer.BadParameter("Choose one of --scheduler and --slurm.")

    def __bool__(self) -> bool:
        return bool(self.scheduler or self.slurm)

    @contextmanager
    def client(self) -> Iterator[Any]:
        """Give a client of their scheduler."""
        from ..analysis import schedulers

        if self.scheduler:
            with schedulers.connected(self.scheduler) as client:
                yield client
        else:
            with schedulers.slurm(self.jobs, self.queue, self.options) as client:
                yield client

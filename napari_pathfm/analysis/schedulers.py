"""Reach the workers of a cluster: of a scheduler that runs, or as jobs of SLURM."""

from __future__ import annotations

import re
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

INSTALL = "Install them with “pip install 'napari-pathfm[cluster]'”, here and on the workers."

CONNECT_SECONDS = 20

SLURM_CORES = 8
SLURM_MEMORY = "32GB"
"""Of a job, where neither options nor dask-jobqueue's configuration say it."""

GPU_OPTIONS = frozenset(
    ("-G", "--gres", "--gpus", "--gpus-per-job", "--gpus-per-node", "--gpus-per-task")
)

REPLACED = {
    **dict.fromkeys(("-c", "--cpus-per-task"), "--cpus-per-task="),
    **dict.fromkeys(("--mem", "--mem-per-cpu", "--mem-per-gpu"), "--mem="),
    **dict.fromkeys(("-t", "--time"), "-t "),
    **dict.fromkeys(("-J", "--job-name"), "-J "),
    **dict.fromkeys(("-n", "--ntasks"), "-n "),
}
"""What an option of sbatch takes the place of."""


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Give a client of a scheduler.

    Parameters
    ----------
    address : str
        ``tcp://host:8786``.

    Raises
    ------
    ConnectionError
        There is none that answers.
    ValueError
        A package is missing.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise ValueError(f"--scheduler needs the package distributed. {INSTALL}") from error
    try:
        client = Client(address, timeout=CONNECT_SECONDS, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise ConnectionError(
            f"No scheduler answers at {address}: start one with “dask scheduler”, which says its "
            "address, and let this computer reach it."
        ) from error
    with client:
        yield client


@contextmanager
def slurm(jobs: int, queue: str | None = None, options: str = "") -> Iterator[Any]:
    """Give a client of workers that are jobs of SLURM; they end with it.

    Parameters
    ----------
    jobs : int
        How many at the same time: each is one worker.
    queue, options : str
        As of :func:`slurm_cluster`.

    Raises
    ------
    ValueError
        A package is missing, or an option is none.
    ConnectionError
        sbatch cannot be run.
    """
    if shutil.which("sbatch") is None:
        raise ConnectionError(
            "There is no sbatch here: run it on a computer where jobs of SLURM can be submitted."
        )
    with slurm_cluster(queue, options) as cluster:
        cluster.adapt(minimum_jobs=jobs, maximum_jobs=jobs)  # a job that has ended is replaced
        with connected(cluster.scheduler_address) as client:
            yield client


def slurm_cluster(queue: str | None = None, options: str = "") -> Any:
    """Make a scheduler whose workers are jobs of SLURM; it has none yet.

    What is not said here is taken from dask-jobqueue's own configuration
    (``~/.config/dask/jobqueue.yaml``).

    Parameters
    ----------
    queue : str, optional
        Partition.
    options : str
        Of sbatch, separated by spaces: ``"--gres=gpu:1 --time=08:00:00 --mem=64G"``. A worker of
        a job that asks for GPUs has one as its resource.

    Raises
    ------
    ValueError
        The package dask-jobqueue is missing.
    """
    try:
        import dask
        from dask_jobqueue.slurm import SLURMCluster
    except ImportError as error:
        raise ValueError(
            f"--slurm needs the packages distributed and dask-jobqueue. {INSTALL}"
        ) from error
    settings = dask.config.get("jobqueue.slurm", {})
    given = sbatch_options(options)
    names = {re.split("[= ]", each)[0] for each in given}
    worker = ["--memory-limit", "0"]  # SLURM sees to that
    if names & GPU_OPTIONS:
        worker += ["--resources", "GPU=1"]
    return SLURMCluster(
        queue=queue,
        cores=2,  # threads: one embeds, the other one looks at slides
        processes=1,
        job_cpu=settings.get("job-cpu") or settings.get("cores") or SLURM_CORES,
        memory=settings.get("memory") or SLURM_MEMORY,
        worker_extra_args=[*settings.get("worker-extra-args", []), *worker],
        job_extra_directives=[*settings.get("job-extra-directives", []), *given],
        job_directives_skip=[
            *settings.get("job-directives-skip", []),
            *(line for name, line in REPLACED.items() if name in names),
        ],
        scheduler_options={"dashboard": False},
    )


def sbatch_options(text: str) -> list[str]:
    """Take options of sbatch apart: ``"-p gpu --mem=64G"`` becomes ``["-p gpu", "--mem=64G"]``."""
    made: list[str] = []
    for word in shlex.split(text):
        if word.startswith("-"):
            made.append(word)
        elif made:
            made[-1] += f" {word}"
        else:
            raise ValueError(f"Options of sbatch begin with a dash, not {word!r}: --time=08:00:00")
    return made

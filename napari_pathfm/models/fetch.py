"""The weights of a model by its name, wherever they are, as a job that shows its downloads."""

from __future__ import annotations

from pathlib import Path

from ..core.jobs import Job
from .catalog import entries
from .check import no_way_to_run
from .weights import WeightsSource, in_folder, locate


def in_project(models: Path, name: str) -> Path | None:
    """Find a model's weights in the ``models`` folder of a project."""
    entry = entries().get(name)
    return in_folder(models, name, entry.weights if entry else WeightsSource())


def fetch(name: str, given: Path | None = None, models: Path | None = None) -> Job[Path | None]:
    """Find the weights of a model, downloading them if they are nowhere here.

    Parameters
    ----------
    name : str
    given : Path, optional
        A file, or a folder that may hold it, as the user said.
    models : Path, optional
        The ``models`` folder of a project.

    Returns
    -------
    Path or None
        The file, or what was given for a model that has its own way of finding it.

    Raises
    ------
    ModelError
        They cannot be had; the message says what to do.
    """
    if given is None and models is not None:
        given = in_project(models, name)
    entry = entries().get(name)
    if entry is None or not entry.weights.address or no_way_to_run(entry):
        return given
    if entry.loader == "remote_code":
        return given  # it is a whole repository, not a file
    return (yield from locate(name, entry.weights, given, entry.spec.gate))

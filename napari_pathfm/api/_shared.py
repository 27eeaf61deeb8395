"""What several verbs need: a project for the time of a call, a model by its name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import numpy as np
from numpy.typing import ArrayLike

from ..core.jobs import Progress, run
from ..core.slide import Slide

if TYPE_CHECKING:
    from ..analysis.search import TileScores
    from ..io.project import Project
    from ..models.base import Encoder

T = TypeVar("T")

Report = Callable[[Progress], None]
"""Is told how far a job is."""


def models_folder(project: Project | str | Path) -> Path:
    """Where a project keeps models."""
    folder: str | Path = getattr(project, "folder", project)  # type: ignore[arg-type]
    return Path(folder) / "models"


@contextmanager
def at(project: Project | str | Path, create: bool = True) -> Iterator[Project]:
    """Open a project for the time of a call, unless it is open already.

    While another process owns it, such as a window, it is opened for reading: embeddings are
    written beside it, under a lock of their own, and the owner takes them up.
    """
    from ..io.project import Project, open_or_read

    if isinstance(project, Project):
        yield project
        return
    with open_or_read(project, create) as opened:
        yield opened


def network(
    get: Callable[..., T],
    name: str,
    weights: str | Path | None,
    project: Project | str | Path | None,
    report: Report | None,
) -> T:
    """Load a model by its name; weights are looked for in the project, too."""
    from ..models import licences
    from ..models.fetch import fetch

    models = None if project is None else models_folder(project)
    given = None if weights is None else Path(weights)
    licences.warn(name, stacklevel=3)
    return get(name, weights=run(fetch(name, given, models), report))


def class_number(project: Project, name: str) -> int:
    """Return the id of a project's class; 0 for an empty name."""
    numbers = {each.name: each.id for each in project.classes()}
    if name and name not in numbers:
        raise ValueError(
            f"The project has no class {name!r}. Choose one of {sorted(numbers)}, or add it "
            "with project.set_classes(...)."
        )
    return numbers.get(name, 0)


def text_encoder_of(
    name: str,
    weights: str | Path | None,
    project: Project | str | Path | None,
    report: Report | None,
) -> Encoder:
    from ..analysis.text_search import images_only
    from ..models.catalog import encoder_specs, get_encoder

    spec = encoder_specs().get(name)
    if spec is not None and not spec.text:
        raise images_only(name)  # before its weights are downloaded
    return network(get_encoder, name, weights, project, report)


@contextmanager
def slide_store(
    slide: Slide, project: Project | str | Path | None, create: bool = False
) -> Iterator[Path | None]:
    if project is None:
        yield None
        return
    with at(project, create=create) as opened:
        yield opened.slide_store(slide.id)


def best(scores: TileScores, k: int, exclude: ArrayLike = ()) -> TileScores:
    """The `k` tiles with the highest values, best first."""
    best = scores.best(k, exclude=np.asarray(exclude, np.int64))
    by_tile = np.argsort(scores.tiles)
    rows = by_tile[np.searchsorted(scores.tiles, best, sorter=by_tile)]
    return type(scores)(best, scores.values[rows], scores.text)

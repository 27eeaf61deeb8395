"""What a worker of a cluster does: look at a slide, embed a part of it, keep that as a file.

A worker never writes to a project. It may do the same again, or be killed at any moment: a part is
there as a whole or not at all, and its name says which tiles it has.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import FeatureKey
from ..core.jobs import run
from ..core.threads import cores, share_cores
from ..core.tiles import TileGrid
from ..io.parts import Parts, part_name
from ..io.project import SlideRow
from ..io.reader import open_slide
from ..io.store import group_name
from ..models.base import Encoder, ModelError
from .embed import TileSource, embed
from .embed_slide import EmbedTask, load_encoder, prepare
from .stain_normalise import Look, NormalisedEncoder, find_look, normalised

_loading = threading.Lock()


@dataclass(frozen=True, eq=False)
class SlidePlan:
    """What there is to embed of a slide; it can be sent to another computer.

    Attributes
    ----------
    slide : SlideRow
        With the mpp that its tiles were cut by.
    key : FeatureKey
        How the vectors are made.
    grid : TileGrid
    look : Look or None
        How the slide looks, where stains are normalised.
    remarks : tuple of str
        What the user should know.
    """

    slide: SlideRow
    key: FeatureKey
    grid: TileGrid
    look: Look | None = None
    remarks: tuple[str, ...] = ()

    @property
    def group(self) -> str:
        """Name of the group of the slide's store where the vectors belong."""
        return group_name(self.key, self.grid)


def plan_slide(task: EmbedTask, known: Mapping[str, float | None], processes: int = 1) -> SlidePlan:
    """Find the tiles of a slide.

    Parameters
    ----------
    task : EmbedTask
    known : mapping
        Micrometres per level-0 pixel of slides, by their ids, as the project knows them.
    processes : int
        Workers on the same computer, which share its cores.

    Raises
    ------
    SlideError, ValueError, ModelError
        As :func:`~.embed_slide.prepare` and :func:`~.embed_slide.load_encoder`.
    """
    encoder = _encoder(task, processes)
    with open_slide(task.slide) as slide:
        task = replace(task, project=_folder(task), mpp=task.mpp or known.get(slide.id))
    prepared = run(prepare(task, encoder.spec))
    with prepared.slide as slide:
        look = None
        if task.stain is not None:
            look = run(find_look(slide, prepared.grid, task.stain.method))
            encoder = NormalisedEncoder(encoder, task.stain)
        row = SlideRow(slide.id, slide.name, slide.path, slide.mpp, datetime.now(UTC))
        return SlidePlan(row, encoder.key, prepared.grid, look, prepared.remarks)


def embed_part(
    task: EmbedTask,
    plan: SlidePlan,
    tiles: NDArray[np.int64],
    place: str,
    processes: int = 1,
) -> str:
    """Embed some tiles of a slide and keep them as a file; nothing happens if it is there.

    Parameters
    ----------
    task : EmbedTask
    plan : SlidePlan
    tiles : ndarray
        ``(M,)`` numbers in the grid.
    place : str
        For :class:`~napari_pathfm.io.parts.Parts`.
    processes : int
        Workers on the same computer.

    Returns
    -------
    str
        Name of the part.

    Raises
    ------
    ModelError
        This worker has other weights than the one that made the plan.
    SlideError
        The slide cannot be read, or has changed.
    """
    parts, name = Parts(place, plan.slide.id, plan.group), part_name(tiles)
    if parts.has(name):
        return name
    encoder = _encoder(task, processes)
    with open_slide(task.slide, mpp=plan.slide.mpp) as slide:
        if slide.id != plan.slide.id:
            raise ValueError(f"{slide.path} has changed since its tiles were found: run it again")
        source: TileSource = slide
        if task.stain is not None and plan.look is not None:
            source = normalised(slide, plan.look, task.stain)
            encoder = NormalisedEncoder(encoder, task.stain)
        if difference := plan.key.difference(encoder.key):
            raise ModelError(f"Workers have different weights of {task.encoder}: {difference}")
        made = run(embed(source, plan.grid, encoder, order=tiles))
    parts.write(name, replace(made, key=encoder.key))  # the precision is known only now
    return name


def _encoder(task: EmbedTask, processes: int) -> Encoder:
    with _loading:
        share_cores(processes)
        return _loaded(task.encoder, task.weights, task.project, task.device)


@lru_cache(maxsize=1)
def _loaded(name: str, weights: Path | None, project: Path, device: str | None) -> Encoder:
    """Load an encoder, once in the life of a worker; another one takes its place."""
    import torch

    torch.set_num_threads(cores())  # distributed lets it have one, whatever there is
    return run(load_encoder(EmbedTask("", project, name, weights, device=device)))


@cache
def _scratch() -> Path:
    return Path(mkdtemp(prefix="pathfm-"))


def _folder(task: EmbedTask) -> Path:
    """Return the project's folder, where measures of tiles are kept, or what takes its place."""
    return task.project if task.project.is_dir() else _scratch()

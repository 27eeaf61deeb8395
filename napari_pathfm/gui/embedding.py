"""The job behind “Embed tiles”: weights, encoder, tiles."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..analysis.embed import TileSource, embed
from ..core import inference
from ..core.embeddings import Embeddings
from ..core.jobs import Job, Progress
from ..core.tiles import TileGrid
from ..io.project import Project
from ..io.store import FeatureStore
from ..models.base import Encoder


def embed_job(
    slide: TileSource,
    grid: TileGrid,
    project: Project | None,
    load: Callable[[Path | None], Encoder],
    weights: Job[Path | None],
) -> Job[Embeddings]:
    """Load an encoder and embed a grid with it, into the project's store if that is writable."""
    file = yield from weights
    yield Progress(0, 0, "Loading the encoder")
    encoder = load(file)
    store = None
    if project is not None and not project.read_only:
        store = FeatureStore(project.slide_store(grid.slide_id), encoder.key, grid)
    queue = inference.queue(encoder.device)
    return (yield from embed(slide, grid, encoder, store=store, queue=queue))

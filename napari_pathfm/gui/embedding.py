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
from ..models import catalog
from ..models.base import Encoder
from ..models.weights import locate


def embed_job(
    slide: TileSource,
    grid: TileGrid,
    project: Project | None,
    load: Callable[[], Encoder],
    fetch: Job[None],
) -> Job[Embeddings]:
    """Load an encoder and embed a grid with it, into the project's store if that is writable."""
    yield from fetch
    yield Progress(0, 0, "Loading the encoder")
    encoder = load()
    store = None
    if project is not None and not project.read_only:
        store = FeatureStore(project.slide_store(grid.slide_id), encoder.key, grid)
    queue = inference.queue(encoder.device)
    return (yield from embed(slide, grid, encoder, store=store, queue=queue))


def fetch(name: str, weights: Path | None) -> Job[None]:
    """Download the weights of an encoder of the catalogue, if they are nowhere here."""
    entry = catalog.entries().get(name)
    if entry is not None and entry.weights.address:
        yield from locate(name, entry.weights, weights, entry.spec.gate)

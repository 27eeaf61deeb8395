"""A slide from its file to its embeddings in a project: opened, cut into good tiles, embedded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from ..core.embeddings import FeatureKey
from ..core.inference import InferenceQueue
from ..core.jobs import Job, Progress
from ..core.quality import OFF, QualityLimits, sift
from ..core.tiles import TileGrid, TileSpec, make_grid
from ..io.backends.remote import slide_path
from ..io.project import Project, SlideRow, known_mpp
from ..io.reader import SlideReader, open_slide
from ..io.store import FeatureStore
from ..models.base import Encoder, EncoderSpec
from ..models.catalog import DEFAULT_ENCODER, get_encoder
from ..models.fetch import fetch
from ..models.precision import agreement_of
from .embed import embed
from .first_tiles import FirstTiles
from .from_store import FromStore, look_in_project
from .quality import quality_of
from .stain_normalise import Reference, normalise_for
from .tissue import TissueMask, find_tissue

ENOUGH_TISSUE = replace(OFF, min_tissue=0.5)
"""Tiles that are half tissue, sharp or not."""


@dataclass(frozen=True)
class EmbedTask:
    """What is to be embedded and how; it can be sent to another process or machine.

    Attributes
    ----------
    slide : str
        Path of the file, or its ``https://`` or ``s3://`` address.
    project : Path
        Folder where the embeddings are kept.
    encoder : str
        Name in the catalogue.
    weights : Path or None
        A checkpoint on that computer instead of a download.
    mpp : float or None
        Micrometres per level-0 pixel, whatever the slide says of itself.
    mpp_if_unknown : float or None
        The same for a slide that says nothing, and of which the project knows nothing.
    tile_mpp, tile_px : float, int or None
        Micrometres per pixel and side in pixels of a tile; ``None``: the encoder's own.
    overlap : float
        Fraction of the side shared by neighbours.
    limits : QualityLimits
        Which tiles are left out. For tissue alone nothing has to be measured.
    stain : Reference or None
        What the tiles are made to look like; ``None``: as they were scanned.
    device : str or None
        "cpu", "cuda:0", "mps"; ``None``: the best one.
    """

    slide: str
    project: Path
    encoder: str = DEFAULT_ENCODER
    weights: Path | None = None
    mpp: float | None = None
    mpp_if_unknown: float | None = None
    tile_mpp: float | None = None
    tile_px: int | None = None
    overlap: float = 0.0
    limits: QualityLimits = ENOUGH_TISSUE
    stain: Reference | None = None
    device: str | None = None

    @property
    def name(self) -> str:
        """File name without the suffix."""
        return slide_path(self.slide).stem

    def tile_spec(self, encoder: EncoderSpec) -> TileSpec:
        """Return how the slide is cut for an encoder."""
        mpp, side = self.tile_mpp or encoder.mpp, self.tile_px or encoder.tile_px
        return TileSpec(side, mpp, self.overlap, self.limits.min_tissue)


@dataclass(frozen=True, eq=False)
class PreparedSlide:
    """A slide whose tiles are known; whoever has it closes `slide`.

    Attributes
    ----------
    slide : SlideReader
    grid : TileGrid
    remarks : tuple of str
        What the user should know, such as how many tiles were left out.
    first : FirstTiles or None
        Those that were read in advance.
    """

    slide: SlideReader
    grid: TileGrid
    remarks: tuple[str, ...] = ()
    first: FirstTiles | None = None


@dataclass(frozen=True)
class EmbeddedSlide:
    """What has become of an :class:`EmbedTask`; it can be sent between processes.

    Attributes
    ----------
    slide : SlideRow
        For the project's table of slides, if another process owns that.
    key : FeatureKey
        How the vectors were made.
    grid_hash : str
    tiles : int
        Vectors that there are now.
    computed : int
        Those of them that were computed now; the others were in the store.
    dim : int
        Numbers of a vector.
    seconds : float
        For embedding, without opening the slide and finding its tissue.
    remarks : tuple of str
        What the user should know.
    """

    slide: SlideRow
    key: FeatureKey
    grid_hash: str
    tiles: int
    computed: int
    dim: int
    seconds: float
    remarks: tuple[str, ...] = ()

    @property
    def from_store(self) -> bool:
        """Whether nothing had to be computed."""
        return not self.computed

    @property
    def text(self) -> str:
        """Say how many tiles are embedded, how many of them before, and all else."""
        kept = FromStore(self.tiles - self.computed, self.tiles)
        return "; ".join((kept.after(self.tiles), *self.remarks))


def load_encoder(task: EmbedTask) -> Job[Encoder]:
    """Load the encoder of a task, after a download where that is needed.

    Raises
    ------
    ModelError
        The weights are missing or do not fit.
    """
    file = yield from fetch(task.encoder, task.weights, task.project / "models")
    yield Progress(0, 0, f"Loading {task.encoder}")
    return get_encoder(task.encoder, weights=file, device=task.device)


def open_task(task: EmbedTask) -> SlideReader:
    """Open the slide of a task with its mpp: as given, else as the project or the file knows it.

    Raises
    ------
    SlideError
        It cannot be opened.
    ValueError
        Nobody knows its mpp.
    """
    slide = open_slide(task.slide, mpp=task.mpp)
    with _closed_on_error(slide):
        known = slide.mpp if task.mpp else known_mpp(task.project, slide.id) or slide.mpp
        mpp = known or task.mpp_if_unknown
        if mpp is None:
            raise ValueError(
                f"{slide.path.name} does not say how large a pixel is: add --mpp with its "
                "micrometres per pixel (0.25 for a 40x scan, 0.5 for 20x)."
            )
        if mpp == slide.mpp:
            return slide
        with slide:
            return slide.with_mpp(mpp)


def prepare(task: EmbedTask, encoder: EncoderSpec) -> Job[PreparedSlide]:
    """Open the slide of a task and find its tissue and those of its tiles that are good enough.

    Raises
    ------
    SlideError
        The slide cannot be opened or read.
    ValueError
        Nobody knows its mpp, or no tile is good enough.
    ProjectError
        Measures of quality cannot be kept.
    """
    yield Progress(0, 0, f"Opening {task.name}")
    slide = open_task(task)
    with _closed_on_error(slide):
        yield Progress(0, 0, "Finding tissue")
        tissue = find_tissue(slide)
        spec = task.tile_spec(encoder)
        grid = make_grid(slide.id, slide.levels, slide.mpp, spec, tissue.mask)
        if replace(task.limits, min_tissue=0) == OFF:
            return PreparedSlide(slide, grid)  # it has no tile with less tissue
        return (yield from _sifted(task, slide, grid, tissue))


def embed_slide(
    task: EmbedTask,
    encoder: Encoder,
    project: Project,
    prepared: PreparedSlide | None = None,
    queue: InferenceQueue | None = None,
) -> Job[EmbeddedSlide]:
    """Embed a slide into a project; what is there already is not computed again.

    Parameters
    ----------
    task : EmbedTask
    encoder : Encoder
        That of the task.
    project : Project
        Where another process owns it, it may be open for reading only: the embeddings are written
        all the same, and the owner adds ``result.slide`` to the slides.
    prepared : PreparedSlide, optional
        What :func:`prepare` returned, if that is done already; it is closed in the end.
    queue : InferenceQueue, optional
        Where the network runs; that of the encoder's device if absent.

    Raises
    ------
    SlideError, ValueError, ModelError, ProjectError
        As :func:`prepare`, :func:`~napari_pathfm.analysis.embed.embed` and, for `stain`,
        :func:`~napari_pathfm.analysis.stain_normalise.normalise_for`.
    """
    if prepared is None:
        prepared = yield from prepare(task, encoder.spec)
    slide, grid, start = prepared.slide, prepared.grid, time.monotonic()
    with slide:
        if not project.read_only:
            project.add_slide(slide)
        source, encoder = yield from normalise_for(slide, grid, encoder, task.stain)
        if prepared.first is not None and source is slide:
            source = prepared.first
        store = FeatureStore(project.slide_store(slide.id), encoder.key, grid)
        found = look_in_project(project, slide.path, grid, encoder.key.encoder, encoder.key)
        before = store.count
        made = yield from embed(source, grid, encoder, store=store, queue=queue)
        now, computed = datetime.now(UTC), len(made) - before
        remarks = (*prepared.remarks, found.difference, _precision(encoder) if computed else "")
        return EmbeddedSlide(
            SlideRow(slide.id, slide.name, slide.path, slide.mpp, now),
            made.key,
            grid.hash,
            len(made),
            computed,
            int(made.vectors.shape[1]),
            time.monotonic() - start,
            tuple(filter(None, remarks)),
        )


def _sifted(
    task: EmbedTask, slide: SlideReader, grid: TileGrid, tissue: TissueMask
) -> Job[PreparedSlide]:
    store = task.project / "slides" / f"{slide.id}.zarr"
    quality = yield from quality_of(slide, grid, tissue, store)
    sifted = sift(grid, quality, task.limits)
    if len(grid) and not len(sifted.grid):
        raise ValueError(
            f"No tile of {slide.name} is good enough ({sifted.summary()}). Allow more blur "
            "(--max-blur) or more pen (--max-pen)."
        )
    return PreparedSlide(slide, sifted.grid, (sifted.summary(),))


def _precision(encoder: Encoder) -> str:
    """Say how it calculated, where that was chosen by measuring."""
    agreement = agreement_of(encoder)
    return f"{encoder.key.precision} ({agreement})" if agreement else ""


@contextmanager
def _closed_on_error(slide: SlideReader) -> Iterator[None]:
    try:
        yield
    except BaseException:
        slide.close()
        raise

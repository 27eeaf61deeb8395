"""Features that another program has made of a slide become embeddings of a project."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import UNKNOWN, FeatureKey
from ..core.jobs import Job, Progress
from ..core.slide import Slide
from ..core.tiles import TileGrid, given_grid
from ..io.interop.feature_files import open_features
from ..io.interop.tile_features import TileFeatures, Told, glass
from ..io.project import Project
from ..io.store import FeatureStore, stored_features
from ..models.base import EncoderSpec
from ..models.catalog import encoder_specs
from .encoder_names import our_name, pooling


@dataclass(frozen=True)
class FeatureImport:
    """What became of a file of features.

    Attributes
    ----------
    source, program : str
        Name of the file, and of the program whose format it is.
    key : FeatureKey
        How the vectors were made, as far as it is known.
    grid : TileGrid
    dim : int
        Numbers of a vector.
    added : int
        Tiles that were not there yet.
    notes : tuple of str
        What they cannot be compared with.
    """

    source: str
    program: str
    key: FeatureKey
    grid: TileGrid
    dim: int
    added: int
    notes: tuple[str, ...] = ()

    def summary(self) -> str:
        """Tell people in a few sentences."""
        what = f"{self.key.encoder} ({self.key.pooling}, {self.dim} numbers)"
        text = [f"{self.added:,} of {len(self.grid):,} tiles of {what} added from {self.source}."]
        if not self.added:
            text = [f"All {len(self.grid):,} tiles of {what} are there already."]
        return " ".join([*text, *self.notes])


def import_features(
    path: Path, slide: Slide, project: Project, told: Told | None = None
) -> Job[FeatureImport]:
    """Take up the features of a file; a run that was stopped goes on from there.

    Vectors of unknown weights are kept apart from those that were made here: their ``weights`` name
    the program that they come from. What we have exported comes back as what it was.

    Parameters
    ----------
    path : Path
        See :func:`~napari_pathfm.io.interop.feature_files.open_features`.
    slide : Slide
        What they were made of.
    project : Project
    told : Told, optional
        What the file does not say.

    Raises
    ------
    ValueError
        It cannot be read, belongs to another slide, does not say what must be known, or its vectors
        cannot be of that encoder.
    ProjectError
        The project cannot be written.
    """
    told = told or Told()
    specs = encoder_specs()
    with open_features(path, slide.levels, told) as source:
        key = _key(source, told, specs)
        with _named(path):
            grid, numbers = place(source, slide, told)
        notes = tuple(incomparable(key, project, slide))
        if not project.read_only:
            project.add_slide(slide)
        store = FeatureStore(project.slide_store(slide.id), key, grid)
        added = yield from _append(source, store, numbers, path)
    return FeatureImport(path.name, source.program, key, grid, source.dim, added, notes)


def place(source: TileFeatures, slide: Slide, told: Told) -> tuple[TileGrid, NDArray[np.int64]]:
    """Make the grid of a file's tiles.

    Parameters
    ----------
    source : TileFeatures
    slide : Slide
    told : Told

    Returns
    -------
    TileGrid
    numbers : ndarray
        ``(N,)`` int64: the number in the grid of each row of the file.

    Raises
    ------
    ValueError
        They are tiles of another slide, or nobody says how large they are.
    """
    corner, whole = glass(slide)
    if source.shape is not None and source.shape not in (whole, slide.levels[0].shape):
        theirs, ours = (f"{width} x {height}" for height, width in (source.shape, whole))
        raise ValueError(f"it is of a slide of {theirs} pixels, and {slide.name} has {ours}")
    side = told.side or source.side
    if side is None:
        raise ValueError(
            "it does not say how large its tiles are; give their side in level-0 pixels (--side), "
            "or the file that says it (--coords)"
        )
    origins = source.corners - np.array(corner)
    _check_inside(origins, side, slide)
    tile_px = told.tile_px or source.tile_px or round(side)
    grid, numbers = given_grid(
        slide.id, slide.levels, slide.mpp, origins, side, tile_px, source.mpp, source.overlap
    )
    origin = source.origin
    if origin is not None and origin.slide_id == slide.id:
        grid = TileGrid(slide.id, origin.spec, grid.origins, origin.side, origin.plan)
    return grid, numbers


def incomparable(key: FeatureKey, project: Project, slide: Slide) -> Iterable[str]:
    """Tell which embeddings of a project by the same encoder `key` cannot be compared with."""
    seen = {key.hash}
    for slide_id in dict.fromkeys((slide.id, *(row.id for row in project.slides()))):
        for stored in stored_features(project.slide_store(slide_id)):
            if stored.key.encoder == key.encoder and stored.key.hash not in seen:
                seen.add(stored.key.hash)
                yield (
                    f"They must not be compared with the {key.encoder} of this project: "
                    f"{key.difference(stored.key)}."
                )


def _check_inside(origins: NDArray[np.int64], side: float, slide: Slide) -> None:
    outside = ((origins + side <= 0) | (origins >= np.array(slide.levels[0].shape))).any(1)
    if outside.any():
        raise ValueError(
            f"{int(outside.sum())} of its {len(origins)} tiles lie wholly outside {slide.name}; it "
            "is of another slide"
        )


def _key(source: TileFeatures, told: Told, specs: dict[str, EncoderSpec]) -> FeatureKey:
    if source.origin is not None:
        return _checked(source.origin.key, source.dim, told, specs)
    if not (source.encoder or told.encoder):
        raise ValueError(
            f"The file ({source.program}) does not say which encoder made its vectors: add "
            "--encoder with its name."
        )
    theirs = source.encoder or told.encoder
    name = our_name(theirs, specs, source.dim)
    _check_encoder(name, theirs, source.dim, told, specs)
    if told.encoder and name not in specs:
        name = our_name(told.encoder, specs, source.dim)
    made = f"{theirs} of {source.program}"
    way = pooling(source.program, name, source.dim, specs.get(name), told.pooling)
    return FeatureKey(name, way, made, f"as {source.program} does it", UNKNOWN)


def _checked(key: FeatureKey, dim: int, told: Told, specs: dict[str, EncoderSpec]) -> FeatureKey:
    _check_encoder(key.encoder, key.encoder, dim, told, specs)
    if told.pooling and told.pooling != key.pooling:
        raise ValueError(f"The file says that it was pooled by {key.pooling}, not {told.pooling}.")
    return key


def _check_encoder(
    name: str, theirs: str, dim: int, told: Told, specs: dict[str, EncoderSpec]
) -> None:
    """Refuse to call an encoder of the catalogue by another one's name."""
    if name in specs and told.encoder and our_name(told.encoder, specs, dim) != name:
        called = f" ({theirs})" if theirs != name else ""
        raise ValueError(
            f"The file says that its vectors are of {name}{called}, not of {told.encoder}."
        )


def _append(
    source: TileFeatures, store: FeatureStore, numbers: NDArray[np.int64], path: Path
) -> Job[int]:
    """Store what is not there yet; returns how much that was."""
    text = f"Importing {path.name}"
    with store.lock():
        known = np.isin(numbers, store.read().tiles)
        yield Progress(0, len(source), text, "tiles")
        for rows, vectors in _blocks(source, path):
            new = ~known[rows]
            if new.any():
                store.append(numbers[rows][new], vectors[new])
            yield Progress(rows.stop, len(source), text, "tiles")
    return int((~known).sum())


def _blocks(source: TileFeatures, path: Path) -> Iterator[tuple[slice, NDArray[np.float32]]]:
    with _named(path):
        yield from source.blocks()


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Say of which file it is that something is wrong with."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"{path.name} cannot be imported: {error}.") from error

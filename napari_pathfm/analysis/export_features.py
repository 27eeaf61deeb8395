"""Embeddings of a project become features in the format of another program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ..core.embeddings import FeatureKey
from ..core.jobs import Job, Progress
from ..core.slide import Slide
from ..io.interop.feature_files import FORMATS, PROGRAMS, write_features
from ..io.interop.tile_features import Outgoing
from ..io.store import StoredFeatures
from .encoder_names import their_name


@dataclass(frozen=True)
class FeatureExport:
    """What was written.

    Attributes
    ----------
    paths : tuple of Path
    form : str
        One of :data:`~napari_pathfm.io.interop.feature_files.FORMATS`.
    key : FeatureKey
        How the vectors were made.
    tiles, dim : int
        How many vectors there are, of how many numbers.
    """

    paths: tuple[Path, ...]
    form: str
    key: FeatureKey
    tiles: int
    dim: int

    def summary(self) -> str:
        """Tell people in a few sentences."""
        names = ", ".join(str(path) for path in self.paths)
        return f"{self.tiles:,} tiles of {self.key.encoder} ({self.dim} numbers) written: {names}"


def export_features(
    stored: StoredFeatures, slide: Slide, path: Path, form: str
) -> Job[FeatureExport]:
    """Write stored embeddings as another program does.

    Parameters
    ----------
    stored : StoredFeatures
        Of `slide`.
    slide : Slide
    path : Path
        See :func:`~napari_pathfm.io.interop.feature_files.write_features`.
    form : str
        "trident", "clam", "anndata" or "spatialdata".

    Raises
    ------
    ValueError
        There is no such format, nothing is embedded, or the slide does not say what is needed.
    """
    if form not in FORMATS:
        raise ValueError(f"There is no format {form!r}: choose one of {', '.join(FORMATS)}.")
    if not stored.count:
        raise ValueError("No tile is embedded yet.")
    yield Progress(0, stored.count, f"Writing {path.name}", "tiles")
    embeddings = stored.read().in_grid_order()
    name = their_name(PROGRAMS[form], stored.key.encoder)
    written = write_features(form, path, Outgoing(slide, stored.grid(), embeddings, name))
    yield Progress(stored.count, stored.count, f"Writing {path.name}", "tiles")
    return FeatureExport(tuple(written), form, stored.key, len(embeddings), stored.dim)

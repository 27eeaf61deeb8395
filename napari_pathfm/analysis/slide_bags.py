"""The embedded slides of a project as bags of tiles, and their labels from a CSV file."""

from __future__ import annotations

import csv
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..core.embeddings import Embeddings
from ..io.project import Project, SlideRow
from ..io.store import StoredFeatures, stored_features
from ..models.slide_classifier import BagSource


@dataclass(frozen=True)
class SlideBags:
    """A slide and its embeddings by one encoder or several.

    Attributes
    ----------
    slide : SlideRow
    features : tuple of StoredFeatures
    """

    slide: SlideRow
    features: tuple[StoredFeatures, ...]

    @functools.cached_property
    def sources(self) -> tuple[BagSource, ...]:
        """How the embeddings of each encoder were made."""
        specs = [features.grid().spec for features in self.features]
        return tuple(
            BagSource(features.key, features.dim, spec.tile_px, spec.mpp)
            for features, spec in zip(self.features, specs, strict=True)
        )

    def read(self) -> tuple[Embeddings, ...]:
        """Return the embeddings of each encoder, in the order of the grid."""
        return tuple(features.read().in_grid_order() for features in self.features)

    def vectors(self) -> list[NDArray[np.float32]]:
        """Return the vectors of :meth:`read`."""
        return [embeddings.vectors for embeddings in self.read()]


@dataclass(frozen=True)
class SlideLabel:
    """A row of a table of labels.

    Attributes
    ----------
    slide : str
        Name, file name or id.
    label : str
    patient : str
        The slide itself where the table does not say.
    """

    slide: str
    label: str
    patient: str


def read_labels(path: Path, column: str = "label") -> list[SlideLabel]:
    """Read a CSV file with the columns ``slide``, `column` and, if it has one, ``patient``.

    Rows without a label are left out.

    Raises
    ------
    ValueError
        A column is missing, or a slide has two labels.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            table = csv.DictReader(file)
            rows = [{key: (value or "").strip() for key, value in row.items()} for row in table]
            columns = table.fieldnames or []
    except (UnicodeDecodeError, csv.Error, AttributeError) as error:
        raise ValueError(f"{path} is no CSV file in UTF-8: {error}. Save it as one.") from error
    for wanted in ("slide", column):
        if wanted not in columns:
            raise ValueError(
                f"{path} has no column {wanted!r}, only {', '.join(columns) or 'none'}. Name the "
                "slides in “slide”, and the labels in the column that you ask for."
            )
    found: dict[str, SlideLabel] = {}
    for row in rows:
        slide, label = row["slide"], row[column]
        if not label:
            continue
        if slide in found and found[slide].label != label:
            raise ValueError(
                f"{path}: the slide {slide!r} is {found[slide].label!r} and {label!r}. Keep one."
            )
        found[slide] = SlideLabel(slide, label, row.get("patient") or slide)
    return list(found.values())


def find_slide(slides: Sequence[SlideRow], name: str) -> SlideRow | None:
    """Return the slide of that id, name or file name; ``None`` if there is none.

    Raises
    ------
    ValueError
        Several have this name.
    """
    found = [
        each for each in slides if name in (each.id, each.name, each.path.name, each.path.stem)
    ]
    if len(found) > 1:
        places = " and ".join(str(each.path) for each in found)
        raise ValueError(f"Two slides are named {name!r}: {places}. Name them by their ids.")
    return found[0] if found else None


def slide_bags(project: Project, slide: SlideRow, encoders: Sequence[str]) -> SlideBags:
    """Return a slide's embeddings by these encoders, of each the one with most tiles.

    Raises
    ------
    ValueError
        It has not been embedded with one of them, or not to the end.
    """
    stored = stored_features(project.slide_store(slide.id))
    chosen = []
    for encoder in encoders:
        own = [each for each in stored if each.key.encoder == encoder and each.count]
        most = max(own, key=lambda each: each.count, default=None)
        if most is None or most.count < most.total:
            how = "not" if most is None else f"only to {most.count} of {most.total} tiles"
            raise ValueError(
                f"{slide.name} has {how} been embedded with {encoder}. Run “pathfm embed "
                f"{slide.path} --encoder {encoder} --project {project.folder}” first."
            )
        chosen.append(most)
    return SlideBags(slide, tuple(chosen))


def check_alike(bags: SlideBags, sources: Sequence[BagSource], whose: str) -> None:
    """Make sure that a slide was embedded in the same way as others.

    Parameters
    ----------
    bags : SlideBags
    sources : sequence of BagSource
        How the others were.
    whose : str
        Who they are, for the message.

    Raises
    ------
    ValueError
        Weights, preprocessing or tiles differ; the message names the difference.
    """
    for ours, theirs in zip(bags.sources, sources, strict=True):
        if difference := ours.difference(theirs):
            raise ValueError(
                f"{bags.slide.name} was embedded with {ours.key.encoder} in another way than "
                f"{whose} ({difference}). Embed it in the same way."
            )

"""Write what was annotated as training data: images, index masks, splits and a manifest.

Patches are squares of a grid over the whole slide, at one resolution; those that hold an annotated
pixel are written. So are labelled tiles: what no object covers of them is of the tile's class.
Connected patches and tiles stay in one split.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ..core.edits import AnnotationClass
from ..core.jobs import Job, Progress
from ..core.slide import Slide
from ..core.tiles import TileGrid, TilePlan, TileSpec
from ..io.atomic import new_folder
from ..io.interop.dataset import (
    SPLITS,
    Pair,
    folder_names,
    write_index,
    write_pair,
    write_png,
)
from ..io.layer_names import layer_names
from ..io.project import Project, labelled_grids
from ..io.store import stored_features
from .manifest import manifest_of, patch_facts
from .patches import AnnotatedSlide, read_square
from .split import Patch, Split, assign, check_split, regions


@dataclass(frozen=True)
class ExportReport:
    """What was exported.

    Attributes
    ----------
    folder : Path
    files : tuple of str
        Relative to `folder`.
    classes : tuple of str
        Names, in the order of their indices in the masks.
    patches : dict
        Number of image and mask pairs of each split, those of tiles among them.
    regions : int
        Connected groups of patches and tiles.
    objects : int
        Objects with a class.
    unclassified : int
        Objects without one: their pixels are ignored.
    tiles : dict
        Number of labelled tiles of each class.
    unplaced : int
        Labelled tiles left out because their grid was never embedded, so it was not kept.
    """

    folder: Path
    files: tuple[str, ...]
    classes: tuple[str, ...]
    patches: dict[str, int]
    regions: int
    objects: int
    unclassified: int
    tiles: dict[str, int] = field(default_factory=dict)
    unplaced: int = 0

    def summary(self) -> str:
        """Say it in a sentence or two."""
        each = ", ".join(f"{count} {split}" for split, count in self.patches.items())
        made_of = [_counted(self.objects, "object")] if self.objects or not self.tiles else []
        if self.tiles:
            made_of.append(_counted(sum(self.tiles.values()), "labelled tile"))
        images = _counted(sum(self.patches.values()), "image")
        text = f"{images} with masks ({each}) of {' and '.join(made_of)} in "
        text += f"{_counted(self.regions, 'region')}, in {self.folder}."
        if self.unclassified:
            objects = _counted(self.unclassified, "object")
            text += f" What has no class yet counts as not annotated: {objects}."
        if self.unplaced:
            tiles = _counted(self.unplaced, "labelled tile")
            text += f" Left out, as their grid was never embedded: {tiles}."
        if self.regions and not self.patches["val"] + self.patches["test"]:
            text += " All of them are for training: annotate more regions apart to fill the others."
        return text


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def export_dataset(
    project: Project,
    out: str | Path,
    *,
    slides: Mapping[str, Slide],
    layer: str = "regions",
    patch_px: int = 512,
    mpp: float | None = None,
    split: Split = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> Job[ExportReport]:
    """Export annotated objects and labelled tiles of some slides.

    Parameters
    ----------
    project : Project
    out : str or Path
        A folder that does not exist yet or is empty. It appears when all is written.
    slides : mapping
        Open slides by their id.
    layer : str
        Name of the annotation layer.
    patch_px : int
        Side of the images in pixels.
    mpp : float, optional
        Micrometres per pixel of the images; as scanned if absent.
    split : tuple of float
        Fractions of train, val and test; regions are never cut.
    seed : int
        Decides which region goes where.

    Raises
    ------
    ValueError
        Nothing is annotated, `out` is not empty, or `mpp` is asked for and a slide has none.
    SlideError
        A slide cannot be read.
    OSError
        There is no space, or no right to write there. Nothing is left behind.
    """
    check_split(split)
    out = Path(out).expanduser()
    spec = TileSpec(tile_px=patch_px, mpp=mpp)
    classes = tuple(sorted(project.classes(), key=lambda each: each.id))
    yield Progress(0, 0, "Looking for annotations")
    sources = [
        AnnotatedSlide(project, slide, layer, spec, classes)
        for slide in slides.values()
        if layer in layer_names(project, slide.id)
    ]
    found = [tile for slide in slides.values() for tile in _labelled(project, slide, classes)]
    labelled = [tile for tile in found if tile is not None]
    _check_something(sources, labelled, classes)
    with new_folder(out) as folder:
        written = yield from _write_patches(folder, sources)
        tiles = yield from _write_tiles(folder, labelled, classes, sources)
        written += tiles
        numbers = regions([each.patch for each in written])
        sizes = Counter(numbers)
        chosen = assign((sizes[region] for region in range(len(sizes))), split, seed)
        manifest = manifest_of(layer, classes, spec, sources, seed, split)
        by_split: dict[str, list[Pair]] = {name: [] for name in SPLITS}
        for each, number in zip(written, numbers, strict=True):
            name = SPLITS[chosen[number]]
            by_split[name].append(each.pair)
            facts = patch_facts(each.patch, each.pair, each.plan, number, name)
            manifest["tiles" if each.tile else "patches"].append({**facts, **each.tile})
        index = write_index(folder, len(classes), by_split, manifest)
        yield Progress(len(written), len(written), "Exporting patches", "patches")
    return ExportReport(
        folder=out,
        files=(*index, *(path for each in written for path in each.pair)),
        classes=tuple(each.name for each in classes),
        patches={name: len(pairs) for name, pairs in by_split.items()},
        regions=len(sizes),
        objects=sum(source.classified for source in sources),
        unclassified=sum(source.unclassified for source in sources),
        tiles=dict(Counter(each.tile["class"] for each in tiles)),
        unplaced=len(found) - len(labelled),
    )


def is_annotated(project: Project, slide_id: str, layer: str) -> bool:
    """Whether there may be something to export of a slide."""
    return layer in layer_names(project, slide_id) or bool(labelled_grids(project, slide_id))


@dataclass(frozen=True, eq=False)
class _Written:
    patch: Patch
    pair: Pair
    plan: TilePlan
    tile: dict[str, Any] = field(default_factory=dict)
    """What the manifest says of a labelled tile; empty for a patch."""


@dataclass(frozen=True, eq=False)
class _LabelledTile:
    slide: Slide
    grid: TileGrid
    number: int
    class_id: int
    encoder: str


def _check_something(
    sources: Sequence[AnnotatedSlide],
    labelled: Sequence[_LabelledTile],
    classes: Sequence[AnnotationClass],
) -> None:
    if labelled or any(source.classified for source in sources):
        return
    objects = sum(source.unclassified for source in sources)
    if objects:
        raise ValueError(
            f"None of the {objects} annotated objects has a class yet. Choose a class for them "
            f"({', '.join(each.name for each in classes) or 'make one first'}), then export."
        )
    raise ValueError(
        "Nothing is annotated yet, so there is nothing to export: segment or paint an object, or "
        "label tiles."
    )


def _write_patches(folder: Path, sources: Sequence[AnnotatedSlide]) -> Job[list[_Written]]:
    written: list[_Written] = []
    places = [(source, place) for source in sources for place in source.candidates()]
    for done, (source, (row, col)) in enumerate(places):
        yield Progress(done, len(places), "Exporting patches", "patches")
        found = source.patch(row, col)
        if found is not None:
            name = f"{source.slide.id}_{row:05d}_{col:05d}"
            pair = write_pair(folder, name, source.image(row, col), found[1])
            written.append(_Written(found[0], pair, source.plan))
    return written


def _labelled(
    project: Project, slide: Slide, classes: Iterable[AnnotationClass]
) -> Iterator[_LabelledTile | None]:
    """Yield labelled tiles; ``None`` for each on a grid that was not kept with embeddings."""
    known = {each.id for each in classes}
    stored = {each.grid_hash: each for each in stored_features(project.slide_store(slide.id))}
    for name in labelled_grids(project, slide.id):
        labels = project.labels(slide.id, name)
        if name not in stored:
            yield from [None] * len(labels)
            continue
        grid, encoder = stored[name].grid(), stored[name].key.encoder
        for number, class_id in sorted(labels.items()):
            if class_id in known:
                yield _LabelledTile(slide, grid, number, class_id, encoder)


def _write_tiles(
    folder: Path,
    labelled: Sequence[_LabelledTile],
    classes: Sequence[AnnotationClass],
    sources: Sequence[AnnotatedSlide],
) -> Job[list[_Written]]:
    folders = folder_names({each.id: each.name for each in classes})
    numbers = {each.id: (index, each.name) for index, each in enumerate(classes)}
    by_slide = {source.slide.id: source for source in sources}
    written: list[_Written] = []
    for done, tile in enumerate(labelled):
        yield Progress(done, len(labelled), "Exporting labelled tiles", "tiles")
        slide, grid, plan = tile.slide, tile.grid, tile.grid.plan
        index, class_name = numbers[tile.class_id]
        y, x = grid.origins[tile.number].tolist()
        objects = frozenset[int]()
        mask = np.full((plan.tile_px, plan.tile_px), index, np.uint8)
        if slide.id in by_slide:
            objects, mask = by_slide[slide.id].square(y, x, grid.side, plan.tile_px, index)
        origins = grid.level_origins(slide.levels[plan.level].downsample)
        pixels = read_square(slide, plan, *origins[tile.number].tolist())
        name = f"{slide.id}_{grid.hash}_{tile.number:06d}.png"
        image = write_png(folder, f"tiles/{folders[tile.class_id]}/{name}", pixels)
        facts = {"tile": tile.number, "class": class_name, "index": index, "encoder": tile.encoder}
        written.append(
            _Written(
                Patch(slide.id, y, x, grid.side, objects),
                (image, write_png(folder, f"masks/{name}", mask)),
                plan,
                facts,
            )
        )
    return written

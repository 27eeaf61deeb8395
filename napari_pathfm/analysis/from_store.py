"""What a slide's store has already of what is to be embedded, and how all else in it differs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from ..core.embeddings import FeatureKey
from ..core.tiles import TileGrid
from ..io.project import Project
from ..io.store import StoredFeatures, stored_features
from .text_search import FOR_TEXT


@dataclass(frozen=True)
class FromStore:
    """Embeddings that need not be computed again.

    Attributes
    ----------
    count : int
        Tiles of the grid that have a vector.
    total : int
        Tiles of the grid.
    others : tuple of str
        Where nothing can be used: how what there is by the same encoder differs.
    """

    count: int = 0
    total: int = 0
    others: tuple[str, ...] = ()

    @property
    def before(self) -> str:
        """What to say before anything is computed; empty if there is nothing to say."""
        if self.count == self.total:
            return f"{_tiles(self.count)} are in the store" if self.count else ""
        if self.count:
            return f"{self.count:,} of {_tiles(self.total)} are in the store"
        return self.difference

    @property
    def difference(self) -> str:
        """What decides against what else there is; empty if there is nothing."""
        return "; ".join(f"embedded before with {other}" for other in self.others)

    def after(self, tiles: int) -> str:
        """What to say of `tiles` embeddings that are there now."""
        if not self.count:
            return f"{_tiles(tiles)} embedded"
        if self.count >= tiles:
            return f"{_tiles(tiles)}, from the store"
        return f"{_tiles(tiles)}, {self.count:,} of them from the store"


def look_in_store(
    store: Path,
    grid: TileGrid,
    encoder: str,
    key: FeatureKey | None = None,
    weights: str = "",
    stain: str | None = None,
) -> FromStore:
    """Look what a slide's store has of a grid.

    Parameters
    ----------
    store : Path
        The slide's store; it need not exist.
    grid : TileGrid
    encoder : str
        Name in the catalogue.
    key : FeatureKey, optional
        How vectors would be made now. While that is not known, since the encoder is not loaded,
        any by an encoder of that name count.
    weights : str
        Hash of its weights, if only that is known.
    stain : str, optional
        Stain normalisation before the encoder, as in a key; empty for none. That of `key`, or
        any, if absent.

    Raises
    ------
    ProjectError
        A newer version wrote the store.
    """
    found = _embedded(store, encoder)
    keys = [key or replace(each.key, weights=weights or _weights(each.key)) for each in found]
    if stain is not None:
        keys = [each.normalised(stain) for each in keys]
    differences = [
        " and ".join(_differences(each, grid, now)) for each, now in zip(found, keys, strict=True)
    ]
    counts = [each.count for each, differs in zip(found, differences, strict=True) if not differs]
    if counts:
        return FromStore(max(counts), len(grid))
    return FromStore(0, len(grid), tuple(sorted(set(differences))))


def look_in_project(
    project: Project,
    path: Path,
    grid: TileGrid,
    encoder: str,
    key: FeatureKey | None = None,
    weights: str = "",
    stain: str | None = None,
) -> FromStore:
    """Look what a project has of a grid, also of what was at the place of its slide before.

    Parameters
    ----------
    project : Project
    path : Path
        Of the slide. If there is nothing of it, but of another slide that was there, the file has
        another content now.
    grid, encoder, key, weights, stain
        As of :func:`look_in_store`.
    """
    store = project.slide_store(grid.slide_id)
    found = look_in_store(store, grid, encoder, key, weights, stain)
    if found.count:
        return found
    gone = [row for row in project.slides() if row.path == path and row.id != grid.slide_id]
    counts = [
        each.count for row in gone for each in _embedded(project.slide_store(row.id), encoder)
    ]
    others = [f"other content of {path.name} ({_tiles(count)})" for count in counts[-1:]]
    return replace(found, others=(*found.others, *others))


def _embedded(store: Path, encoder: str) -> list[StoredFeatures]:
    """Return what the tiles of a slide were embedded to by an encoder of that name."""
    return [
        each
        for each in stored_features(store)
        if each.key.encoder == encoder and each.key.pooling != FOR_TEXT and each.count
    ]


def _weights(key: FeatureKey) -> str:
    """Return the weights that an encoder is supposed to have which is not loaded yet."""
    return "its own" if key.imported else key.weights


def _differences(stored: StoredFeatures, grid: TileGrid, key: FeatureKey) -> Iterator[str]:
    for name in ("weights", "pooling", "preprocessing"):
        then, now = getattr(stored.key, name), getattr(key, name)
        if then != now:
            yield f"other {name} ({_apart(then, now)}; now {_apart(now, then)})"
    if stored.grid_hash != grid.hash:
        yield _other_tiles(stored.grid(), grid)


def _apart(one: str, other: str) -> str:
    """Words of one text that another one lacks."""
    known = other.replace(";", "").split()
    return " ".join(word for word in one.replace(";", "").split() if word not in known) or "none"


def _other_tiles(then: TileGrid, now: TileGrid) -> str:
    if then.spec == now.spec:
        return f"other tiles ({len(then):,} of the same size; now {len(now):,})"
    return f"other tiles ({_size(then)}; now {_size(now)})"


def _size(grid: TileGrid) -> str:
    spec = grid.spec
    parts = [f"{spec.tile_px} px", "as scanned" if spec.mpp is None else f"at {spec.mpp:g} µm/px"]
    if spec.overlap:
        parts.append(f"overlapping by {spec.overlap:.0%}")
    return f"{' '.join(parts)}, {spec.min_tissue:.0%} tissue"


def _tiles(count: int) -> str:
    return f"{count:,} tile{'' if count == 1 else 's'}"

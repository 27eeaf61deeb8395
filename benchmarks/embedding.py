"""Tiles a second of the whole embedding job, against the network alone and against peers.

All sides embed the same tissue tiles of the oesophagus slide with the same network on the same
machine, and take turns:

- ``of_forward_only``: the network alone, in the same thread, the tiles in memory, in the precision
  that was chosen and the batch that the job used most;
- ``vs_dataloader``: one ``read_region`` a tile in the workers of a torch DataLoader, as TRIDENT
  and CLAM read, and the same network in the same precision and batch;
- ``vs_lazyslide``: LazySlide's own function, ``best`` each in its best precision as it comes
  (LazySlide's mixed one is float16), ``float32`` both in that, and ``told_bfloat16`` if its user
  chooses the one that suits this processor.

Where a package has no weights they are random, and LazySlide's are: that changes no speed. Our job
reads with empty caches, and nothing is kept from one pass to the next but what it learned of the
network. Each side begins with a few tiles that do not count, since a machine may have taken back
memory that was not used for a minute. Our network is compiled beforehand, as it is on a computer
that has used it for a minute.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathfm.analysis.embed import embed
from napari_pathfm.analysis.tissue import find_tissue
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import run
from napari_pathfm.core.threads import cores
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.io.cache import shared_cache
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.models.catalog import CatalogEntry, entries, get_encoder
from napari_pathfm.models.encoder import NetworkEncoder
from napari_pathfm.models.timm import build

from ._measure import compare, find_material, main, say, seconds_a_pass
from .lazyslide import LazySlide

SLIDE = "esophagus_37950x14201.tif"
NETWORKS = ("efficientnet-lite0", "kaiko-vits16")
TILES = TileSpec(min_tissue=0.1)
"""Tiles that are mostly background count as much as others here: there are 1,047 of them."""

FEW = 64
"""Tiles with which each side begins, and which LazySlide embeds in float16, once: a processor takes
minutes for all of them."""


class Watched:
    """An encoder that counts the sizes of its batches."""

    def __init__(self, encoder: NetworkEncoder) -> None:
        self._encoder = encoder
        self.sizes: Counter[int] = Counter()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._encoder, name)

    def embed(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.sizes[len(tiles)] += len(tiles)
        return self._encoder.embed(tiles)


class Pipeline:
    """Our whole job with one network, in one precision."""

    def __init__(self, slide: SlideReader, grid: TileGrid, encoder: NetworkEncoder) -> None:
        self._slide, self._grid = slide, grid
        self.encoder, self.queue = encoder, InferenceQueue("benchmark")
        self._watched = Watched(encoder)
        self.run()  # finds the size of a batch
        self.batch = self._watched.sizes.most_common(1)[0][0]

    def run(self) -> None:
        run(embed(self._slide, self._grid, self._watched, queue=self.queue))  # type: ignore[arg-type]

    def seconds(self) -> float:
        self.warm_up()
        return seconds_a_pass(self.run, shared_cache().clear)

    def warm_up(self) -> None:
        few = middle(self._grid, FEW)
        run(embed(self._slide, few, self.encoder, queue=self.queue))

    def network_seconds(self, tiles: NDArray[np.uint8]) -> float:
        self.warm_up()
        tiles.max()

        def forward() -> None:
            for start in range(0, len(tiles), self.batch):
                self.encoder.embed(tiles[start : start + self.batch])

        return self.queue.call(lambda: seconds_a_pass(forward))


def measure(networks: Sequence[str], tiles: int, peer: bool, repetitions: int) -> dict[str, Any]:
    """Measure networks of the catalogue."""
    import torch

    with open_slide(find_material("slides", SLIDE)) as slide:
        grid = make_grid(slide.id, slide.levels, slide.mpp, TILES, find_tissue(slide).mask)
        return {
            "slide": Path(SLIDE).stem,
            "threads": torch.get_num_threads(),
            "networks": {
                name: measure_network(name, slide, middle(grid, tiles), peer, repetitions)
                for name in networks
            },
        }


def measure_network(
    name: str, slide: SlideReader, grid: TileGrid, peer: bool, repetitions: int
) -> dict[str, Any]:
    """Compare all sides with one network."""
    say(f"{name}, {len(grid)} tiles")
    with tempfile.TemporaryDirectory() as folder:
        state = random_weights(name, Path(folder))
        in_memory = np.concatenate([tiles for _, tiles in slide.tiles(grid)])
        best, exact = load(name, state), load(name, state)
        exact.exact = True
        for encoder in (best, exact):
            prepare(encoder, in_memory)
        ours, float32 = (Pipeline(slide, grid, each) for each in (best, exact))
        sides: dict[str, Callable[[], float]] = {
            "pipeline": ours.seconds,
            "forward_only": lambda: ours.network_seconds(in_memory),
            "dataloader": lambda: dataloader_seconds(slide.path, grid, ours),
        }
        theirs = (
            LazySlide(slide.path, grid, entry(name).arch, ours.encoder, state) if peer else None
        )
        if theirs is not None:
            sides |= {
                "pipeline_float32": float32.seconds,
                "lazyslide_float32": lambda: their_seconds(theirs, "float32"),
                "lazyslide_bfloat16": lambda: their_seconds(theirs, "bfloat16"),
                "lazyslide_mixed": cache(lambda: theirs.embed("float16", FEW) * len(grid) / FEW),
            }
        try:
            seconds = compare(sides, repetitions)
        finally:
            if theirs is not None:
                theirs.close()
    return facts(seconds, ours, len(grid)) | (
        {"lazyslide": theirs.version} if theirs is not None else {}
    )


def their_seconds(theirs: LazySlide, precision: str) -> float:
    """Let LazySlide embed all tiles, after a few that do not count."""
    theirs.embed(precision, FEW)
    return theirs.embed(precision)


def facts(seconds: dict[str, float], ours: Pipeline, tiles: int) -> dict[str, Any]:
    """Ratios and rates of what was measured."""
    encoder = ours.encoder
    chosen = next(t for t in encoder.trials if t.precision == encoder.precision)
    ratios: dict[str, Any] = {
        "of_forward_only": seconds["forward_only"] / seconds["pipeline"],
        "vs_dataloader": seconds["dataloader"] / seconds["pipeline"],
    }
    if "lazyslide_float32" in seconds:
        their_best = min(seconds["lazyslide_float32"], seconds["lazyslide_mixed"])
        ratios["vs_lazyslide"] = {
            "best": their_best / seconds["pipeline"],
            "float32": seconds["lazyslide_float32"] / seconds["pipeline_float32"],
            "told_bfloat16": seconds["lazyslide_bfloat16"] / seconds["pipeline"],
        }
    return {
        **ratios,
        "tiles_per_s": {side: tiles / time for side, time in seconds.items()},
        "tiles": tiles,
        "batch": ours.batch,
        "precision": encoder.precision.name,
        "cosine_mean": chosen.cosine_mean,
        "cosine_min": chosen.cosine_min,
        "faster_than_float32": encoder.trials[0].seconds / chosen.seconds,
    }


class Regions:
    """One ``read_region`` a tile, for a DataLoader; each worker opens the slide for itself."""

    def __init__(self, path: Path, grid: TileGrid) -> None:
        self._path, self._xy, self._side = path, grid.origins[:, ::-1], round(grid.side)
        self._slide: Any = None

    def __len__(self) -> int:
        return len(self._xy)

    def __getitem__(self, number: int) -> NDArray[np.uint8]:
        if self._slide is None:
            from openslide import open_slide

            self._slide = open_slide(os.fspath(self._path))
        x, y = self._xy[number].tolist()
        region = self._slide.read_region((x, y), 0, (self._side, self._side))
        return np.asarray(region.convert("RGB"))


def prepare(encoder: NetworkEncoder, tiles: NDArray[np.uint8]) -> None:
    """Let an encoder find its precision, and compile it as happens once on each computer."""
    encoder.calibrate(tiles)
    start = time.monotonic()
    encoder.compile()
    encoder.calibrate(tiles)  # whether compiled is faster
    say(f"{encoder.precision.name}; compiling took {time.monotonic() - start:.0f} s")


def dataloader_seconds(path: Path, grid: TileGrid, ours: Pipeline) -> float:
    """Read with a DataLoader and embed with our network: seconds of a pass."""
    from torch.utils.data import DataLoader

    ours.warm_up()

    def embed_all() -> None:
        loader = DataLoader(
            Regions(path, grid),  # type: ignore[arg-type]
            batch_size=ours.batch,
            num_workers=cores(),
            multiprocessing_context="spawn",
            collate_fn=np.stack,
        )
        for tiles in loader:
            ours.queue.call(lambda tiles=tiles: ours.encoder.embed(tiles))

    return seconds_a_pass(embed_all)


def entry(name: str) -> CatalogEntry:
    """Return what the catalogue says of a network."""
    return entries()[name]


def random_weights(name: str, folder: Path) -> Path:
    """Write random weights by timm's names, the same ones each time."""
    import torch
    from safetensors.torch import save_file

    torch.manual_seed(0)
    path = folder / f"{name}.safetensors"
    save_file(build(entry(name)).state_dict(), path)
    return path


def load(name: str, state: Path) -> NetworkEncoder:
    """Load an encoder on the processor: with the weights of a package, or with those."""
    file = None if entry(name).weights.package else state
    return get_encoder(name, file, "cpu")  # type: ignore[return-value]


def middle(grid: TileGrid, count: int) -> TileGrid:
    """Return `count` neighbouring tiles from the middle of a grid, all if it has fewer."""
    start = max(0, (len(grid) - count) // 2)
    origins = grid.origins[start : start + count]
    return TileGrid(grid.slide_id, grid.spec, origins, grid.side, grid.plan)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--tiles", type=int, default=2000, help="at most so many tiles")
    parser.add_argument("--network", choices=NETWORKS, action="append", help="all if absent")
    parser.add_argument("--no-peer", action="store_true", help="leave LazySlide out")
    parser.add_argument("--repetitions", type=int, default=3, help="of each side, in turns")
    options, sys.argv[1:] = parser.parse_known_args()
    networks, peer = options.network or NETWORKS, not options.no_peer
    main("embedding", lambda: measure(networks, options.tiles, peer, options.repetitions))

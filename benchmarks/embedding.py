"""Tiles a second of the whole embedding job, and of the network alone on the same tiles.

The job reads tissue tiles of the oesophagus slide from the file, with empty caches, and embeds
them; the other side has the same tiles in memory and embeds them in the same thread, with the
precision that was chosen and the batch that the job used most. ViT-S/16 has random weights, which
changes no speed. ``--tiles`` sets how many tiles EfficientNet gets (ViT-S a quarter of them).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from napari_pathfm.analysis.embed import embed
from napari_pathfm.analysis.tissue import find_tissue
from napari_pathfm.core.inference import InferenceQueue
from napari_pathfm.core.jobs import run
from napari_pathfm.core.tiles import TileGrid, TileSpec, make_grid
from napari_pathfm.io.cache import shared_cache
from napari_pathfm.io.reader import SlideReader, open_slide
from napari_pathfm.models.catalog import OURS, get_encoder, read_catalog
from napari_pathfm.models.encoder import NetworkEncoder
from napari_pathfm.models.timm import build

from ._measure import compare, find_material, main, say, seconds_a_pass

SLIDE = "esophagus_37950x14201.tif"
NETWORKS = {"efficientnet-lite0": 1.0, "kaiko-vits16": 0.25}
"""Names in the catalogue, and their share of the tiles."""


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


def measure(tiles: int = 1000) -> dict[str, Any]:
    """Measure every network."""
    import torch

    with open_slide(find_material("slides", SLIDE)) as slide:
        grid = make_grid(slide.id, slide.levels, slide.mpp, TileSpec(), find_tissue(slide).mask)
        return {
            "slide": Path(SLIDE).stem,
            "threads": torch.get_num_threads(),
            "networks": {
                name: measure_network(name, slide, middle(grid, round(share * tiles)))
                for name, share in NETWORKS.items()
            },
        }


def measure_network(name: str, slide: SlideReader, grid: TileGrid) -> dict[str, Any]:
    """Compare the two sides with one network."""
    say(f"{name}, {len(grid)} tiles")
    encoder, queue = load(name), InferenceQueue("benchmark")
    in_memory = np.concatenate([tiles for _, tiles in slide.tiles(grid)])
    queue.call(lambda: encoder.calibrate(in_memory))
    watched = Watched(encoder)

    def pipeline() -> None:
        run(embed(slide, grid, watched, queue=queue))  # type: ignore[arg-type]

    pipeline()
    batch = watched.sizes.most_common(1)[0][0]

    def forward_only() -> None:
        for start in range(0, len(in_memory), batch):
            encoder.embed(in_memory[start : start + batch])

    seconds = compare(
        {
            "pipeline": lambda: seconds_a_pass(pipeline, shared_cache().clear),
            "forward_only": lambda: queue.call(lambda: seconds_a_pass(forward_only)),
        }
    )
    chosen = next(t for t in encoder.trials if t.precision == encoder.precision)
    return {
        "of_forward_only": seconds["forward_only"] / seconds["pipeline"],
        **{f"{side}_tiles_per_s": len(grid) / time for side, time in seconds.items()},
        "tiles": len(grid),
        "batch": batch,
        "precision": encoder.precision.name,
        "cosine_mean": chosen.cosine_mean,
        "cosine_min": chosen.cosine_min,
        "faster_than_float32": encoder.trials[0].seconds / chosen.seconds,
    }


def load(name: str) -> NetworkEncoder:
    """Load an encoder on the processor, with random weights if there are none."""
    entry = next(entry for entry in read_catalog(OURS) if entry.spec.name == name)
    if entry.weights.package:
        return get_encoder(name, device="cpu")  # type: ignore[return-value]
    from safetensors.torch import save_file

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.safetensors")
        save_file(build(entry).state_dict(), path)
        return get_encoder(name, path, "cpu")  # type: ignore[return-value]


def middle(grid: TileGrid, count: int) -> TileGrid:
    """Return `count` neighbouring tiles from the middle of a grid."""
    start = max(0, (len(grid) - count) // 2)
    origins = grid.origins[start : start + count]
    return TileGrid(grid.slide_id, grid.spec, origins, grid.side, grid.plan)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--tiles", type=int, default=1000)
    options, sys.argv[1:] = parser.parse_known_args()
    main("embedding", lambda: measure(options.tiles))

"""The side of LazySlide, run by its own Python: one line of JSON asks, one answers."""

import importlib.metadata
import json
import os
import sys
import time

ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # whatever libraries print goes to stderr


def answer(**facts: object) -> None:
    print(json.dumps(facts), file=ANSWERS, flush=True)


def main(job: dict) -> None:
    import lazyslide
    import numpy as np
    import timm
    import torch
    import wsidata
    from safetensors.torch import load_file
    from torchvision.transforms import v2
    from wsidata.io import add_tiles, subset_tiles

    slide = wsidata.open_wsi(job["slide"], store=None)
    xy, side = np.load(job["xy"]), job["side"]
    spec = wsidata.TileSpec(side, side, side, side, mpp=job["mpp"])
    add_tiles(slide, "all", xy, spec, np.zeros(len(xy), int))
    network = timm.create_model(job["arch"], num_classes=0, global_pool=job["pool"]).eval()
    missing, _ = network.load_state_dict(load_file(job["state"]), strict=False)
    if missing:
        sys.exit(f"weights are missing: {missing}")
    transform = v2.Compose(
        [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(job["mean"], job["std"])]
    )

    def model(images: torch.Tensor) -> torch.Tensor:
        return network(images).float()  # its results go to numpy, which has no bfloat16

    def embed(precision: str, tiles: int) -> float:
        count = tiles or len(xy)
        subset_tiles(slide, "all", range(count), "tiles")
        start = time.perf_counter()
        found = lazyslide.tl.feature_extraction(
            slide,
            model,
            model_name="network",
            transform=transform,
            device="cpu",
            amp=precision != "float32",
            autocast_dtype=getattr(torch, precision),
            pbar=False,
            return_features=True,
        )
        seconds = time.perf_counter() - start
        if len(found) != count:
            sys.exit(f"{len(found)} vectors of {count} tiles")
        return seconds

    answer(version=importlib.metadata.version("lazyslide"))
    for line in sys.stdin:
        answer(seconds=embed(**json.loads(line)))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))

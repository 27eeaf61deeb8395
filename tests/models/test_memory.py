"""What a model needs: no network takes more than is said; counted on shapes, tensor by tensor."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from napari_pathfm.models.catalog import CatalogEntry, build
from napari_pathfm.models.memory import needed_bytes, tile_bytes

Entries = dict[str, CatalogEntry]


class Alive(TorchDispatchMode):
    """Counts the bytes of all tensors that are alive at once; their memory need not exist."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[StorageWeakRef, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                storage = tensor.untyped_storage()
                self.sizes[StorageWeakRef(storage)] = storage.nbytes()
        self.sizes = {ref: size for ref, size in self.sizes.items() if not ref.expired()}
        self.peak = max(self.peak, sum(self.sizes.values()))
        return made


def peak(forward: Any, px: int) -> int:
    with torch.inference_mode(), Alive() as alive:
        forward(torch.zeros(1, 3, px, px, device="meta"))
    return alive.peak


@pytest.mark.parametrize(
    "name",
    [
        "efficientnet-lite0",
        "ctranspath",
        "biovil",
        "kaiko-vits8",
        "clip",
        "midnight-12k",
        "musk-ms",
    ],
)
def test_a_tile_takes_no_more_than_is_said(entries: Entries, name: str) -> None:
    spec, network = entries[name].encoder, build(entries[name], meta=True)
    pooled = spec.pooling == "two-scale"
    forward = network.two_scales if pooled else network.forward_features
    found = peak(forward, spec.input_px)
    assert tile_bytes(spec) / 8 < found <= tile_bytes(spec)


@pytest.mark.parametrize(
    "name",
    [
        "sam-vit-b",
        "sam-vit-l",
        "sam-vit-h",
        "pathfm-click",
        "litemedsam",
        "mobile-sam",
        "sam2.1-tiny",
        "sam2.1-large",
    ],
)
def test_an_image_takes_what_the_catalogue_says(entries: Entries, name: str) -> None:
    from segment_anything import sam_model_registry

    from napari_pathfm.models import click, litemedsam, mobile_sam, sam2

    px = 1024
    if name == "litemedsam":
        network, px = litemedsam.build(), 256
    elif name == "pathfm-click":
        network, px = litemedsam.build(click.INPUT_PX), click.INPUT_PX
    elif name == "mobile-sam":
        network = mobile_sam.build()
    elif name.startswith("sam2"):
        with torch.device("meta"):
            network = sam2.as_sam(sam2.build(name))
    else:
        with torch.device("meta"):
            network = sam_model_registry[name.removeprefix("sam-").replace("-", "_")]()
    found = peak(network.to("meta").image_encoder.eval(), px)
    assert round(found / 1e6) == entries[name].spec.image_mb


def test_weights_their_copies_and_one_tile(entries: Entries) -> None:
    spec = entries["uni"].encoder
    rest = tile_bytes(spec)
    assert needed_bytes(spec, "GPU") == spec.params * (4 + 2 + 2) + rest
    assert needed_bytes(spec, "computer") == spec.params * (4 + 2) + rest
    assert rest < 50e6
    sam = entries["sam-vit-b"].spec
    assert needed_bytes(sam, "GPU") == sam.params * 4 + sam.image_mb * 1_000_000
    assert needed_bytes(entries["titan"].spec, "GPU") == 0  # nobody has said how many parameters

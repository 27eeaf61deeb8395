"""Tiles and networks for the tests of models."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from napari_pathfm.models.catalog import OURS, CatalogEntry, read_catalog


@pytest.fixture(scope="session")
def entries() -> dict[str, CatalogEntry]:
    """Entries of our own catalogue by name."""
    return {entry.spec.name: entry for entry in read_catalog(OURS)}


@pytest.fixture(scope="session")
def tiles() -> NDArray[np.uint8]:
    """Sixteen tiles of 224 px that look a little like tissue."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(60, 250, (16, 14, 14, 3), dtype=np.uint8)
    fine = coarse.repeat(16, 1).repeat(16, 2).astype(int) + rng.integers(-20, 20, (16, 224, 224, 3))
    return fine.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def vits16_state(entries: dict[str, CatalogEntry]) -> dict[str, Any]:
    """Random weights of the real ViT-S/16."""
    import torch

    from napari_pathfm.models.timm import build

    torch.manual_seed(0)
    return build(entries["kaiko-vits16"]).state_dict()


@pytest.fixture(scope="session")
def shrink() -> Callable[[CatalogEntry], tuple[CatalogEntry, Any]]:
    """Return a function that makes a small vision transformer of an entry of timm's.

    It gives the entry and timm's own network, in which every parameter has random values: as they
    are initialised, many have no influence. Two blocks of width 48 are left; all else stays.
    """
    import timm
    import torch

    layers = {"SwiGLUPacked": timm.layers.SwiGLUPacked, "SiLU": torch.nn.SiLU}

    def make(entry: CatalogEntry) -> tuple[CatalogEntry, Any]:
        torch.manual_seed(0)
        kwargs = {**entry.arch_kwargs, "depth": 2, "embed_dim": 48, "num_heads": 3}
        known = {k: layers[v] if v in ("SwiGLUPacked", "SiLU") else v for k, v in kwargs.items()}
        network = timm.create_model(entry.arch, num_classes=0, **known).eval()
        for parameter in network.parameters():
            parameter.requires_grad_(False).normal_(std=0.3)
        spec = replace(
            entry.encoder,
            params=sum(p.numel() for p in network.parameters()),
            dim=entry.encoder.dim // entry.encoder.token_dim * 48,
            token_dim=48,
        )
        return replace(entry, spec=spec, arch_kwargs=kwargs), network

    return make


@pytest.fixture(autouse=True)
def no_other_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither the user's models nor the network take part."""
    monkeypatch.delenv("PATHFM_MODELS", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("pooch.os_cache", lambda _: tmp_path / "cache")
    monkeypatch.setattr("platformdirs.user_config_path", lambda _: tmp_path / "settings")


@pytest.fixture
def broken_file(tmp_path: Path) -> Callable[[str, bytes], Path]:
    """Return a function that writes a file."""

    def write(name: str, content: bytes) -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write

"""SegGPT: its figures, and that nobody is told it could be used already."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from napari_pathfm.models.base import ModelError
from napari_pathfm.models.catalog import CatalogEntry, build
from napari_pathfm.models.check import Memory, check


def test_seggpt_is_what_it_should_be(entries: dict[str, CatalogEntry]) -> None:
    entry = entries["seggpt"]
    network: Any = build(entry, meta=True)
    params = sum(parameter.numel() for parameter in network.parameters())
    assert params == 370_723_203 == entry.spec.params
    assert entry.spec.kind == "segmenter"
    # Two images of 448 px, one above the other, in patches of 16; every block sees all of it.
    assert tuple(network.config.image_size) == (896, 448)
    assert network.model.embeddings.patch_embeddings.projection.kernel_size == (16, 16)
    layers = network.model.encoder.layers
    assert len(layers) == 24
    assert {tuple(each.attention.rel_pos_h.shape) for each in layers} == {(2 * 56 - 1, 64)}
    assert {tuple(each.attention.rel_pos_w.shape) for each in layers} == {(2 * 28 - 1, 64)}
    assert network.decoder.decoder_embed.in_features == 4 * 1024  # blocks 5, 11, 17 and 23
    assert network.config.merge_index == 2


def test_fact_that_the_network_contradicts(entries: dict[str, CatalogEntry]) -> None:
    entry = entries["seggpt"]
    wrong = replace(entry, spec=replace(entry.spec, params=370_000_000))
    with pytest.raises(ModelError, match=r"params = 370000000, but .* SegGPT has 370723203"):
        build(wrong, meta=True)


def test_it_is_said_that_nothing_uses_it(entries: dict[str, CatalogEntry]) -> None:
    found = check(entries["seggpt"], memory=Memory(2**40, "computer"))
    assert not found.ready
    assert "nothing here uses it yet" in str(found.obstacles[0])
    assert "litemedsam" in str(found.obstacles[0])

"""Parameters are found inside containers, behind prefixes and under other names."""

from __future__ import annotations

import pytest

from napari_pathfm.models.keys import drop_training_only, efficientnet_lite0, unwrap

BARE = {"blocks.0.w": 1, "norm.w": 2}


@pytest.mark.parametrize(
    "checkpoint",
    [
        BARE,
        {"state_dict": BARE, "epoch": 3},
        {"model": {"module.blocks.0.w": 1, "module.norm.w": 2}},
        {"teacher": {"backbone.blocks.0.w": 1, "backbone.norm.w": 2, "dino_head.mlp.w": 9}},
        {"state_dict": {"module.backbone.blocks.0.w": 1, "module.backbone.norm.w": 2}},
    ],
)
def test_unwrap(checkpoint: dict[str, object]) -> None:
    assert unwrap(checkpoint) == BARE


def test_prefix_of_a_part_only_is_kept() -> None:
    state = {"backbone.w": 1, "decoder.w": 2}
    assert unwrap(state) == state


def test_only_heads_are_dropped() -> None:
    state = {"w": 1, "head.w": 2, "mask_token": 3, "surprise": 4}
    assert drop_training_only(state, {"w"}) == {"w": 1, "surprise": 4}
    assert drop_training_only(state, {"w", "head.w"})["head.w"] == 2


def test_efficientnet_blocks_are_counted_by_stage() -> None:
    names = {
        "_conv_stem.weight": "conv_stem.weight",
        "_bn0.bias": "bn1.bias",
        "_blocks.0._depthwise_conv.weight": "blocks.0.0.conv_dw.weight",
        "_blocks.0._project_conv.weight": "blocks.0.0.conv_pw.weight",
        "_blocks.2._expand_conv.weight": "blocks.1.1.conv_pw.weight",
        "_blocks.2._bn2.running_mean": "blocks.1.1.bn3.running_mean",
        "_blocks.15._project_conv.weight": "blocks.6.0.conv_pwl.weight",
        "_conv_head.weight": "conv_head.weight",
        "_bn1.weight": "bn2.weight",
    }
    renamed = efficientnet_lite0({**dict.fromkeys(names, 0), "_fc.weight": 0})
    assert list(renamed) == list(names.values())


def test_what_the_mapping_does_not_know_keeps_its_name() -> None:
    strange = {"_blocks.99._x.weight": 0, "conv_stem.weight": 0, "blocks.0.0.conv_dw.weight": 0}
    assert efficientnet_lite0(dict(strange)) == strange

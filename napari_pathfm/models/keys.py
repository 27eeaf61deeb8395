"""Names of parameters: from a checkpoint's own to those of the network that is built."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

State = dict[str, Any]

CONTAINERS = ("state_dict", "model", "teacher", "model_state_dict", "model_state")
PREFIXES = ("module.", "teacher.", "backbone.", "encoder.", "sam.")
TRAINING_ONLY = ("head.", "fc.", "classifier.", "dino_head.", "ibot_head.", "mask_token")
"""What a checkpoint may hold beyond the encoder: heads it was trained with."""


def unwrap(checkpoint: Mapping[str, Any]) -> State:
    """Find the parameters in a checkpoint.

    Training scripts save them inside ``state_dict``, ``model`` or ``teacher`` and with prefixes
    such as ``module.`` or ``backbone.``; both are taken off. Where only a part of the keys has
    a prefix, the others must belong to heads that are of use in training only.
    """
    state: Mapping[str, Any] = checkpoint
    while found := [name for name in CONTAINERS if isinstance(state.get(name), Mapping)]:
        state = state[found[0]]
    bare = dict(state)
    while prefix := next((p for p in PREFIXES if _is_prefix(p, bare)), None):
        bare = {k.removeprefix(prefix): v for k, v in bare.items() if k.startswith(prefix)}
    return bare


def drop_training_only(state: State, wanted: set[str]) -> State:
    """Leave out heads and mask tokens that the network does not have."""
    return {k: v for k, v in state.items() if k in wanted or not k.startswith(TRAINING_ONLY)}


def _is_prefix(prefix: str, state: State) -> bool:
    others = [key for key in state if not key.startswith(prefix)]
    return len(others) < len(state) and all(key.startswith(TRAINING_ONLY) for key in others)


_LITE0_STAGES = (1, 2, 2, 3, 3, 4, 1)
_TOP = {"_conv_stem": "conv_stem", "_bn0": "bn1", "_conv_head": "conv_head", "_bn1": "bn2"}
_FIRST_STAGE = {
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn1",
    "_project_conv": "conv_pw",
    "_bn2": "bn2",
}
_OTHER_STAGES = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}


def efficientnet_lite0(state: State) -> State:
    """Turn the keys of the EfficientNet-PyTorch family into timm's, without the classifier.

    There blocks are numbered through; timm counts them by stage.
    """
    places = [(stage, block) for stage, count in enumerate(_LITE0_STAGES) for block in range(count)]
    renamed: State = {}
    for key, value in state.items():
        if key.startswith("_fc."):
            continue
        match = re.fullmatch(r"_blocks\.(\d+)\.(\w+)\.(\w+)", key)
        if match and int(match[1]) < len(places):
            stage, block = places[int(match[1])]
            layer = (_OTHER_STAGES if stage else _FIRST_STAGE).get(match[2], match[2])
            renamed[f"blocks.{stage}.{block}.{layer}.{match[3]}"] = value
        else:
            layer, _, parameter = key.partition(".")
            renamed[f"{_TOP.get(layer, layer)}.{parameter}"] = value
    return renamed


def dinov2(state: State) -> State:
    """Turn DINOv2's own keys (https://github.com/facebookresearch/dinov2) into timm's.

    There blocks may lie in chunks (``blocks.<chunk>.<block>``), the gated MLP is called w12 and w3,
    and a network with registers has a position embedding for the class token, which timm adds to
    that token once and for all. A state with timm's keys stays as it is.
    """
    renamed = {_dinov2_key(key): value for key, value in state.items()}
    if "register_tokens" in renamed:
        positions = renamed["pos_embed"]
        renamed["reg_token"] = renamed.pop("register_tokens")
        renamed["cls_token"] = renamed["cls_token"] + positions[:, :1]
        renamed["pos_embed"] = positions[:, 1:]
    return renamed


def _dinov2_key(key: str) -> str:
    key = re.sub(r"^blocks\.\d+\.(\d+)\.", r"blocks.\1.", key)
    return key.replace(".mlp.w12.", ".mlp.fc1.").replace(".mlp.w3.", ".mlp.fc2.")


_HUB_PLACES = {
    "cls_token": "embeddings.cls_token",
    "mask_token": "embeddings.mask_token",
    "pos_embed": "embeddings.position_embeddings",
    "register_tokens": "embeddings.register_tokens",
    "patch_embed.proj": "embeddings.patch_embeddings.projection",
    "norm": "layernorm",
}
_HUB_BLOCK = {
    "attn.proj": "attention.output.dense",
    "ls1.gamma": "layer_scale1.lambda1",
    "ls2.gamma": "layer_scale2.lambda1",
    "mlp.w12": "mlp.weights_in",
    "mlp.w3": "mlp.weights_out",
}


def dinov2_hub(state: State) -> State:
    """Turn DINOv2's own keys into those that transformers writes, as published files have them.

    There queries, keys and values are three matrices, not one. A state with other keys stays as
    it is.
    """
    renamed: State = {}
    for key, value in state.items():
        if match := re.fullmatch(r"blocks\.(?:\d+\.)?(\d+)\.attn\.qkv\.(\w+)", key):
            parts = zip(("query", "key", "value"), value.chunk(3), strict=True)
            for name, part in parts:
                place = f"encoder.layer.{match[1]}.attention.attention.{name}.{match[2]}"
                renamed[place] = part.contiguous()
        else:
            renamed[_hub_key(key)] = value
    return renamed


def _hub_key(key: str) -> str:
    if match := re.fullmatch(r"blocks\.(?:\d+\.)?(\d+)\.(.+)", key):
        return f"encoder.layer.{match[1]}.{_replaced(match[2], _HUB_BLOCK)}"
    return _replaced(key, _HUB_PLACES)


def _replaced(key: str, places: Mapping[str, str]) -> str:
    found = (name for name in places if key == name or key.startswith(f"{name}."))
    name = next(found, "")
    return places[name] + key.removeprefix(name) if name else key


def hipt_256(state: State) -> State:
    """Resample the position embeddings of 224 pixels to the 256 that HIPT shows its ViT-S/16.

    As DINO does it (``interpolate_pos_encoding`` in its vision_transformer.py): bicubic, without
    antialiasing, and with a scale of 16.1 / 14, not 16 / 14, which moves every sample a little.
    """
    import torch

    positions = state.get("pos_embed")
    if positions is None or positions.shape[1] != 1 + 14 * 14:
        return state
    grid = positions[:, 1:].float().unflatten(1, (14, 14)).permute(0, 3, 1, 2)
    scale = (16 + 0.1) / 14
    grid = torch.nn.functional.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
    patches = grid.flatten(2).transpose(1, 2)
    return {**state, "pos_embed": torch.cat([positions[:, :1].float(), patches], 1)}


MAPPINGS: dict[str, Callable[[State], State]] = {
    "dinov2": dinov2,
    "dinov2_hub": dinov2_hub,
    "efficientnet_lite0": efficientnet_lite0,
    "hipt_256": hipt_256,
}
"""What a catalogue entry may name under ``keys``."""

"""Names of parameters: from a checkpoint's own to those of the network that is built."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

State = dict[str, Any]

CONTAINERS = ("state_dict", "model", "teacher", "model_state_dict")
PREFIXES = ("module.", "teacher.", "backbone.", "encoder.")
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


MAPPINGS: dict[str, Callable[[State], State]] = {"efficientnet_lite0": efficientnet_lite0}
"""What a catalogue entry may name under ``keys``."""

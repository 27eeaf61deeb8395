"""Train the adapter, the prompt encoder and the mask decoder of a small SAM for clicks.

The image encoder stays as it is, so that crops are encoded once. Rounds of simulated clicks, each
corrected by the next, with the answer before as a mask prompt; three answers of which only the
nearest one learns, and a score that learns how near each of them is (Kirillov et al., "Segment
Anything", ICCV 2023; focal and dice loss 20 to 1, as there).
"""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..core.jobs import Job, Progress
from ..io.atomic import replacing
from .click_crops import EncodedCrops
from .simulated_clicks import box_around, first_click, next_click

if TYPE_CHECKING:
    import torch

AVERAGE = 0.998
"""How much of the averaged weights stays in a step."""

NO_POINT = -1
"""SAM's sign of a place that is no point."""

CHOSEN = 0.5
"""What the loss of the mask with the best score counts beside that of the nearest one: the first is
what people get, the second keeps the three apart."""

Truths = NDArray[np.bool_]


@dataclass(frozen=True)
class ClickTraining:
    """How to train.

    Attributes
    ----------
    steps : int
    batch : int
        Objects of a step.
    rate : float
        Learning rate of AdamW at its highest; it rises for a twentieth and falls as a cosine.
    rounds : int
        Answers to an object in a step, each but the first after another click: 1 to so many, as
        drawn, for most objects are to need one click only.
    boxes : float
        Part of the steps that begin with boxes.
    seed : int
    fresh : bool
        Whether the network knows boxes only, so that its three answers begin with that of boxes.
    compiled : bool
        Whether to compile the decoder: takes minutes and a C++ compiler, steps are faster then.
    """

    steps: int = 4000
    batch: int = 4
    rate: float = 3e-4
    rounds: int = 3
    boxes: float = 0.25
    seed: int = 0
    fresh: bool = True
    compiled: bool = False


def train_click(
    network: torch.nn.ModuleDict, crops: EncodedCrops, training: ClickTraining
) -> Job[Any]:
    """Train a copy of all that comes after an image encoder.

    Parameters
    ----------
    network : torch.nn.ModuleDict
        ``adapter``, and SAM's ``prompt_encoder`` and ``mask_decoder``, in float32; see
        :func:`napari_pathfm.models.click.to_train`.
    crops : EncodedCrops
        By that image encoder.
    training : ClickTraining

    Returns
    -------
    torch.nn.ModuleDict
        These parts: the average of the weights of late steps.
    """
    import torch

    torch.manual_seed(training.seed)
    draw = np.random.default_rng(training.seed)
    parts: Any = copy.deepcopy(network).requires_grad_(True).train()
    if training.fresh:
        _alike(parts["mask_decoder"])
    decode, loss = parts["mask_decoder"], _loss
    if training.compiled:
        decode, loss = torch.compile(decode), torch.compile(loss)
    average = copy.deepcopy(parts).requires_grad_(False).eval()
    optimiser = torch.optim.AdamW(parts.parameters(), lr=training.rate, weight_decay=0.01)
    recent: list[float] = []
    start = time.monotonic()
    for step in range(training.steps):
        for group in optimiser.param_groups:
            group["lr"] = training.rate * _rate(step / training.steps)
        chosen = np.sort(draw.integers(len(crops), size=training.batch))
        meant = [int(draw.integers(len(crops.ids[n]))) for n in chosen]
        pairs = list(zip(chosen, meant, strict=True))
        truths = np.stack([crops.truths[n] == crops.ids[n][m] for n, m in pairs])
        inside = torch.tensor([crops.inside[n][m] for n, m in pairs])
        features = torch.from_numpy(crops.features[chosen].astype(np.float32))
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16):
            adapted = parts["adapter"](features.contiguous(memory_format=torch.channels_last))
        leaf = adapted.detach().float().requires_grad_()  # the rounds share one pass through it
        encode = parts["prompt_encoder"]
        found = _rounds(encode, decode, loss, leaf, truths, inside, training, draw)
        adapted.backward(leaf.grad)
        torch.nn.utils.clip_grad_norm_(parts.parameters(), 1.0)
        optimiser.step()
        keep = min(AVERAGE, (step + 1) / (step + 10))
        with torch.no_grad():
            for mean, now in zip(average.parameters(), parts.parameters(), strict=True):
                mean.lerp_(now, 1 - keep)
        recent = [*recent[-99:], found]
        pace = (time.monotonic() - start) / (step + 1)
        text = f"IoU {np.mean(recent):.3f}, {pace:.2f} s a step"
        yield Progress(step + 1, training.steps, text, "steps")
    return average


def save_parts(parts: torch.nn.Module, file: Path) -> None:
    """Write what was trained, in float16, to a ``.safetensors`` file."""
    from safetensors.torch import save_file

    def small(value: torch.Tensor) -> torch.Tensor:
        return (value.half() if value.is_floating_point() else value).contiguous()

    with replacing(file) as temporary:
        save_file({key: small(value) for key, value in parts.state_dict().items()}, temporary)


def _rounds(
    encode: Any,
    decode: Any,
    judge: Callable[..., Any],
    features: torch.Tensor,
    truths: Truths,
    inside: torch.Tensor,
    training: ClickTraining,
    draw: np.random.Generator,
) -> float:
    """Answer objects several times, and sum up the gradients; returns the mean of the last IoUs."""
    import torch

    count, boxes = len(truths), None
    wanted = torch.from_numpy(truths)
    places = np.zeros((count, training.rounds, 2), np.float32)
    signs = np.full((count, training.rounds), NO_POINT, np.int64)
    given = 0  # points of each object
    if draw.random() < training.boxes:
        corners = np.stack([box_around(truth, draw) for truth in truths])[:, [1, 0, 3, 2]]
        boxes = torch.from_numpy(corners.astype(np.float32))
    else:
        places[:, 0] = [first_click(truth, draw) for truth in truths]
        signs[:, 0], given = 1, 1
    low: torch.Tensor | None = None
    ious = np.zeros(count)
    for _ in range(int(draw.integers(training.rounds)) + 1):
        if low is not None:
            answers = (low > 0)[:, 0].numpy()
            for number, truth in enumerate(truths):
                following = next_click(truth, answers[number], draw)
                if following is not None:
                    places[number, given], signs[number, given] = following[0], int(following[1])
            given += 1
        points = None
        if given:
            backwards = places[:, :given, ::-1].copy()  # SAM's positions are (x, y)
            points = torch.from_numpy(backwards), torch.from_numpy(signs[:, :given])
        sparse, dense = encode(points=points, boxes=boxes, masks=low)
        with torch.autocast("cpu", torch.bfloat16):
            masks, scores = decode(
                image_embeddings=features,
                image_pe=encode.get_dense_pe(),
                sparse_prompt_embeddings=sparse,
                dense_prompt_embeddings=dense,
                multimask_output=True,
            )
        loss, found = judge(masks.float(), scores.float(), wanted, inside)
        loss.backward()
        chosen = scores.detach().argmax(1)
        rows = torch.arange(count)
        low = masks.detach().float()[rows, chosen][:, None]
        ious = found[rows, chosen].numpy()
    return float(ious.mean())


def _loss(
    masks: torch.Tensor, scores: torch.Tensor, wanted: torch.Tensor, inside: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of ``(B, 3, h, w)`` answers, and their ``(B, 3)`` IoUs with the whole objects.

    Of an object that the crop does not show whole, `inside` is the part that it does: a score is
    to tell that one has to look from farther away.
    """
    import torch
    from torch.nn.functional import binary_cross_entropy_with_logits

    target = wanted[:, None].expand_as(masks).float()
    entropy = binary_cross_entropy_with_logits(masks, target, reduction="none")
    focal = ((1 - torch.exp(-entropy)) ** 2 * entropy).mean((2, 3))
    sure = masks.sigmoid()
    overlap = (sure * target).sum((2, 3))
    dice = 1 - (2 * overlap + 1) / (sure.sum((2, 3)) + target.sum((2, 3)) + 1)
    each = 20 * focal + dice
    with torch.no_grad():
        said, there = masks > 0, wanted[:, None]
        shown = there.sum((2, 3))
        beyond = shown / inside[:, None] - shown
        union = ((said | there).sum((2, 3)) + beyond).clamp(min=1)
        ious = (said & there).sum((2, 3)) / union
    taken = each.gather(1, scores.detach().argmax(1, keepdim=True))
    return each.amin(1).mean() + CHOSEN * taken.mean() + ((scores - ious) ** 2).mean(), ious


def _alike(decoder: Any) -> None:
    """Begin the three answers with what the one for boxes knows, a little apart."""
    import torch

    with torch.no_grad():
        one = decoder.mask_tokens.weight[0]
        state = decoder.output_hypernetworks_mlps[0].state_dict()
        for number in range(1, len(decoder.mask_tokens.weight)):
            noise = torch.randn_like(one) * one.std() * 0.3
            decoder.mask_tokens.weight[number] = one + noise
            decoder.output_hypernetworks_mlps[number].load_state_dict(state)


def _rate(done: float) -> float:
    """Part of the learning rate when so much of the training is done."""
    return min(done / 0.05 + 0.02, 1.0) * (0.02 + 0.98 * (1 + math.cos(math.pi * done)) / 2)

"""The fastest precision is taken only where it gives float32's answers."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from napari_pathfm.models import precision
from napari_pathfm.models.precision import (
    FLOAT32,
    QUICK_PASSES,
    Precision,
    Trial,
    agreement,
    autocast,
    candidates,
    convert,
    cosine,
    fastest,
    trial,
)

NONE = np.zeros((0, 4), np.float32)


def made(name: str, seconds: float, mean: float = 1.0, least: float = 1.0) -> Trial:
    return Trial(Precision(name), seconds, mean, least, NONE)


@pytest.mark.parametrize(
    ("mean", "least", "taken"),
    [(0.9995, 0.996, True), (0.9989, 0.996, False), (0.9995, 0.9949, False)],
)
def test_same_answers_or_float32(mean: float, least: float, taken: bool) -> None:
    exact, half = made("float32", 2.0), made("bfloat16", 1.0, mean, least)
    assert (fastest([exact, half]) is half) == taken


def test_slower_is_not_taken() -> None:
    exact, half = made("float32", 1.0), made("bfloat16", 1.1)
    assert fastest([exact, half]) is exact


def drive(precision: Precision, pause: float, parts: int, **options: object) -> tuple[Trial, int]:
    """Run a trial of something that takes `pause` seconds; also count the passes."""
    passes = 0

    def embed(tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        nonlocal passes
        passes += 1
        time.sleep(pause)
        return np.ones((len(tiles), 4), np.float32)

    steps = trial(precision, embed, [np.zeros((2, 8, 8, 3), np.uint8)] * parts, **options)  # type: ignore[arg-type]
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value, passes


def test_trial_measures_each_part() -> None:
    found, passes = drive(FLOAT32, 0.01, parts=8)
    assert passes == 1 + QUICK_PASSES
    assert found.vectors.shape == (16, 4)
    assert 0.005 <= found.seconds < 0.05


def test_trial_that_cannot_win_ends_early() -> None:
    reference, _ = drive(FLOAT32, 0.0, parts=8)
    found, passes = drive(Precision("bfloat16"), 0.01, parts=8, reference=reference, to_beat=0.001)
    assert passes == 3
    assert found.cosine_mean == pytest.approx(1)


def test_agreement_is_told_and_never_flattered() -> None:
    exact, half = made("float32", 2.0), made("bfloat16", 1.0, 0.99996, 0.99879)
    told = "cosine to float32: mean 0.9999, least 0.9987"
    assert agreement([exact, half], half.precision) == told
    assert agreement([exact, half], exact.precision) == ""  # it was slower
    assert agreement([], exact.precision) == ""
    bad = made("bfloat16", 1.0, 0.98, 0.91)
    refused = "bfloat16 not taken: cosine to float32: mean 0.9800, least 0.9100"
    assert agreement([exact, bad], exact.precision) == refused


@pytest.mark.parametrize("told", [True, False])
def test_what_another_process_measured_counts(told: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(precision.HALF, str(int(told)))
    assert precision.half_wins.__wrapped__("cpu") is told
    assert not precision.half_wins.__wrapped__("cuda:0")


def test_cosine() -> None:
    a = np.array([[1, 0], [2, 2]], np.float32)
    b = np.array([[0, 1], [1, 1], [9, 9]], np.float32)
    np.testing.assert_allclose(cosine(a, b), [0, 1], atol=1e-7)


def test_candidates() -> None:
    assert [p.dtype for p in candidates("cpu", convolutional=True)] == ["float32", "bfloat16"]
    attention = candidates("cpu", convolutional=False)
    assert [p.dtype for p in attention] == ["float32", "bfloat16"]
    assert all(p.plain_attention for p in attention)
    assert [p.dtype for p in candidates("cuda:1", convolutional=False)] == ["bfloat16", "float16"]


def test_converted_copy_keeps_norms_and_first_layers() -> None:
    network = torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.Conv2d(4, 4, 3), torch.nn.GroupNorm(2, 4)
    ).eval()
    precision = Precision("bfloat16", channels_last=True, exact=1)
    converted = convert(network, precision)
    dtypes = [part.weight.dtype for part in converted]  # type: ignore[union-attr, attr-defined]
    assert dtypes == [torch.float32, torch.bfloat16, torch.float32]
    assert all(p.dtype == torch.float32 for p in network.parameters())
    images = torch.rand(1, 3, 16, 16)
    with torch.inference_mode(), autocast("cpu", precision):
        first = converted[0](images)  # type: ignore[index]
        found = converted(images)
    assert first.dtype == torch.float32
    torch.testing.assert_close(found.float(), network(images), atol=0.05, rtol=0.05)
    assert precision.name == "bfloat16, float32 in the first 1 layers, channels-last"


def test_plain_attention_gives_the_same_answers() -> None:
    import timm

    network = timm.create_model("vit_tiny_patch16_224", num_classes=0).eval()
    precision = Precision("bfloat16", plain_attention=True)
    converted = convert(network, precision)
    blocks = converted.blocks  # type: ignore[union-attr]
    assert not any(block.attn.fused_attn for block in blocks)  # type: ignore[union-attr, operator]
    assert all(block.attn.fused_attn for block in network.blocks)
    assert precision in candidates("cpu", convolutional=False)
    images = torch.rand(2, 3, 224, 224)
    with torch.inference_mode(), autocast("cpu", precision):
        found = converted(images).float()
    with torch.inference_mode():
        expected = network(images)
    assert cosine(found.numpy(), expected.numpy()).min() > 0.999

"""The size of a unit is found from how long units take."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from napari_pathfm.analysis.batch_size import GPU_SIZES, SIZES, BatchSize

Cost = Callable[[int], float]


def settle(sizes: BatchSize, cost: Cost, limit: float | None, units: int = 60) -> list[int]:
    chosen = []
    for _ in range(units):
        size = sizes.choose(limit)
        chosen.append(size)
        sizes.took(size, cost(size))
    return chosen


def cnn(size: int) -> float:
    """Fastest a tile at 8, as EfficientNet in bfloat16."""
    return {1: 0.012, 2: 0.018, 4: 0.024, 8: 0.039, 16: 0.1, 32: 0.324}[size]


def steady(size: int) -> float:
    return 0.03 * size


def test_finds_the_fastest_size() -> None:
    chosen = settle(BatchSize(), cnn, None)
    assert chosen[0] == 4
    assert chosen[-1] == 8
    assert 32 not in chosen


def test_largest_keeps_the_limit() -> None:
    assert settle(BatchSize(), cnn, 0.04)[-1] == 8
    assert settle(BatchSize(), steady, 0.04) == [1] * 60
    assert settle(BatchSize(), steady, 0.13)[-1] == 4


def test_limit_is_hardly_ever_broken() -> None:
    chosen = settle(BatchSize(), cnn, 0.04)
    assert chosen[0] == 1
    assert sum(cnn(size) > 0.04 for size in chosen) <= 1


def test_a_slow_first_unit_does_not_count_for_ever() -> None:
    first = iter([0.5])
    chosen = settle(BatchSize(), lambda size: next(first, cnn(size)), 0.04)
    assert chosen[-1] == 8


def test_a_slow_spell_passes() -> None:
    sizes = BatchSize()
    assert settle(sizes, lambda size: 3 * cnn(size), 0.04)[-1] == 1
    assert max(settle(sizes, cnn, 0.04)) == 8


def test_follows_when_the_window_opens() -> None:
    sizes = BatchSize()
    settle(sizes, lambda size: 0.1 + 0.001 * size, None)
    assert settle(sizes, lambda size: 0.01 * size, 0.04)[-1] <= 4


@pytest.mark.parametrize(("failed", "left"), [(32, 16), (23, 16), (2, 1), (1, 1)])
def test_out_of_memory(failed: int, left: int) -> None:
    sizes = BatchSize(SIZES)
    assert sizes.out_of_memory(failed) == left
    assert max(settle(sizes, lambda size: 1.0, None)) <= left


def test_gpu_takes_large_batches() -> None:
    assert settle(BatchSize(GPU_SIZES), lambda size: 0.01 + 0.0001 * size, None)[-1] == 256

"""Simulated clicks lie where a person would click."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from napari_pathfm.analysis.simulated_clicks import box_around, first_click, next_click

Mask = NDArray[np.bool_]


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Masks with something in them."""
    random = np.random.default_rng(draw(st.integers(0, 10_000)))
    mask = random.random((draw(st.integers(1, 30)), draw(st.integers(1, 30)))) < 0.5
    mask[random.integers(mask.shape[0]), random.integers(mask.shape[1])] = True
    return mask


@given(truth=masks(), seed=st.integers(0, 100))
def test_the_first_click_is_on_the_object(truth: Mask, seed: int) -> None:
    for draw in (None, np.random.default_rng(seed)):
        y, x = first_click(truth, draw)
        assert truth[int(y), int(x)]


@given(truth=masks(), seed=st.integers(0, 100))
def test_the_next_click_is_where_the_answer_is_wrong(truth: Mask, seed: int) -> None:
    random = np.random.default_rng(seed)
    answer = truth ^ (random.random(truth.shape) < random.random())
    for draw in (None, random):
        found = next_click(truth, answer, draw)
        if (truth == answer).all():
            assert found is None
        else:
            assert found is not None
            (y, x), positive = found
            assert truth[int(y), int(x)] == positive
            assert answer[int(y), int(x)] != positive


def test_the_largest_fault_comes_first_and_its_middle_is_clicked() -> None:
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    answer = truth.copy()
    answer[10:20, 10:30] = False  # missing: 200 pixels
    answer[0:4, 0:4] = True  # too much: 16
    assert next_click(truth, answer) == ((14.5, 14.5), True)
    answer = truth.copy()
    answer[30:39, 10:30] = True
    found = next_click(truth, answer)
    assert found is not None
    assert found[1] is False
    assert found[0][0] == 34.5


@given(truth=masks(), seed=st.integers(0, 100))
def test_a_box_is_around_the_object(truth: Mask, seed: int) -> None:
    y0, x0, y1, x1 = box_around(truth)
    outside = truth.copy()
    outside[int(y0) : int(y1), int(x0) : int(x1)] = False
    assert not outside.any()
    assert truth[int(y0)].any()
    assert truth[:, int(x1) - 1].any()
    by_hand = box_around(truth, np.random.default_rng(seed))
    assert np.abs(by_hand - (y0, x0, y1, x1)).max() <= 0.1501 * max(truth.shape)
